"""`compute validator status`: what a validator measures and pays."""

import time
from typing import Any

import typer
from sqlalchemy import Engine, select

from compute.cli.context import context
from compute.cli.output import counted, duration, table
from compute.cli.validator.standing import evidence_of, looking, newest
from compute.domain.evidence import EvidenceKind, Outcome, Record
from compute.domain.hardware import Count, Value
from compute.domain.measurement import WeightsContent
from compute.storage.database import read
from compute.storage.evidence_tables import round_
from compute.storage.evidence_weights import Submission, WeightsStore

RECENT = 2000


class Round(Value):
    """The newest round of one kind, in blocks; `ended` is None while it runs."""

    kind: str
    number: Count
    started: Count
    ended: Count | None


class Measured(Value):
    """How the newest measurements of one kind ended."""

    kind: str
    passed: Count
    failed: Count
    inconclusive: Count


class ValidatorStatus(Value):
    """A validator as its state folder shows it.

    Attributes:
        validator: hotkey (ss58) that signs; empty before the first record.
        records: seq of the newest record, written `quiet_s` seconds ago at `block`.
        recent: outcomes among the newest 2000 records.
        policy: name of the policy of the newest vector, and its hash.
        paid: UIDs with a weight in it.
        submission: what became of it on chain.
    """

    state: str
    validator: str
    records: Count
    block: Count
    quiet_s: float | None
    rounds: tuple[Round, ...]
    recent: tuple[Measured, ...]
    policy: str
    policy_sha256: str
    paid: Count
    submission: Submission | None


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"validator status": ValidatorStatus}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("status")(status)


def status(ctx: typer.Context) -> None:
    """Show what the validator measures and pays."""
    here = context(ctx)
    with looking(here) as engine:
        found = _status(str(here.validator.state), engine)
    rows = table("WHAT", "NOW")
    for name, value in _words(found):
        rows.add_row(name, value)
    here.output.data(found, rows)


def _status(state: str, engine: Engine) -> ValidatorStatus:
    records = _newest_records(engine)
    last = records[-1] if records else None
    vector = newest(engine, EvidenceKind.WEIGHTS)
    weights = WeightsContent.model_validate(vector.content) if vector else None
    return ValidatorStatus(
        state=state,
        validator=last.validator if last else "",
        records=last.seq if last else 0,
        block=last.block if last else 0,
        quiet_s=round(time.time() - last.at_ms / 1000, 1) if last else None,
        rounds=_rounds(engine),
        recent=_measured(records),
        policy=weights.policy if weights else "",
        policy_sha256=weights.policy_sha256 if weights else "",
        paid=len(weights.vector) if weights else 0,
        submission=WeightsStore(engine).latest_submission(),
    )


def _newest_records(engine: Engine) -> list[Record]:
    """The newest records, oldest first."""
    log = evidence_of(engine)
    return list(log.records(after=max(0, log.head()[0] - RECENT)))


def _rounds(engine: Engine) -> tuple[Round, ...]:
    query = select(round_).order_by(round_.c.kind, round_.c.number)
    rows = read(engine, lambda connection: connection.execute(query).mappings().all())
    last = {row["kind"]: row for row in rows}
    return tuple(
        Round(
            kind=kind,
            number=row["number"],
            started=row["started_block"],
            ended=row["ended_block"],
        )
        for kind, row in last.items()
    )


def _measured(records: list[Record]) -> tuple[Measured, ...]:
    kinds = sorted({record.kind for record in records} - _NO_MEASUREMENTS)

    def count(kind: EvidenceKind, outcome: Outcome) -> int:
        return sum(each.kind is kind and each.outcome is outcome for each in records)

    return tuple(
        Measured(
            kind=kind,
            passed=count(kind, Outcome.PASSED),
            failed=count(kind, Outcome.FAILED),
            inconclusive=count(kind, Outcome.INCONCLUSIVE),
        )
        for kind in kinds
    )


_NO_MEASUREMENTS = {EvidenceKind.WEIGHTS, EvidenceKind.SCORES, EvidenceKind.PENALTY}


def _words(found: ValidatorStatus) -> list[tuple[str, str]]:
    quiet = "" if found.quiet_s is None else f", the newest {duration(found.quiet_s)} ago"
    sent = found.submission
    words = [
        ("validator", found.validator or "nothing was measured yet"),
        ("evidence", f"{found.records} records up to block {found.block}{quiet}"),
    ]
    words += [
        (
            f"{each.kind} rounds",
            f"number {each.number} began at block {each.started}, "
            + (f"ended at {each.ended}" if each.ended is not None else "runs"),
        )
        for each in found.rounds
    ]
    words += [
        (
            f"{each.kind} outcomes",
            f"{each.passed} passed, {each.failed} failed, {each.inconclusive} inconclusive",
        )
        for each in found.recent
    ]
    words.append(("policy", f"{found.policy or 'unknown'}, {counted(found.paid, 'UID')} paid"))
    if sent is not None:
        where = f" in block {sent.included_block}" if sent.included_block else ""
        words.append(
            ("weights", f"epoch {sent.epoch_block}: {sent.state}{where}, {sent.attempts} sent")
        )
    words.append(("state folder", found.state))
    return words
