"""What a validator's dashboard shows: read from the objects that work, never kept beside them."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import partial

from compute.dashboard.shapes import (
    Activity,
    Counts,
    EpochNow,
    MeasureRow,
    MinerRow,
    Standing,
    SubmissionShape,
    ValidatorOverview,
)
from compute.dashboard.standing import StandingBoard
from compute.domain.book import MinerBook
from compute.domain.evidence import Record
from compute.domain.history import Measured
from compute.domain.measurement import PPM, ProvenGpu
from compute.domain.metagraph import Metagraph
from compute.domain.policy import Policy
from compute.domain.score import Board, MinerScore
from compute.errors import AdmissionError, Code
from compute.storage.evidence_weights import Submission, WeightsStore
from compute.storage.history_reading import HistoryReader
from compute.storage.rentals_reading import RentalReader
from compute.validator.chainview import ChainView
from compute.validator.recorder import Recorder

_PARTICULAR = re.compile(r",? \(?until .*| at (?=[\[\d]).*|^(\d+ x )?[a-z0-9-]+: (?=not passed)")
MOST_TROUBLES = 8
WAITING = frozenset({"not measured yet", "nothing proven yet"})


@dataclass(frozen=True, slots=True)
class ValidatorSources:
    """The validator's own objects that the dashboard reads.

    Attributes:
        hotkey: the validator's.
        network: name of the chain.
    """

    view: ChainView
    recorder: Recorder
    weights: WeightsStore
    history: HistoryReader
    rentals: RentalReader
    policy: Policy
    hotkey: str
    netuid: int
    network: str


class ValidatorView:
    """Reads a validator; used from its event loop."""

    def __init__(self, sources: ValidatorSources) -> None:
        self.sources = sources
        self._standing = StandingBoard(
            lambda: sources.recorder.book, sources.policy, sources.hotkey
        )

    @property
    def metagraph(self) -> Metagraph:
        """The newest metagraph.

        Raises:
            AdmissionError: `BUSY` while the chain was not read yet.
        """
        try:
            return self.sources.view.metagraph
        except RuntimeError:
            raise AdmissionError(Code.BUSY, "the chain was not read yet", retry_after_s=3) from None

    @property
    def start(self) -> int:
        """Block after which evidence counts."""
        return self.metagraph.block - self.sources.policy.window.blocks

    def board(self) -> Board:
        """How everybody stands now."""
        return self._standing.board(self.metagraph)

    def uid(self, hotkey: str) -> int | None:
        """UID of a hotkey; None when it is not registered now."""
        neuron = self.metagraph.neuron(hotkey)
        return None if neuron is None else neuron.uid

    def shares(self) -> dict[int, int]:
        """UID to share of the newest published vector, in parts per million."""
        newest = self.sources.recorder.book.weights
        vector = newest.vector if newest else {}
        whole = sum(vector.values()) or 1
        return {int(uid): weight * PPM // whole for uid, weight in vector.items()}

    # --- The subnet ----------------------------------------------------------------------------

    def overview(self, submission: Submission | None, recent: list[Activity]) -> ValidatorOverview:
        """The subnet now."""
        sources, board = self.sources, self.board()
        zeros = Counter(short_of(miner.zero) for miner in board.miners if not miner.score)
        return ValidatorOverview(
            block=sources.view.block,
            away=sources.view.away,
            epoch=self._epoch(),
            policy=sources.policy.name,
            policy_sha256=sources.policy.sha256,
            evidence=sources.recorder.book.head,
            counts=self._counts(board),
            classes=self.classes(board),
            troubles=tuple(zeros.most_common(MOST_TROUBLES)),
            submission=submission_shape(submission),
            activity=tuple(reversed(recent)),
        )

    def _epoch(self) -> EpochNow:
        metagraph = self.metagraph
        first = metagraph.block - metagraph.blocks_since_epoch
        position = min(metagraph.tempo, max(0, self.sources.view.block - first))
        return EpochNow(first_block=first, position=position, tempo=metagraph.tempo)

    def _counts(self, board: Board) -> Counts:
        states = Counter(state_of(miner) for miner in board.miners)
        gpus = [g for miner in board.miners if miner.score for g in self.proven(miner.hotkey)]
        return Counts(
            miners=len(board.miners),
            earning=states["earning"],
            failing=states["failing"],
            waiting=states["waiting"],
            gpus=len(gpus),
            tops=sum(gpu.tops_milli for gpu in gpus) / 1000,
        )

    def classes(self, board: Board) -> dict[str, int]:
        """GPUs that a board pays for, by class."""
        classes = Counter(
            gpu.gpu_class
            for miner in board.miners
            if miner.score
            for gpu in self.proven(miner.hotkey)
        )
        return dict(classes.most_common())

    def standings(self) -> list[Standing]:
        """Every UID, for the map."""
        shares = self.shares()
        return [
            Standing(
                uid=miner.uid,
                hotkey=miner.hotkey,
                state=state_of(miner),
                share_ppm=shares.get(miner.uid, 0),
                zero=miner.zero,
            )
            for miner in self.board().miners
        ]

    # --- Miners --------------------------------------------------------------------------------

    def rows(self) -> list[MinerRow]:
        """Every miner, without its sparkline, in UID order."""
        shares = self.shares()
        make = partial(self._row, shares=shares)
        return [make(miner) for miner in self.board().miners]

    def _row(self, miner: MinerScore, *, shares: dict[int, int]) -> MinerRow:
        neuron = self.metagraph.neuron(miner.hotkey)
        book = self.sources.recorder.book.miner(miner.hotkey)
        proof = book.proof(self.start)
        passed = self.proven(miner.hotkey)
        terms = {term.name: term.ppm for term in miner.terms}
        return MinerRow(
            uid=miner.uid,
            hotkey=miner.hotkey,
            address=(neuron.axon or "") if neuron else "",
            state=state_of(miner),
            share_ppm=shares.get(miner.uid, 0),
            score=miner.score,
            reliability_ppm=terms.get("reliability"),
            gpus=counted(passed),
            tops=sum(gpu.tops_milli for gpu in passed) / 1000,
            proven_block=proof.block if proof else 0,
            zero=miner.zero,
        )

    def proven(self, hotkey: str) -> list[ProvenGpu]:
        """GPUs that a miner's newest conclusive proof gave credit for."""
        proof = self.book(hotkey).proof(self.start)
        return [gpu for gpu in proof.gpus if gpu.credit_ppm] if proof else []

    def book(self, hotkey: str) -> MinerBook:
        """What is known of a miner."""
        return self.sources.recorder.book.miner(hotkey)

    # --- Measurements --------------------------------------------------------------------------

    def measure_row(self, one: Measured) -> MeasureRow:
        """A measurement for the list."""
        fields = one._asdict()
        tops = fields.pop("tops_milli") / 1000
        return MeasureRow(uid=self.uid(one.hotkey), tops=tops, **fields)

    def activity(self, record: Record) -> Activity:
        """A record in a line."""
        return Activity(
            seq=record.seq,
            kind=record.kind.value,
            at_ms=record.at_ms,
            hotkey=record.miner,
            uid=self.uid(record.miner),
            outcome=record.outcome.value,
            reason=record.reason.value,
            detail=record.detail[:200],
        )


def state_of(miner: MinerScore) -> str:
    """Earning, failing, or waiting to be measured."""
    if miner.score:
        return "earning"
    return "waiting" if miner.zero in WAITING else "failing"


def short_of(zero: str) -> str:
    """A reason without what differs from miner to miner, so that equal ones can be counted."""
    return _PARTICULAR.sub("", zero)


def counted(gpus: list[ProvenGpu]) -> str:
    """Classes with how many of each, in words."""
    classes = Counter(gpu.gpu_class for gpu in gpus)
    return ", ".join(f"{n} × {name}" if n > 1 else name for name, n in classes.items())


def submission_shape(entry: Submission | None) -> SubmissionShape | None:
    """A submission for people."""
    if entry is None:
        return None
    fields = entry.model_dump(mode="json", exclude={"vector"})
    return SubmissionShape.model_validate(fields)
