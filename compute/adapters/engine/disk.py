"""Disk limits: by the engine's quota, by a file system of the lease's own size, or by watching.

Where the engine's file system has no quotas, each lease gets an ext4 file system in a file of
exactly its size, mounted over the folder in which the engine's overlay driver keeps the container's
writable layer. Everything that the tenant writes anywhere lands there and stops hard at its size;
`df` inside shows the true figures. Making one takes about 20 ms, since only metadata is written;
the space is reserved, so that what was promised is there. The engine never notices, and unmounts it
by itself when the container is removed.
"""

import os
import shutil
import subprocess
from pathlib import Path

from compute.errors import Code, EngineError
from compute.protocol.synapses import DiskEnforcement

FOLDER = "disks"  # within a miner's state folder
MIB = 1024 * 1024
TIMEOUT_S = 60
LEAST_MIB = 16  # below it, ext4's own structures leave nothing
_IMAGE = ".img"
_NEW = ".new"  # a disk that is being made
_PLACE = ".layer"  # a symbolic link to where it is mounted
# No journal: a disk does not outlive its lease, and after a power cut it is checked first.
_TOOLS = ("mkfs.ext4", "e2fsck", "mount", "umount")
_FORMAT = ("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "nodiscard")


class PlainDisks:
    """Limits that need nothing from us: the engine's own quota, a watch, or none at all.

    Args:
        enforcement: which of these.
        root: folder of the engine's data, or another on the file system that is leased out.
    """

    def __init__(self, enforcement: DiskEnforcement, root: Path) -> None:
        self._enforcement = enforcement
        self._root = root

    @property
    def enforcement(self) -> DiskEnforcement:
        """What a miner may promise about sizes here."""
        return self._enforcement

    def room_mib(self) -> int:
        """What is free."""
        return _free_mib(self._root)

    def attach(self, lease_id: str, size_mib: int, layer: str) -> None:
        """Nothing to do."""

    def detach(self, lease_id: str) -> None:
        """Nothing to do."""

    def destroy(self, lease_id: str) -> None:
        """Nothing to do."""

    def known(self) -> tuple[str, ...]:
        """None are kept."""
        return ()

    def used_mib(self, layer: str) -> int | None:
        """The size of a layer's files, where it is to be watched."""
        if self._enforcement is not DiskEnforcement.WATCH or not layer:
            return None
        return _measure(Path(layer) / "diff")


class LoopDisks:
    """A file system of its own for each lease.

    Args:
        folder: where the files are kept; on the file system whose space is leased out.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def enforcement(self) -> DiskEnforcement:
        """A limit that stops hard."""
        return DiskEnforcement.VOLUME

    def room_mib(self) -> int:
        """What is free, and what the disks that are there have reserved."""
        images = self._folder.glob(f"*{_IMAGE}") if self._folder.is_dir() else ()
        return _free_mib(self._folder) + sum(path.stat().st_size for path in images) // MIB

    def attach(self, lease_id: str, size_mib: int, layer: str) -> None:
        """Mount the lease's disk over its container's layer; make it first if it is new."""
        if not layer:
            raise EngineError(Code.HOST_UNFIT, "the engine does not say where layers are")
        if os.path.ismount(layer):
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        image = self._path(lease_id, _IMAGE)
        if image.exists():
            _run("e2fsck", "-p", str(image), fine=(0, 1))
        else:
            self._make(image, max(size_mib, LEAST_MIB), layer)
        place = self._path(lease_id, _PLACE)
        place.unlink(missing_ok=True)
        place.symlink_to(layer)
        _run("mount", "-o", "loop,nodev,noatime", str(image), layer)

    def detach(self, lease_id: str) -> None:
        """Unmount a stopped container's layer."""
        place = self._path(lease_id, _PLACE)
        if not place.is_symlink():
            return
        layer = place.readlink()
        if layer.is_mount():
            _run("umount", str(layer))
        place.unlink(missing_ok=True)

    def destroy(self, lease_id: str) -> None:
        """Delete the lease's disk and everything on it."""
        self.detach(lease_id)
        for suffix in (_IMAGE, _NEW):
            self._path(lease_id, suffix).unlink(missing_ok=True)

    def known(self) -> tuple[str, ...]:
        """Ids of leases that have a disk here, or the beginnings of one."""
        if not self._folder.is_dir():
            return ()
        suffixes = {_IMAGE, _NEW, _PLACE}
        return tuple({path.stem for path in self._folder.iterdir() if path.suffix in suffixes})

    def used_mib(self, layer: str) -> int | None:  # noqa: ARG002 - the port's signature
        """The limit holds by itself."""
        return None

    def _make(self, image: Path, size_mib: int, layer: str) -> None:
        fresh = image.with_suffix(_NEW)
        try:
            with fresh.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size_mib * MIB)
            # What the engine keeps beside the layer (links to the layers below) moves in with it.
            _run(*_FORMAT, "-d", layer, str(fresh))
            fresh.rename(image)
        except OSError as error:
            raise EngineError(Code.DISK_FULL, f"{size_mib} MiB cannot be reserved") from error
        finally:
            fresh.unlink(missing_ok=True)

    def _path(self, lease_id: str, suffix: str) -> Path:
        return self._folder / f"{lease_id}{suffix}"


def loop_hindrance() -> str:
    """Why disks of their own cannot be made here; empty when they can."""
    if os.geteuid() != 0:
        return "this process may not mount"
    if not Path("/dev/loop-control").exists():
        return "there are no loop devices"
    missing = [tool for tool in _TOOLS if not shutil.which(tool)]
    return f"not installed: {', '.join(missing)}" if missing else ""


def _free_mib(folder: Path) -> int:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free // MIB


def _measure(folder: Path) -> int:
    """MiB that a folder's files take, hard links counted once.

    `du` follows trees that are deeper than a path may be long, where a tenant could hide from us.
    """
    # 1: something vanished meanwhile, which is left out.
    size, _, _ = _run("du", "-sxm", "--", str(folder), fine=(0, 1)).partition("\t")
    if not size.isdecimal():
        raise EngineError(Code.HOST_UNFIT, "the container's layer cannot be read")
    return int(size)


def _run(*command: str, fine: tuple[int, ...] = (0,)) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(Code.HOST_UNFIT, f"{command[0]} does not run") from error
    if done.returncode not in fine:
        said = " ".join(done.stderr.split())
        code = Code.DISK_FULL if "No space left" in said else Code.HOST_UNFIT
        raise EngineError(code, f"{command[0]} ended with {done.returncode}")
    return done.stdout
