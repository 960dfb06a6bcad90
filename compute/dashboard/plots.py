"""From buckets with values to lines of a plot; pure functions."""

from collections.abc import Mapping, Sequence

from compute.dashboard.shapes import Plot, Series
from compute.domain.history import Range, Span


def plot(range_: Range, span: Span, series: Sequence[Series]) -> Plot:
    """Lines over a span."""
    return Plot(
        range=range_,
        start_ms=span.start_ms,
        end_ms=span.end_ms,
        times_ms=tuple(span.middle_ms(bucket) for bucket in range(span.buckets)),
        series=tuple(series),
    )


def line(name: str, span: Span, values: Mapping[int, float]) -> Series:
    """A line with a gap wherever a bucket has no value."""
    return Series(name=name, values=filled(span, values))


def banded(name: str, span: Span, rows: Mapping[int, tuple[float, float, float]]) -> Series:
    """A line with its envelope, from bucket to least, mean and most."""
    least, mean, most = (
        filled(span, {bucket: row[part] for bucket, row in rows.items()}) for part in range(3)
    )
    return Series(name=name, values=mean, least=least, most=most)


def filled(span: Span, values: Mapping[int, float]) -> tuple[float | None, ...]:
    """A value for each bucket."""
    return tuple(_short(values.get(bucket)) for bucket in range(span.buckets))


def _short(value: float | None) -> float | None:
    """Six significant digits: more than a screen can show, and a third of the bytes."""
    return None if value is None else float(f"{value:.6g}")
