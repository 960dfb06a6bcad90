"""Which tests may run beside each other, where several processes run them.

Whoever starts or stops an engine of its own rebuilds the host's packet filter, which all engines
share: nothing else may use an engine meanwhile, which a lock sees to. Other tests on the engine go
into two heaps, one of whole subnets and one of the engine itself, which do not meet: ports, owners
and folders are their own. Of the rest a module stays together, because of its fixtures.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from functools import cache
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling


class Part(IntEnum):
    """What a module needs of the host, in the order in which they are best begun."""

    OWN_ENGINES = 0
    ENGINE = 1
    HEAVY = 2  # no engine, but much of a processor
    SUBNETS = 3
    LIGHT = 4


_SCOPES = {Part.OWN_ENGINES: "engine", Part.ENGINE: "engine", Part.SUBNETS: "subnets"}
_ENGINE = ("mark.engine", "docker_host", "base_image")
_SUBNETS = ("testing.rig", "docs_world")
_HEAVY = ("property", "adversary", "contract")


@cache
def part_of(module: Path) -> Part:
    """What a module of tests needs, by what it names."""
    text = module.read_text()
    if not any(sign in text for sign in _ENGINE):
        return Part.HEAVY if module.parent.name in _HEAVY else Part.LIGHT
    if "engine.private" in text:
        return Part.OWN_ENGINES
    return Part.SUBNETS if any(sign in text for sign in _SUBNETS) else Part.ENGINE


class EnginesApart(LoadScopeScheduling):
    """Gives each heap to one process, and all other tests by the module."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return _SCOPES.get(part_of(self.config.rootpath / module), module)


def in_order(items: list[pytest.Item]) -> None:
    """Sort tests so that two processes are busy to the end."""
    items.sort(key=lambda item: part_of(item.path))


@contextmanager
def engine_shared(file: Path, part: Part) -> Iterator[None]:
    """Use the engine beside others, or start one with nobody beside."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as held:
        alone = part is Part.OWN_ENGINES
        fcntl.flock(held, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
