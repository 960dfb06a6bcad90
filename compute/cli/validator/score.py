"""`compute score explain`: how one miner's score came about."""

from typing import Annotated, Any

import typer

from compute.cli.context import context
from compute.cli.output import table
from compute.cli.validator.rows import CheckRow, ScoreRow, checks_of, score_of
from compute.cli.validator.scores import Policy
from compute.cli.validator.standing import looking, standing
from compute.domain.hardware import Count, Value

CHECKS = 12


class Explained(Value):
    """How a score came about.

    Attributes:
        block: up to which the evidence was read.
        policy: name of the policy, and its hash.
        checks: newest measurements, newest first.
    """

    block: Count
    policy: str
    policy_sha256: str
    miner: ScoreRow
    checks: tuple[CheckRow, ...]


def shapes() -> dict[str, Any]:
    """What the verbs print as JSON."""
    return {"score explain": Explained}


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(help="Explain scores.", no_args_is_help=True)
    group.command("explain")(explain)
    group.callback()(_group)
    app.add_typer(group, name="score")


def _group() -> None:
    """Explain scores."""


def explain(
    ctx: typer.Context,
    miner: Annotated[str, typer.Argument(help="UID or hotkey.")],
    policy: Policy = "",
    checks: Annotated[int, typer.Option(min=0, help="How many measurements.")] = CHECKS,
) -> None:
    """Tell how each factor of a miner's score came about, and what was measured."""
    here = context(ctx)
    with here.output.busy("scoring the evidence"), looking(here) as engine:
        found = standing(engine, policy)
    row, _ = score_of(found, miner)
    measured = checks_of(found, row.hotkey, checks)
    text = (
        f"UID {row.uid} {row.hotkey}\n"
        f"share {row.share:.4%} by the evidence up to block {found.snapshot.block}\n"
        f"{row.published:.4%} in the newest vector; policy {found.policy.name}\n"
        + (f"earns nothing: {row.zero}\n" if row.zero else "")
    )
    here.output.data(
        Explained(
            block=found.snapshot.block,
            policy=found.policy.name,
            policy_sha256=found.policy.sha256,
            miner=row,
            checks=tuple(measured),
        ),
        text=text,
    )
    if here.output.as_json:
        return
    terms = table("FACTOR", ">VALUE", ">PRODUCT", "WHY")
    product = 1.0
    for term in row.terms:
        product *= term.value
        terms.add_row(term.name, f"{term.value:.6g}", f"{product:.6g}", term.why)
    if terms.rows:
        here.output.data(None, terms)
    rows = table(">RECORD", ">BLOCK", "KIND", "OUTCOME", "REASON", title="\nmeasured, newest first")
    for check in measured:
        rows.add_row(str(check.seq), str(check.block), check.kind, check.outcome, check.reason)
    here.output.data(None, rows, empty="nothing was measured of it")
