"""Choosing a storage driver that works where the engine's data lies, and clearing its mounts."""

import contextlib
import json
import tempfile
from pathlib import Path

from compute.adapters.engine.private.tools import run_tool, try_tool
from compute.errors import EngineError

OVERLAY = "overlay2"
COPIES = "vfs"


def choose_driver(data: Path) -> str:
    """`overlay2` if the kernel can overlay folders here, else `vfs`, which copies each layer."""
    data.mkdir(mode=0o711, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data, prefix="probe-") as name:
        probe = Path(name)
        for folder in ("lower", "upper", "work", "merged"):
            (probe / folder).mkdir()
        options = f"lowerdir={probe}/lower,upperdir={probe}/upper,workdir={probe}/work"
        works = try_tool("mount", "-t", "overlay", "overlay", "-o", options, f"{probe}/merged")
        if works:
            try_tool("umount", f"{probe}/merged")
    return OVERLAY if works else COPIES


def mounts_below(*folders: Path) -> list[Path]:
    """Mount points at or below these folders, innermost first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = Path(line.split()[4].encode().decode("unicode_escape"))
        if any(point == folder or folder in point.parents for folder in folders):
            found.append(point)
    return found[::-1]


def unmount_below(*folders: Path) -> None:
    """Unmount everything at or below these folders."""
    for point in mounts_below(*folders):
        try_tool("umount", "-l", str(point))


def detach_loops_below(folder: Path) -> None:
    """Detach loop devices whose file lies below this folder."""
    listed = ""
    with contextlib.suppress(EngineError):
        listed = run_tool("losetup", "--json", "--list", "--output", "NAME,BACK-FILE")
    for device in json.loads(listed)["loopdevices"] if listed.strip() else []:
        if folder in Path(device["back-file"] or "/").parents:
            try_tool("losetup", "--detach", device["name"])
