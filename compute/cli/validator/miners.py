"""`compute miners`: every miner as the validator has measured it."""

from typing import Any

import typer

from compute.cli.context import context
from compute.cli.output import table
from compute.cli.validator.rows import CheckRow, ScoreRow, newest_check, score_rows
from compute.cli.validator.scores import Policy
from compute.cli.validator.standing import Standing, looking, standing
from compute.domain.evidence import EvidenceKind
from compute.domain.hardware import Count, Value
from compute.domain.measurement import ProvenGpu

KINDS = (EvidenceKind.SPECS, EvidenceKind.PROOF, EvidenceKind.PROBE, EvidenceKind.PING)
MARKS = {"passed": "ok", "failed": "FAILED", "inconclusive": "unclear"}


class MinerRow(Value):
    """One miner by the newest evidence.

    Attributes:
        address: `ip:port`, as the chain had it at the newest vector.
        claimed: models of the GPUs that it claims.
        proven: GPUs (or the processor) of its newest proof.
        newest: kind of measurement to the newest of that kind.
        zero: why it earns nothing; empty when it does.
    """

    uid: Count
    hotkey: str
    address: str
    share: float
    claimed: tuple[str, ...]
    proven: tuple[ProvenGpu, ...]
    newest: dict[str, CheckRow]
    zero: str


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"miners": list[MinerRow]}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("miners")(miners)


def miners(ctx: typer.Context, policy: Policy = "") -> None:
    """List the miners as they were measured: claims, proofs, probes, and how long ago."""
    here = context(ctx)
    with here.output.busy("reading the evidence"), looking(here) as engine:
        found = standing(engine, policy)
    measured = [_row(found, row) for row in score_rows(found)]
    columns = (f">{kind.upper()}" for kind in KINDS)
    rows = table(
        *(">UID", "MINER", "ADDRESS", "CLAIMS", "PROVEN", *columns, ">SHARE", "WHY NOTHING"),
        spare=("ADDRESS", "CLAIMS", "PING", "SPECS"),
    )
    now = found.snapshot.block
    for row in sorted(measured, key=lambda row: row.uid):
        rows.add_row(
            str(row.uid),
            row.hotkey[:8] + "…",
            row.address or "-",
            _counted(row.claimed) or "no GPU",
            _counted([gpu.gpu_class or "unknown" for gpu in row.proven if gpu.credit_ppm]) or "-",
            *(_mark(row.newest.get(kind), now) for kind in KINDS),
            f"{row.share:.2%}",
            row.zero,
        )
    here.output.data(measured, rows, empty="nobody was measured yet")


def _row(found: Standing, row: ScoreRow) -> MinerRow:
    book, start = found.book.miner(row.hotkey), found.snapshot.block - found.policy.window.blocks
    claim, proof = book.claim(start), book.proof(start)
    newest = {str(kind): newest_check(found, row.hotkey, kind) for kind in KINDS}
    addresses = {neuron.uid: neuron.address for neuron in found.snapshot.neurons}
    return MinerRow(
        uid=row.uid,
        hotkey=row.hotkey,
        address=addresses.get(row.uid, ""),
        share=row.share,
        claimed=tuple(gpu.model for gpu in claim.content.gpus) if claim else (),
        proven=proof.gpus if proof else (),
        newest={kind: check for kind, check in newest.items() if check is not None},
        zero=row.zero,
    )


def _mark(check: CheckRow | None, now: int) -> str:
    """How the newest measurement of a kind ended, and how many blocks ago."""
    return "-" if check is None else f"{MARKS[check.outcome]} -{now - check.block}"


def _counted(names: list[str] | tuple[str, ...]) -> str:
    """Each name with how often it is there."""
    return ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names))
