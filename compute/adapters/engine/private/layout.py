"""Where a private engine keeps its things: one folder, and names that no other engine has.

Several private engines may run on one machine, one for each state folder. Everything that the
kernel names globally (bridge, control group) carries a short hash of the folder's path.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

# A Unix socket's path may have 107 bytes, and the engine puts sockets of up to 40 more
# characters below its exec root.
_LONGEST_RUN = 60


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths and names of the private engine that belongs to one state folder.

    Attributes:
        root: what the engine owns below the state folder.
        ident: eight hexadecimal digits that stand for the state folder.
        run: sockets, pid files and the exec root; gone when the engine is.
    """

    root: Path
    ident: str
    run: Path

    @classmethod
    def of(cls, state: Path) -> "Layout":
        """The layout for a state folder, which need not exist yet."""
        root = state.resolve() / "engine"
        ident = hashlib.sha256(str(root).encode()).hexdigest()[:8]
        run = root / "run"
        if len(str(run)) > _LONGEST_RUN:
            run = Path("/run") / f"compute-{ident}"
        return cls(root=root, ident=ident, run=run)

    @property
    def data(self) -> Path:
        """The data root: images and layers, kept from run to run."""
        return self.root / "data"

    @property
    def socket(self) -> Path:
        """The API's socket."""
        return self.run / "docker.sock"

    @property
    def docker_host(self) -> str:
        """The API's address, as `DOCKER_HOST` takes it."""
        return f"unix://{self.socket}"

    @property
    def pid_file(self) -> Path:
        """The engine's process id."""
        return self.run / "dockerd.pid"

    @property
    def containerd_pid_file(self) -> Path:
        """The process id of the engine's own containerd."""
        return self.run / "containerd.pid"

    @property
    def log(self) -> Path:
        """The engine's log, begun afresh at each start."""
        return self.root / "engine.log"

    @property
    def record(self) -> Path:
        """What was chosen for this engine (subnet, storage driver), as JSON."""
        return self.root / "engine.json"

    @property
    def keep_mark(self) -> Path:
        """Exists while the engine was started to stay, not for the length of one command."""
        return self.run / "keep"

    @property
    def bridge(self) -> str:
        """The default bridge's interface name (at most 15 characters)."""
        return f"cmp{self.ident}"

    @property
    def cgroup(self) -> str:
        """The control group under which all of this engine's containers live."""
        return f"/compute-{self.ident}"
