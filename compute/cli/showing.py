"""Moments and shares as people read them."""

from datetime import UTC, datetime

from compute.cli.output import duration

MINUTE_S = 60


def clock(at: float) -> str:
    """Unix seconds as UTC to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def precise_clock(at: float) -> str:
    """Unix seconds as UTC to the millisecond."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"


def after(seconds: float) -> str:
    """Time since a beginning, as precise as it matters."""
    return f"+{seconds:.3f}s" if seconds < MINUTE_S else f"+{duration(seconds)}"
