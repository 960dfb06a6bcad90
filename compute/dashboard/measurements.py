"""One measurement as its signed record tells it, or as history remembers it."""

from collections.abc import Iterator

from compute.dashboard.keeper import measured_of
from compute.dashboard.miner_detail import gpu_shape
from compute.dashboard.shapes import GpuShape, MeasureDetail, StepShape
from compute.dashboard.validator_view import ValidatorView
from compute.domain.evidence import EvidenceKind, Record
from compute.domain.history import Measured
from compute.domain.measurement import ProbeContent, ProofContent
from compute.errors import AdmissionError, Code


def measure_detail(view: ValidatorView, seq: int) -> MeasureDetail:
    """One measurement by its place in the log; reads databases, so call it in a thread.

    Raises:
        AdmissionError: `NOT_FOUND` when nothing is known of it.
    """
    remembered = view.sources.history.measure(seq)
    record = next(view.sources.recorder.log.records(seq - 1, seq), None)
    if record is not None:
        known = remembered or measured_of(record) or _plainly(record)
        return _with_record(view, known, record)
    if remembered is None:
        raise AdmissionError(Code.NOT_FOUND, f"no measurement {seq}")
    return MeasureDetail(row=view.measure_row(remembered), kept=False)


def _plainly(record: Record) -> Measured:
    return Measured(
        seq=record.seq,
        kind=record.kind.value,
        at_ms=record.at_ms,
        block=record.block,
        hotkey=record.miner,
        outcome=record.outcome.value,
        reason=record.reason.value,
        note=record.detail,
    )


def _with_record(view: ValidatorView, known: Measured, record: Record) -> MeasureDetail:
    proof = ProofContent()
    if record.kind is EvidenceKind.PROOF:
        proof = ProofContent.model_validate(record.content)
    return MeasureDetail(
        row=view.measure_row(known),
        kept=True,
        hash=record.hash,
        prev=record.prev,
        round=record.round,
        slot=proof.slot,
        mode=proof.mode,
        signed=len(record.receipts),
        gpus=tuple(_gpus(proof)),
        steps=_steps(record),
    )


def _gpus(proof: ProofContent) -> Iterator[GpuShape]:
    for gpu in proof.gpus:
        yield gpu_shape(None, gpu)


def _steps(record: Record) -> tuple[StepShape, ...]:
    if record.kind is not EvidenceKind.PROBE:
        return ()
    checks = ProbeContent.model_validate(record.content).checks
    return tuple(
        StepShape(name=one.name, passed=one.passed, detail=one.detail, ms=one.ms) for one in checks
    )
