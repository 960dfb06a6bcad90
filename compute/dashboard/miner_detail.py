"""One miner as its validator sees it: what it claims, what it proved, what that earns and why."""

from compute.dashboard.shapes import (
    CheckShape,
    GpuShape,
    MinerDetail,
    MinerRow,
    PenaltyShape,
    TermShape,
)
from compute.dashboard.validator_view import ValidatorView
from compute.domain.book import MinerBook
from compute.domain.measurement import PPM, ClaimedGpu, ProvenGpu, SpecsContent
from compute.errors import AdmissionError, Code

MOST_CHECKS = 240


def detail_of(view: ValidatorView, hotkey: str) -> MinerDetail:
    """Everything about one miner.

    Raises:
        AdmissionError: `NOT_FOUND` when there is no such miner.
    """
    row = _row(view, hotkey)
    score = view.board().explain(row.uid)
    neuron = view.metagraph.neuron(hotkey)
    if score is None or neuron is None:  # pragma: no cover - the row was made of both
        raise AdmissionError(Code.NOT_FOUND, "no such miner")
    book = view.book(hotkey)
    claim = book.claim(view.start)
    content = claim.content if claim else SpecsContent()
    return MinerDetail(
        row=row,
        coldkey=neuron.coldkey,
        stake=neuron.stake,
        incentive=neuron.incentive,
        software=content.software,
        hosts=content.hosts,
        cpus=content.cpus,
        memory_mib=content.memory_mib,
        terms=tuple(TermShape(name=t.name, ppm=t.ppm, why=t.why) for t in score.terms),
        gpus=_gpus(book, view.start, content),
        checks=_checks(book, view.start),
        penalties=_penalties(book, view.metagraph.block),
        window_blocks=view.sources.policy.window.blocks,
        block=view.metagraph.block,
    )


def _row(view: ValidatorView, hotkey: str) -> MinerRow:
    row = next((row for row in view.rows() if row.hotkey == hotkey), None)
    if row is None:
        raise AdmissionError(Code.NOT_FOUND, "no such miner on this subnet")
    return row


def _gpus(book: MinerBook, start: int, claim: SpecsContent) -> tuple[GpuShape, ...]:
    """Every GPU that was claimed or proven, in the order of the claim."""
    proof = book.proof(start)
    proven = {gpu.gpu: gpu for gpu in proof.gpus} if proof else {}
    claimed = {gpu.uuid: gpu for gpu in claim.gpus}
    return tuple(gpu_shape(claimed.get(uuid), proven.get(uuid)) for uuid in {**claimed, **proven})


def gpu_shape(claimed: ClaimedGpu | None, proven: ProvenGpu | None) -> GpuShape:
    """One GPU, as claimed and as proven."""
    return GpuShape(
        uuid=claimed.uuid if claimed else proven.gpu if proven else "",
        model=claimed.model if claimed else "",
        claimed_mib=claimed.memory_mib if claimed else 0,
        gpu_class=proven.gpu_class if proven else "",
        credit_ppm=proven.credit_ppm if proven else None,
        reason=proven.reason.value if proven else "",
        tops=proven.tops_milli / 1000 if proven else 0.0,
        chain_ms=proven.chain_ms if proven else 0,
        sweep_ms=proven.sweep_ms if proven else 0,
        memory_mib=proven.memory_mib if proven else 0,
    )


def _checks(book: MinerBook, start: int) -> tuple[CheckShape, ...]:
    inside = [check for check in book.checks if check.block > start][-MOST_CHECKS:]
    return tuple(
        CheckShape(
            seq=check.seq,
            block=check.block,
            kind=check.kind.value,
            outcome=check.outcome.value,
            reason=check.reason.value,
        )
        for check in inside
    )


def _penalties(book: MinerBook, block: int) -> tuple[PenaltyShape, ...]:
    contents = [penalty.content for penalty in book.penalties.values()]
    return tuple(
        PenaltyShape(
            penalty=content.penalty,
            factor_ppm=content.factor_ppm,
            until_block=content.until_block,
            reason=content.reason,
        )
        for content in contents
        if content.until_block >= block and content.factor_ppm < PPM
    )
