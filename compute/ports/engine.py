"""What the roles ask of a container engine.

Implemented over Docker in `compute.adapters.engine`, and in memory in `compute.testing.engine`;
one contract suite holds both to the same behaviour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from compute.domain.container import ContainerSpec, ContainerState, Limits


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine is and can do.

    Attributes:
        version: of the engine.
        cpus: logical processors that it sees.
        root: folder of its data on its host.
        quota: whether it can limit a container's writable layer.
        user_namespaces: whether root inside is nobody outside.
        local: whether it runs on this very machine.
    """

    version: str
    cpus: int
    memory_mib: int
    root: str
    storage_driver: str
    quota: bool
    user_namespaces: bool
    local: bool
    kernel: str = ""


@dataclass(frozen=True, slots=True)
class ContainerView:
    """A container as the engine lists it; only labelled ones are ever seen.

    Attributes:
        exit_code: of the last run; None while it runs or when the listing does not say.
        pid: of its first process on the engine's host; 0 when it does not run, or in listings.
    """

    id: str
    name: str
    labels: Mapping[str, str]
    state: ContainerState
    image: str
    exit_code: int | None = None
    pid: int = 0


@dataclass(frozen=True, slots=True)
class ImageView:
    """An image that the engine holds.

    Attributes:
        id: `sha256:…`.
        references: names with tag or digest.
        created_at: Unix seconds.
        environment: of its containers; not in listings.
    """

    id: str
    references: tuple[str, ...]
    size_mib: int
    created_at: float = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """A file to put into a container; its content is never shown in a representation."""

    name: str
    content: bytes = field(repr=False)
    mode: int = 0o600
    uid: int = 0


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A bridge whose members cannot reach each other."""

    name: str
    bridge: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A named volume of the engine's local driver, or one that is a mount of its own."""

    name: str
    labels: Mapping[str, str]
    options: Mapping[str, str] = field(default_factory=dict)


class Pipe(Protocol):
    """Standard input and output of a container, attached."""

    def send(self, data: bytes, timeout_s: float) -> None:
        """Write all of it.

        Raises:
            EngineError: `PROVER_FAILED` when the other end is gone or does not read in time.
        """
        ...

    def receive(self, count: int, timeout_s: float) -> bytes:
        """Read exactly so many bytes.

        Raises:
            EngineError: `PROVER_FAILED` when the output ends before, or not enough comes in time.
        """
        ...

    def close(self) -> None:
        """Let go; the container keeps running."""
        ...


class Engine(Protocol):
    """A container engine. Every method may be called from any thread.

    Methods raise `EngineError`: `ENGINE_AWAY` when it does not answer, `IMAGE_MISSING`,
    `PORT_TAKEN`, `DISK_FULL` where that is the reason, and `ENGINE_FAILED` otherwise. Removing
    what is not there is no error.
    """

    def info(self) -> EngineInfo:
        """What the engine is."""
        ...

    def create(self, spec: ContainerSpec) -> str:
        """Make a container, not started; answers its id."""
        ...

    def put_files(self, container: str, folder: str, files: Sequence[PlacedFile]) -> None:
        """Write files into a folder of a container that is created or runs."""
        ...

    def start(self, container: str) -> None:
        """Start it."""
        ...

    def stop(self, container: str, grace_s: int) -> None:
        """Ask it to end, and kill it after the grace; works on a paused one too."""
        ...

    def restart(self, container: str, grace_s: int) -> None:
        """Stop and start it; its disk stays."""
        ...

    def remove(self, container: str) -> None:
        """Remove it in whatever state it is, with its anonymous volumes."""
        ...

    def pause(self, container: str) -> None:
        """Freeze its processes."""
        ...

    def unpause(self, container: str) -> None:
        """Let them run again."""
        ...

    def rename(self, container: str, name: str) -> None:
        """Give it another name."""
        ...

    def update(self, container: str, limits: Limits) -> None:
        """Change CPU and memory limits while it runs."""
        ...

    def inspect(self, container: str) -> ContainerView | None:
        """One container by id or name; None when it is not there or not ours."""
        ...

    def containers(self, owner: str | None = None) -> tuple[ContainerView, ...]:
        """All labelled containers, in any state, of one owner or of all."""
        ...

    def layer(self, container: str) -> str:
        """Folder of its own writable layer on the engine's host; empty where it does not say."""
        ...

    def logs(self, container: str, tail: int) -> str:
        """The last lines of its output, at most 256 KiB."""
        ...

    def attach(self, container: str) -> Pipe:
        """Attach to its standard input and output; before it is started."""
        ...

    def ensure_network(self, spec: NetworkSpec) -> None:
        """Make the network unless it is there."""
        ...

    def remove_network(self, name: str) -> None:
        """Remove a network that no container uses."""
        ...

    def networks(self, owner: str | None = None) -> tuple[str, ...]:
        """Names of labelled networks."""
        ...

    def create_volume(self, spec: VolumeSpec) -> None:
        """Make a volume."""
        ...

    def remove_volume(self, name: str) -> None:
        """Remove a volume that no container uses."""
        ...

    def volumes(self, owner: str | None = None) -> tuple[str, ...]:
        """Names of labelled volumes."""
        ...

    def image(self, reference: str) -> ImageView | None:
        """An image by id, digest or name; None when it is not held."""
        ...

    def images(self) -> tuple[ImageView, ...]:
        """All images that are held."""
        ...

    def commit(self, container: str, like: str, environment: Mapping[str, str]) -> ImageView:
        """Make an image of a stopped container's disk.

        Args:
            container: whose disk.
            like: image whose entry point, user and labels the new one gets.
            environment: of the new image, on top of that of `like`.
        """
        ...

    def pull(self, reference: str, timeout_s: float) -> ImageView:
        """Fetch an image by digest.

        Raises:
            EngineError: `IMAGE_MISSING` when no registry has it.
        """
        ...

    def remove_image(self, image: str) -> None:
        """Remove an image that no container uses; missing is no error."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
