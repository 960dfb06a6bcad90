"""Weights by epoch: who got how much over time, and each published vector."""

from compute.dashboard.plots import line, plot
from compute.dashboard.shapes import (
    EpochDetail,
    EpochShape,
    Series,
    WeightShape,
    WeightsPage,
)
from compute.dashboard.validator_view import ValidatorView, submission_shape
from compute.domain.history import Range, Span
from compute.domain.measurement import PPM, WeightsContent
from compute.domain.publication import Publication
from compute.errors import AdmissionError, Code

LINES = 9  # earners with a line of their own; more colours than that nobody tells apart
BUCKETS = 120
EPOCHS = 30
OTHERS = "others"


def weights_page(view: ValidatorView, range_: Range, now_ms: int, before: int) -> WeightsPage:
    """Shares over time and one page of epochs; reads databases, so call it in a thread."""
    history = view.sources.history
    span = Span.ending(now_ms, range_, BUCKETS)
    top = _earners(view)
    shares = history.shares(top, span)
    names = [_name(view, hotkey) for hotkey in top]
    series = [line(name, span, shares[key]) for name, key in zip(names, top, strict=True)]
    rest = _rest(span, shares, {row.bucket for row in history.epochs(span) if row.score})
    rows = history.epoch_rows(EPOCHS + 1, before)
    shown = rows[:EPOCHS]
    return WeightsPage(
        plot=plot(range_, span, [*series, *rest]),
        hotkeys=(*top, *("" for _ in rest)),
        epochs=tuple(
            EpochShape(
                **row._asdict(),
                submission=submission_shape(view.sources.weights.submission(row.epoch_block)),
            )
            for row in shown
        ),
        older=shown[-1].epoch_block if len(rows) > EPOCHS else None,
    )


def _earners(view: ValidatorView) -> list[str]:
    """Hotkeys with the largest shares of the newest vector, largest first."""
    newest = view.sources.recorder.book.weights
    if newest is None:
        return []
    weights = {int(uid): weight for uid, weight in newest.vector.items()}
    paid = [neuron for neuron in newest.snapshot.neurons if weights.get(neuron.uid)]
    paid.sort(key=lambda neuron: (-weights[neuron.uid], neuron.uid))
    return [neuron.hotkey for neuron in paid[:LINES]]


def _rest(span: Span, shares: dict[str, dict[int, float]], paid: set[int]) -> list[Series]:
    """What is left to all others wherever anybody was paid."""
    left = {
        bucket: max(0.0, PPM - sum(row.get(bucket, 0.0) for row in shares.values()))
        for bucket in paid
    }
    return [line(OTHERS, span, left)] if any(value >= 1 for value in left.values()) else []


def _name(view: ValidatorView, hotkey: str) -> str:
    uid = view.uid(hotkey)
    return hotkey[:8] if uid is None else f"UID {uid}"


def epoch_detail(view: ValidatorView, epoch_block: int) -> EpochDetail:
    """One published vector; reads databases, so call it in a thread.

    Raises:
        AdmissionError: `NOT_FOUND` when this epoch has none.
    """
    store = view.sources.weights
    entry = store.submission(epoch_block)
    document = store.document(entry.vector) if entry else None
    if document is None:
        raise AdmissionError(Code.NOT_FOUND, f"no vector for the epoch at block {epoch_block}")
    published = Publication.model_validate_json(document)
    hotkeys = _hotkeys(view, published)
    whole = sum(published.weights.values()) or 1
    return EpochDetail(
        epoch_block=published.epoch_block,
        block=published.block,
        created_ms=published.created_ms,
        sha256=published.sha256,
        policy=published.policy,
        policy_sha256=published.policy_sha256,
        evidence_seq=published.evidence_seq,
        evidence_hash=published.evidence_hash,
        validator=published.validator,
        signature=published.signature,
        submission=submission_shape(entry),
        weights=tuple(
            WeightShape(
                uid=uid, hotkey=hotkeys.get(uid, ""), weight=weight, share_ppm=weight * PPM // whole
            )
            for uid, weight in sorted(published.weights.items(), key=lambda item: -item[1])
        ),
    )


def _hotkeys(view: ValidatorView, published: Publication) -> dict[int, str]:
    """Who held each UID at that time, where the record is still kept; else who holds it now."""
    log, seq = view.sources.recorder.log, published.evidence_seq
    record = next(log.records(seq - 1, seq), None)
    if record is not None and record.hash == published.evidence_hash:
        snapshot = WeightsContent.model_validate(record.content).snapshot
        return {neuron.uid: neuron.hotkey for neuron in snapshot.neurons}
    return {neuron.uid: neuron.hotkey for neuron in view.metagraph.neurons}
