"""`compute weights`: published vectors, and the same ones computed again from evidence."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from compute.cli.context import context
from compute.cli.output import counted, table
from compute.cli.plotting import bar
from compute.cli.validator.policy import policy_for
from compute.cli.validator.rows import shares_of
from compute.cli.validator.scores import BAR, Policy
from compute.cli.validator.standing import FILE, evidence_of, looking, reading
from compute.domain import publication
from compute.domain.evidence import BrokenEvidence, EvidenceKind, Record
from compute.domain.hardware import Count, Value
from compute.domain.measurement import WeightsContent
from compute.domain.policy import Policy as PolicyModel
from compute.domain.publication import Publication
from compute.errors import Code, ProofError, UsageError
from compute.storage.evidence import read_export
from compute.storage.evidence_weights import Submission, WeightsStore
from compute.validator.policies import SHIPPED, load_policy
from compute.validator.replay import Replayed, holds, replay


class Shown(Value):
    """A published vector whose signature holds, and what became of it on chain."""

    weights: Publication
    shares: dict[str, float]
    submission: Submission | None


class Again(Value):
    """One published vector beside the one that its evidence gives.

    Attributes:
        record: seq of the vector in the evidence.
        same: equal to the bit.
        complete: whether the evidence reaches back over the policy's whole window.
        policy_matches: whether it was made under the policy at hand.
    """

    record: Count
    epoch_block: Count
    published: str
    computed: str
    same: bool
    complete: bool
    policy_matches: bool


def shapes() -> dict[str, Any]:
    """What the verbs print as JSON."""
    return {"weights show": Shown, "weights replay": list[Again]}


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(help="Show and recompute weights.", no_args_is_help=True)
    group.command("show")(show)
    group.command("replay")(replay_)
    group.callback()(_group)
    app.add_typer(group, name="weights")


def _group() -> None:
    """Show and recompute weights."""


def show(
    ctx: typer.Context,
    vector: Annotated[str, typer.Argument(help="Hash of a vector; none takes the newest.")] = "",
) -> None:
    """Show a published vector, and check its signature."""
    here = context(ctx)
    with looking(here) as engine:
        store = WeightsStore(engine)
        document = store.document(vector) if vector else store.latest_document()
        if document is None:
            raise UsageError(
                f"there is no vector {vector}" if vector else "no weights were computed yet",
                hint="'compute validator status' tells about the newest",
            )
        found = publication.read(document, holds)
        sent = store.submission(found.epoch_block)
    shares = shares_of(found.weights)
    rows = table(">UID", ">WEIGHT", ">SHARE", "", spare=("",))
    top = max(shares.values(), default=1.0)
    for uid, share in sorted(shares.items(), key=lambda item: (-item[1], item[0])):
        rows.add_row(str(uid), str(found.weights[uid]), f"{share:.4%}", bar(share / top, BAR))
    here.output.data(
        Shown(
            weights=found,
            shares={str(uid): share for uid, share in shares.items()},
            submission=sent,
        ),
        rows,
        empty="the vector pays nobody",
    )
    fate = f"{sent.state} after {counted(sent.attempts, 'attempt')}" if sent else "not submitted"
    here.output.progress(
        f"{found.sha256}\nepoch {found.epoch_block}, policy {found.policy}, evidence up to record "
        f"{found.evidence_seq}\nsigned by {found.validator}\n{fate}"
    )


def replay_(
    ctx: typer.Context,
    evidence: Annotated[
        Path, typer.Argument(help="An export, or a validator's state folder or database.")
    ],
    policy: Policy = "",
) -> None:
    """Compute every published vector again from evidence, and compare them bit for bit.

    Signatures and the chain of hashes are checked on the way. Its exit code is 0 only when every
    vector whose whole window is there comes out the same.
    """
    here = context(ctx)
    with here.output.busy(f"replaying {evidence}") as tell, _records(evidence) as records:
        found = []
        try:
            used, kept = _policy_and(records, policy)
            for each in replay(kept, used):
                found.append(_again(each))
                tell(f"epoch {each.published.snapshot.epoch_block}")
        except (BrokenEvidence, UnicodeDecodeError) as error:
            raise ProofError(Code.EVIDENCE_BROKEN, str(error)) from error
    rows = table(">RECORD", ">EPOCH", "PUBLISHED", "COMPUTED", "RESULT")
    for again in found:
        rows.add_row(
            *(str(again.record), str(again.epoch_block)),
            *(again.published[:12], again.computed[:12], _verdict(again)),
        )
    different = [again for again in found if again.complete and not again.same]
    if different:
        first = different[0]
        raise ProofError(
            Code.REPLAY_DIFFERS,
            f"{len(different)} of {len(found)} vectors, the first of epoch {first.epoch_block}",
            hint="the policy is another one"
            if not first.policy_matches
            else "do not trust this validator's weights",
        )
    here.output.data(found, rows, empty="the evidence holds no vector")


def _verdict(again: Again) -> str:
    if again.same:
        return "the same"
    return "DIFFERENT" if again.complete else "cannot be told: the evidence begins too late"


def _again(each: Replayed) -> Again:
    return Again(
        record=each.seq,
        epoch_block=each.published.snapshot.epoch_block,
        published=each.published.vector_sha256,
        computed=each.board.sha256,
        same=each.same,
        complete=each.complete,
        policy_matches=each.policy_matches,
    )


@contextmanager
def _records(source: Path) -> Iterator[Iterator[Record]]:
    """Records of an export, a database or a state folder.

    Raises:
        UsageError: when there is nothing to read.
    """
    folder = source if source.is_dir() else source.parent
    if source.is_dir() or source.name == FILE:
        with reading(folder) as engine:
            yield evidence_of(engine).records()
    elif not source.exists():
        raise UsageError(f"there is no {source}")
    else:
        yield read_export(source)


def _policy_and(records: Iterator[Record], named: str) -> tuple[PolicyModel, Iterable[Record]]:
    """The policy to replay by, and the records, which finding it may have read."""
    if named:
        return load_policy(named), records
    kept = list(records)
    return _shipped(kept), kept


def _shipped(records: list[Record]) -> PolicyModel:
    """The shipped policy under which the newest vector was made.

    Raises:
        UsageError: when it was none of those.
    """
    for record in reversed(records):
        if record.kind is EvidenceKind.WEIGHTS:
            return policy_for(WeightsContent.model_validate(record.content))
    return load_policy(SHIPPED[0])
