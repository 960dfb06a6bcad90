"""The evidence of a window, folded by miner: what scoring and rounds look things up in.

Folding is incremental, so that a validator adds each record as it is written, and replay adds the
same records from a file. What a score may read is cut to the window only when it is read: two
books that hold the same window answer the same, whatever else they hold.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from compute.domain.evidence import EvidenceKind, Outcome, Reason, Record
from compute.domain.measurement import (
    PenaltyContent,
    PingContent,
    ProofContent,
    ProvenGpu,
    ScoresContent,
    SpecsContent,
    WeightsContent,
)

PARTIAL = frozenset({Reason.SLOW, Reason.MEMORY_SHORT, Reason.UNKNOWN_GPU})
"""Failures of single GPUs: the others of the same proof keep their credit."""


class Check(NamedTuple):
    """One conclusive or inconclusive measurement, compactly."""

    seq: int
    block: int
    kind: EvidenceKind
    outcome: Outcome
    reason: Reason


class Proof(NamedTuple):
    """One proof with what it showed."""

    seq: int
    block: int
    outcome: Outcome
    reason: Reason
    gpus: tuple[ProvenGpu, ...]
    address: str


class Claim(NamedTuple):
    """The latest claims of a miner."""

    seq: int
    block: int
    outcome: Outcome
    reason: Reason
    content: SpecsContent


class Penalty(NamedTuple):
    """A penalty as last written."""

    seq: int
    block: int
    content: PenaltyContent


_ItemT = TypeVar("_ItemT", Claim, Proof)


@dataclass
class MinerBook:
    """Everything that a window holds about one miner, oldest first.

    Of its claims only the newest conclusive one is kept: no other is asked for, and each is as long
    as the miner makes it.
    """

    checks: deque[Check] = field(default_factory=deque)
    proofs: deque[Proof] = field(default_factory=deque)
    claims: deque[Claim] = field(default_factory=lambda: deque(maxlen=1))
    penalties: dict[str, Penalty] = field(default_factory=dict)

    def latest(self, kind: EvidenceKind, start: int) -> Check | None:
        """The newest conclusive check of a kind after block `start`."""
        for check in reversed(self.checks):
            if check.block <= start:
                return None
            if check.kind is kind and check.outcome is not Outcome.INCONCLUSIVE:
                return check
        return None

    def busy_run(self, kind: EvidenceKind, start: int) -> int:
        """How often a miner has said that it is busy since its last conclusive check of a kind."""
        run = 0
        for check in reversed(self.checks):
            if check.block <= start:
                break
            if check.kind is kind:
                if check.outcome is not Outcome.INCONCLUSIVE:
                    break
                run += check.reason is Reason.BUSY
        return run

    def claim(self, start: int) -> Claim | None:
        """The newest conclusive claim after block `start`."""
        return _newest(self.claims, start)

    def proof(self, start: int) -> Proof | None:
        """The newest conclusive proof after block `start`."""
        return _newest(self.proofs, start)

    def shown(self, start: int, oldest: int) -> tuple[ProvenGpu, ...]:
        """GPUs of the newest proof; one that was leased then, as it was when last proven.

        A leased GPU cannot be proven, so its last proof stands, but only so far that one session
        has shown all at once, each as the class that it is paid as: what the newest proof shows,
        and what stands beside it. Else one device could be proven under one name today and, the
        first being "leased", under another tomorrow, or a fast one as several slow ones first and
        as each of them by its own class then. Nothing stands across a failure of the whole node.

        Args:
            start: block after which proofs are read.
            oldest: block after which the last proof of a leased GPU still stands.
        """
        newest = self.proof(start)
        if newest is None:
            return ()
        away = {gpu.gpu for gpu in newest.gpus if gpu.reason is Reason.BUSY}
        if not away:
            return newest.gpus
        before = self._before(newest, max(start, oldest))
        last: dict[str, ProvenGpu] = {}
        for proof in before:
            for gpu in proof.gpus:
                if gpu.gpu in away and gpu.reason is not Reason.BUSY:
                    last.setdefault(gpu.gpu, gpu)
        proven = _credited(newest)
        standing = {(gpu.gpu, gpu.gpu_class) for gpu in last.values() if gpu.credit_ppm}
        together = (_credited(proof) for proof in before)
        most = max((standing & all_ for all_ in together if proven <= all_), key=len, default=set())
        stands = {name for name, _ in most}
        return tuple(
            last[gpu.gpu].model_copy(update={"reason": Reason.BUSY}) if gpu.gpu in stands else gpu
            for gpu in newest.gpus
        )

    def _before(self, newest: Proof, oldest: int) -> list[Proof]:
        """Sessions before one, newest first, back to a failure of the whole node."""
        found = []
        for proof in reversed(self.proofs):
            if proof.seq >= newest.seq or proof.outcome is Outcome.INCONCLUSIVE:
                continue
            whole = proof.outcome is Outcome.FAILED and proof.reason not in PARTIAL
            if proof.block <= oldest or whole:
                break
            found.append(proof)
        return found

    def held_since(
        self, start: int, oldest: int, gap: int, holds: Callable[[ProvenGpu], bool]
    ) -> dict[str, int]:
        """GPU of the newest proof to the seq of the proof since which it was proven.

        Args:
            start: block after which proofs are read.
            oldest: block after which the last proof of a leased GPU still stands.
            gap: blocks between two proofs of a GPU that break no tenure: one failed round, ours or
                its own, must not hand a GPU to whoever waited for it.
            holds: whether a GPU as it was proven counts.
        """
        seen: dict[str, tuple[int, int]] = {}  # GPU to first seq and newest block
        for proof in self.proofs:
            if proof.block > start and proof.outcome is not Outcome.INCONCLUSIVE:
                for gpu in {gpu.gpu for gpu in proof.gpus if holds(gpu)}:
                    first, last = seen.get(gpu, (proof.seq, proof.block))
                    kept = proof.block - last <= gap
                    seen[gpu] = (first if kept else proof.seq, proof.block)
        return {gpu.gpu: seen[gpu.gpu][0] for gpu in self.shown(start, oldest) if holds(gpu)}

    def placed(self, start: int, place_of: Callable[[str], str]) -> tuple[str, int] | None:
        """Where the newest paying proof was made, and the seq since which all of them were there.

        What is announced on chain now is not asked: anybody can announce any address.
        """
        place, since = "", 0
        for proof in self.proofs:
            if proof.block > start and any(gpu.credit_ppm > 0 for gpu in proof.gpus):
                here = place_of(proof.address)
                place, since = here, (since if here == place and since else proof.seq)
        return (place, since) if place else None


def _credited(proof: Proof) -> set[tuple[str, str]]:
    """GPU and class of everything that a session has shown together."""
    return {(gpu.gpu, gpu.gpu_class) for gpu in proof.gpus if gpu.credit_ppm}


def _newest(items: "deque[_ItemT]", start: int) -> "_ItemT | None":
    for item in reversed(items):
        if item.block <= start:
            return None
        if item.outcome is not Outcome.INCONCLUSIVE:
            return item
    return None


@dataclass
class Book:
    """Everything that scoring reads, folded from records in order.

    Attributes:
        miners: by hotkey.
        scores: newest record of each other challenge, with its block.
        weights: the newest vector that was written.
        head: seq of the newest record folded in.
    """

    miners: dict[str, MinerBook] = field(default_factory=dict)
    scores: dict[str, tuple[int, ScoresContent]] = field(default_factory=dict)
    weights: WeightsContent | None = None
    head: int = 0

    @property
    def hotkeys(self) -> frozenset[str]:
        """Everybody about whom something is known, here or from another challenge."""
        scored = (content.scores for _, content in self.scores.values())
        return frozenset(self.miners).union(*scored)

    def miner(self, hotkey: str) -> MinerBook:
        """What is known of a miner; an empty book for a stranger."""
        return self.miners.get(hotkey) or MinerBook()

    def add(self, record: Record) -> None:
        """Fold in the next record.

        Raises:
            ValueError: when it is not newer than the last, or its content is not of its kind.
        """
        if record.seq <= self.head:
            raise ValueError(f"record {record.seq} is already in the book")
        self._fold(record)
        self.head = record.seq

    def extend(self, records: Iterable[Record]) -> "Book":
        """Fold in several records; returns itself."""
        for record in records:
            self.add(record)
        return self

    def prune(self, start: int) -> None:
        """Forget what is not after block `start`."""
        for hotkey, book in list(self.miners.items()):
            for items in (book.checks, book.proofs, book.claims):
                while items and items[0].block <= start:
                    items.popleft()
            expired = [k for k, v in book.penalties.items() if v.content.until_block <= start]
            for name in expired:
                del book.penalties[name]
            if not (book.checks or book.proofs or book.claims or book.penalties):
                del self.miners[hotkey]

    def _fold(self, record: Record) -> None:
        if record.kind is EvidenceKind.SCORES:
            scores = ScoresContent.model_validate(record.content)
            self.scores[scores.challenge] = (record.block, scores)
        elif record.kind is EvidenceKind.WEIGHTS:
            self.weights = WeightsContent.model_validate(record.content)
        else:
            self._fold_miner(record, self.miners.setdefault(record.miner, MinerBook()))

    def _fold_miner(self, record: Record, book: MinerBook) -> None:
        seq, block = record.seq, record.block
        if record.kind is EvidenceKind.PENALTY:
            penalty = PenaltyContent.model_validate(record.content)
            book.penalties[penalty.penalty] = Penalty(seq, block, penalty)
            return
        if record.kind is EvidenceKind.PROOF:
            shown = ProofContent.model_validate(record.content)
            book.proofs.append(
                Proof(seq, block, record.outcome, record.reason, shown.gpus, shown.address)
            )
        elif record.kind is EvidenceKind.SPECS:
            claim = SpecsContent.model_validate(record.content)
            if record.outcome is not Outcome.INCONCLUSIVE:
                book.claims.append(Claim(seq, block, record.outcome, record.reason, claim))
        elif record.kind is EvidenceKind.PING:
            PingContent.model_validate(record.content)
        book.checks.append(Check(seq, block, record.kind, record.outcome, record.reason))

    def __iter__(self) -> Iterator[tuple[str, MinerBook]]:
        return iter(self.miners.items())
