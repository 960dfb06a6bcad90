"""Computes published vectors again from exported evidence: anybody can, on any machine."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from compute.domain.book import Book
from compute.domain.evidence import EvidenceKind, Record, Verify, check_chain
from compute.domain.measurement import WeightsContent
from compute.domain.policy import Policy
from compute.domain.score import Board, score
from compute.protocol.keys import SCHEMES, signature_holds


@dataclass(frozen=True, slots=True)
class Replayed:
    """One published vector beside the one that its evidence gives.

    Attributes:
        published: what the validator wrote, and under which policy.
        board: what the evidence gives under the policy at hand.
        complete: whether the evidence reaches back over the whole window; where it does not, a
            difference proves nothing.
        policy_matches: whether the vector was made under the policy at hand.
    """

    seq: int
    published: WeightsContent
    board: Board
    complete: bool
    policy_matches: bool

    @property
    def same(self) -> bool:
        """Whether both vectors are equal to the bit."""
        computed = {str(uid): weight for uid, weight in self.board.vector.items()}
        return (
            computed == self.published.vector
            and self.board.sha256 == self.published.vector_sha256
            and dict(self.board.rulings) == self.published.rulings
        )


def holds(message: bytes, signature: bytes, address: str) -> bool:
    """Whether a signature is an address's, under whichever scheme its key has."""
    return any(signature_holds(message, signature, address, scheme) for scheme in SCHEMES)


def replay(records: Iterable[Record], policy: Policy, verify: Verify = holds) -> Iterator[Replayed]:
    """Check a log and compute each of its vectors again.

    Raises:
        BrokenEvidence: at the first record that does not hold.
    """
    book = Book()
    waiting: deque[Record] = deque()
    begins: tuple[int, int] | None = None  # seq and block of the first record
    for record in check_chain(records, verify):
        begins = begins or (record.seq, record.block)
        if record.kind is EvidenceKind.WEIGHTS:
            content = WeightsContent.model_validate(record.content)
            while waiting and waiting[0].seq <= content.upto:
                book.add(waiting.popleft())
            start = content.snapshot.block - policy.window.blocks
            yield Replayed(
                seq=record.seq,
                published=content,
                board=score(book, content.snapshot, policy),
                complete=begins[0] == 1 or begins[1] <= start,
                policy_matches=content.policy_sha256 == policy.sha256,
            )
            book.prune(start - policy.window.blocks // 2)
        waiting.append(record)
