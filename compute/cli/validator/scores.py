"""`compute scores`: who earns what, and how that went."""

import shutil
from typing import Annotated, Any

import typer

from compute.cli.context import Context, context
from compute.cli.output import table
from compute.cli.plotting import bar, chart, spark
from compute.cli.validator.rows import ScoreRow, factor, score_rows
from compute.cli.validator.standing import looking, standing
from compute.errors import UsageError

Policy = Annotated[
    str, typer.Option(help="Score by this policy: production, dev, or a file.", metavar="NAME")
]
BAR, TREND, HEIGHT = 12, 16, 8
SHOWN = ("capacity", "reliability", "ramp", "probe", "rental", "penalty", "address")


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"scores": list[ScoreRow]}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("scores")(scores)


def scores(
    ctx: typer.Context,
    policy: Policy = "",
    plot: Annotated[
        list[int] | None, typer.Option(help="Draw this UID's share over the epochs.")
    ] = None,
    paid: Annotated[bool, typer.Option("--paid", help="Only those who earn something.")] = False,
) -> None:
    """Show who earns what by the newest evidence, and why the others do not."""
    here = context(ctx)
    with here.output.busy("scoring the evidence"), looking(here) as engine:
        rows = score_rows(standing(engine, policy))
    if plot:
        _plot(here, rows, plot)
        return
    shown = [row for row in rows if row.share or not paid]
    top = max((row.share for row in shown), default=0.0) or 1.0
    factors = [name.upper() for name in SHOWN]
    sheet = table(
        *(">UID", "MINER", ">SHARE", "", "TREND", *(f">{name}" for name in factors), "WHY"),
        spare=("", "TREND", *reversed(factors)),
    )
    for row in shown:
        sheet.add_row(
            str(row.uid),
            row.hotkey[:8] + "…",
            f"{row.share:.2%}",
            bar(row.share / top, BAR),
            spark(row.history, TREND),
            *(_value(row, name) for name in SHOWN),
            row.zero,
        )
    here.output.data(shown, sheet, empty="nobody was measured yet")


def _value(row: ScoreRow, name: str) -> str:
    value = factor(row, name)
    return "-" if value is None else f"{value:.3g}"


def _plot(here: Context, rows: list[ScoreRow], uids: list[int]) -> None:
    chosen = [row for row in rows if row.uid in uids]
    if not chosen:
        raise UsageError(f"the evidence knows no UID {uids[0]}", hint="'compute scores' lists them")
    width = min(100, shutil.get_terminal_size().columns)
    lines = []
    for row in chosen:
        lines += [f"UID {row.uid} {row.hotkey}: share of each vector, now {row.published:.2%}"]
        lines += [
            *chart(row.history, width, HEIGHT, f"{len(row.history)} epochs, newest right"),
            "",
        ]
    here.output.data(chosen, text="\n".join(lines).rstrip())
