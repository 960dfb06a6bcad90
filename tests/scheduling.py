"""Which tests may run beside each other, where several processes run them.

Tests on the container engine share it, the host's packet filter and ranges of ports: they stay
together in one process. Of the others a module stays together, because of its fixtures.
"""

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

_SIGNS = ("mark.engine", "docker_host", "base_image")


class EngineApart(LoadScopeScheduling):
    """Gives all modules on the engine to one process, and the others by the module."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return "engine" if is_on_engine(self.config.rootpath / module) else module


@cache
def is_on_engine(module: Path) -> bool:
    """Whether a module of tests asks for the container engine."""
    text = module.read_text()
    return any(sign in text for sign in _SIGNS)
