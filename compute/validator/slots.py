"""Which miners are challenged together.

All GPUs of a class run in one slot across all miners, so that one physical GPU cannot serve two
claims. A node with GPUs of several classes ties those classes together. Where a slot would be
larger than is carried at once, its miners are split at random, anew each round.
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
    """Cut candidates into slots: by connected classes, then at random where there are too many."""
    group_of: dict[str, str] = {}

    def root(name: str) -> str:
        while group_of.setdefault(name, name) != name:
            name = group_of[name]
        return name

    members = [each for each in candidates if each.work]
    for each in members:
        first = root(each.work[0].gpu_class.name)
        for assignment in each.work[1:]:
            group_of[root(assignment.gpu_class.name)] = first
    groups: dict[str, list[Candidate]] = {}
    for each in members:
        groups.setdefault(root(each.work[0].gpu_class.name), []).append(each)
    slots: list[list[Candidate]] = []
    for name in sorted(groups):
        group = groups[name]
        chance.shuffle(group)
        slots += [group[start : start + most] for start in range(0, len(group), most)]
    return slots
