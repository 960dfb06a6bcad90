"""Moments and shares as people read them."""

from datetime import UTC, datetime


def clock(at: float) -> str:
    """Unix seconds as UTC to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def precise_clock(at: float) -> str:
    """Unix seconds as UTC to the millisecond."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
