"""Control groups of version 2 inside a container, tried on a group that is no true root."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute.adapters.engine.private.processes import make_room

ROOTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))


@pytest.fixture
def group() -> Iterator[Path]:
    """A group of version 2 below the machine's own."""
    root = next((r for r in ROOTS if (r / "cgroup.controllers").exists()), None)
    if root is None or os.geteuid() != 0:
        pytest.skip("needs cgroup version 2 and root")
    group = root / f"compute-test-{os.getpid()}"
    group.mkdir()
    yield group
    for folder in (group / "init", group):
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()


def test_processes_make_room_for_groups_below(group: Path):
    """Processes of such a group move to one of their own, so that it can hand controllers down."""
    with subprocess.Popen(["sleep", "60"]) as process:
        (group / "cgroup.procs").write_text(str(process.pid))
        make_room(group)
        assert (group / "init" / "cgroup.procs").read_text().split() == [str(process.pid)]
        assert (group / "cgroup.procs").read_text() == ""
        available = set((group / "cgroup.controllers").read_text().split())
        assert available == set((group / "cgroup.subtree_control").read_text().split())
        process.kill()


def test_a_true_root_is_left_alone(tmp_path: Path):
    """Where there is no such group, or version 1 is in use, nothing is written."""
    make_room(tmp_path)
    assert list(tmp_path.iterdir()) == []
