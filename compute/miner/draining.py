"""Draining: a mark in the state folder, under which a miner makes no new rentals.

Rentals that run stay until their end, and probes and challenges go on, so that the miner keeps its
score. A file, because it has to hold across restarts and can be set while the miner is down.
"""

from pathlib import Path

from compute.errors import Code, ComputeError

FILE = "draining"


class Drain:
    """The mark of one miner.

    Args:
        state: the miner's state folder.
    """

    def __init__(self, state: Path) -> None:
        self._file = state / FILE

    @property
    def since(self) -> float | None:
        """Unix seconds at which draining began; None while the miner takes rentals."""
        try:
            return self._file.stat().st_mtime
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(error) from error

    def begin(self) -> None:
        """Take no new rentals from now on; whoever drains already goes on doing so."""
        try:
            if self.since is None:
                self._file.touch(mode=0o600)
        except OSError as error:
            raise _unusable(error) from error

    def end(self) -> None:
        """Take rentals again."""
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(error) from error


def _unusable(error: OSError) -> ComputeError:
    return ComputeError(Code.STORAGE_FAILED, error.strerror or type(error).__name__)
