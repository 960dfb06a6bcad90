"""Which miners are challenged together.

All GPUs of the subnet run in one slot, whatever their classes, so that one physical GPU cannot
serve two claims: a fast GPU could else prove itself under each slower class in turn. Only where
there are more miners than are carried at once are they split, at random and anew each round: of `k`
slots, two claims on one GPU meet in one round out of `k`, and neither knows which.
"""

import random
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

from compute.domain.measurement import ClaimedGpu
from compute.validator.grading import Assignment
from compute.validator.targets import Target


@dataclass(frozen=True, slots=True)
class Candidate:
    """A miner and what it has to prove.

    Attributes:
        unknown: claimed GPUs that the class table does not know.
        leased: what the miner says it cannot prove now.
    """

    target: Target
    work: tuple[Assignment, ...]
    unknown: tuple[ClaimedGpu, ...] = ()
    leased: tuple[Assignment, ...] = ()

    def without(self, away: Container[str]) -> "Candidate":
        """The same miner with these GPUs leased out."""
        return replace(
            self,
            work=tuple(each for each in self.work if each.gpu not in away),
            leased=tuple(each for each in self.work if each.gpu in away),
        )


def slots_of(
    candidates: Iterable[Candidate], most: int, chance: random.Random
) -> list[list[Candidate]]:
    """Cut candidates into as few slots as carry them, of equal size, at random.

    Args:
        candidates: those without work are left out.
        most: members of one slot.
        chance: draws who is with whom.
    """
    members = [each for each in candidates if each.work]
    chance.shuffle(members)
    slots = -(-len(members) // most)
    return [members[start::slots] for start in range(slots)]
