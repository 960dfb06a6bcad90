"""Rows of a bench, and the table that a person reads."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        metric: stable name.
        value: the figure; None where it was not measured.
        unit: its unit.
        n: how many measurements it stands for.
        reference: what was aimed at, or empty.
    """

    metric: str
    value: float | None
    unit: str
    n: int
    reference: str = ""


def print_table(rows: Iterable[Row]) -> Iterator[Row]:
    """Print each row as it comes, and pass it on."""
    for row in rows:
        value = "not measured" if row.value is None else f"{row.value:,.4g}"
        if row.value is not None and row.unit == "bytes":
            value = f"{row.value:,.0f}"
        line = f"{row.metric:<34}{value:>14}  {row.unit:<8}{row.n:>5}  {row.reference}"
        print(line.rstrip(), flush=True)
        yield row
