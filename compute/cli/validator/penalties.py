"""`compute validator penalties`: what is held against miners now."""

from typing import Any

import typer

from compute.cli.context import context
from compute.cli.output import table
from compute.cli.validator.standing import looking, standing
from compute.domain.hardware import Count, Value
from compute.domain.measurement import PPM
from compute.validator.penalties import Penalty, active


class PenaltyRow(Value):
    """One penalty that counts.

    Attributes:
        penalty: id, to lift it by.
        factor: what the score is multiplied by; 0 pays nothing.
        until_block: last block at which it counts.
    """

    hotkey: str
    penalty: str
    factor: float
    since_block: Count
    until_block: Count
    reason: str


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"validator penalties": list[PenaltyRow]}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("penalties")(penalties)


def penalties(ctx: typer.Context) -> None:
    """List the penalties that count now, with their reasons and their ends."""
    here = context(ctx)
    with looking(here) as engine:
        found = standing(engine)
    counting = [row_of(each) for each in active(found.book, found.snapshot.block)]
    rows = table("MINER", "PENALTY", ">FACTOR", ">SINCE", ">UNTIL", "REASON")
    for row in counting:
        rows.add_row(
            *(row.hotkey, row.penalty, f"{row.factor:g}"),
            *(str(row.since_block), str(row.until_block), row.reason),
        )
    here.output.data(counting, rows, empty="no penalty counts now")


def row_of(penalty: Penalty) -> PenaltyRow:
    """A penalty as it is shown."""
    return PenaltyRow(
        hotkey=penalty.hotkey,
        penalty=penalty.penalty,
        factor=penalty.factor_ppm / PPM,
        since_block=penalty.since_block,
        until_block=penalty.until_block,
        reason=penalty.reason,
    )
