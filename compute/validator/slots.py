"""Which miners are challenged together.

All GPUs of the subnet run in one slot, whatever their classes, so that one physical GPU cannot
serve two claims: a fast GPU could else prove itself under each slower class in turn. Only where
there are more miners than are carried at once are they split, at random and anew each round: of `k`
slots, two claims on one GPU meet in one round out of `k`, and neither knows which.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from compute.domain.measurement import ClaimedGpu
from compute.validator.grading import Assignment
from compute.validator.targets import Target


@dataclass(frozen=True, slots=True)
class Candidate:
    """A miner and what it has to prove.

    Attributes:
        unknown: claimed GPUs that the class table does not know.
    """

    target: Target
    work: tuple[Assignment, ...]
    unknown: tuple[ClaimedGpu, ...] = ()


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
