"""An engine in memory, which the contract suite holds to the behaviour of a real one.

It keeps what a real engine keeps (containers and their states, names, published ports, networks,
volumes, images), refuses what a real one refuses, and can be told to fail.
"""

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from compute.domain.container import LEASE, OWNER, ContainerSpec, ContainerState, Limits
from compute.errors import Code, EngineError
from compute.ports.engine import (
    ContainerView,
    EngineInfo,
    ImageView,
    NetworkSpec,
    Pipe,
    PlacedFile,
    VolumeSpec,
)

_UP = frozenset({ContainerState.RUNNING, ContainerState.PAUSED})


@dataclass(slots=True)
class FakeContainer:
    """One container in memory."""

    id: str
    name: str
    spec: ContainerSpec
    state: ContainerState = ContainerState.CREATED
    files: dict[str, bytes] = field(default_factory=dict)
    limits: Limits | None = None


class FakeEngine:
    """A container engine without containers.

    Args:
        cpus: logical processors that it claims.
        memory_mib: memory that it claims.
        images: id to references that it holds.

    Attributes:
        fault: called with a method's name before each call; raise in it to make the call fail.
        foreign_ports: host ports that somebody else listens on.
    """

    def __init__(
        self,
        *,
        cpus: int = 8,
        memory_mib: int = 16_384,
        images: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._cpus = cpus
        self._memory_mib = memory_mib
        self._images = dict(images or {f"sha256:{'1' * 64}": ("base:latest",)})
        self._lock = threading.RLock()
        self.all: dict[str, FakeContainer] = {}
        self.network_labels: dict[str, Mapping[str, str]] = {}
        self.volume_labels: dict[str, Mapping[str, str]] = {}
        self.foreign_ports: set[int] = set()
        self.fault: Callable[[str], None] = lambda _: None
        self.pipe: Callable[[], Pipe] = EchoPipe

    def info(self) -> EngineInfo:
        """What the engine is."""
        self.fault("info")
        return EngineInfo(
            version="fake",
            cpus=self._cpus,
            memory_mib=self._memory_mib,
            root="/",
            storage_driver="memory",
            quota=False,
            user_namespaces=False,
            local=False,
        )

    def create(self, spec: ContainerSpec) -> str:
        """Make a container, not started."""
        self.fault("create")
        with self._lock:
            self._image_of(spec)
            if any(one.name == spec.name for one in self.all.values()):
                raise EngineError(Code.ENGINE_FAILED, "the name is in use")
            made = FakeContainer(secrets.token_hex(32), spec.name, spec, limits=spec.limits)
            self.all[made.id] = made
            return made.id

    def put_files(self, container: str, folder: str, files: Sequence[PlacedFile]) -> None:
        """Write files into a folder of a container."""
        self.fault("put_files")
        with self._lock:
            one = self._get(container)
            if one.spec.read_only:
                raise EngineError(Code.ENGINE_FAILED, "container rootfs is marked read-only")
            one.files.update({f"{folder}/{file.name}": file.content for file in files})

    def start(self, container: str) -> None:
        """Start it."""
        self.fault("start")
        with self._lock:
            one = self._get(container)
            if one.state is ContainerState.PAUSED:
                raise EngineError(Code.ENGINE_FAILED, "cannot start a paused container")
            if one.state is ContainerState.RUNNING:
                return
            if one.spec.network not in {"none", *self.network_labels}:
                raise EngineError(Code.ENGINE_FAILED, "network not found")
            self._bind_ports(one)
            one.state = ContainerState.RUNNING

    def stop(self, container: str, grace_s: int) -> None:
        """End it, paused or not."""
        del grace_s
        self.fault("stop")
        with self._lock:
            one = self._find(container)
            if one is not None and one.state in _UP:
                one.state = ContainerState.EXITED

    def restart(self, container: str, grace_s: int) -> None:
        """Stop and start it."""
        del grace_s
        self.fault("restart")
        with self._lock:
            one = self._get(container)
            if one.state is ContainerState.PAUSED:
                raise EngineError(Code.ENGINE_FAILED, "container is paused")
            one.state = ContainerState.RUNNING

    def remove(self, container: str) -> None:
        """Remove it in whatever state it is."""
        self.fault("remove")
        with self._lock:
            one = self._find(container)
            if one is not None:
                del self.all[one.id]

    def pause(self, container: str) -> None:
        """Freeze it."""
        self.fault("pause")
        self._switch(container, ContainerState.RUNNING, ContainerState.PAUSED)

    def unpause(self, container: str) -> None:
        """Let it run again."""
        self.fault("unpause")
        self._switch(container, ContainerState.PAUSED, ContainerState.RUNNING)

    def rename(self, container: str, name: str) -> None:
        """Give it another name."""
        self.fault("rename")
        with self._lock:
            if any(one.name == name for one in self.all.values()):
                raise EngineError(Code.ENGINE_FAILED, "the name is in use")
            self._get(container).name = name

    def update(self, container: str, limits: Limits) -> None:
        """Change its limits."""
        self.fault("update")
        with self._lock:
            self._get(container).limits = limits

    def inspect(self, container: str) -> ContainerView | None:
        """One container by id or name."""
        self.fault("inspect")
        with self._lock:
            one = self._find(container)
            return _view(one) if one is not None and LEASE in one.spec.labels else None

    def containers(self, owner: str | None = None) -> tuple[ContainerView, ...]:
        """All labelled containers of one owner or of all."""
        self.fault("containers")
        with self._lock:
            return tuple(
                _view(one)
                for one in self.all.values()
                if LEASE in one.spec.labels and owner in {None, one.spec.labels.get(OWNER)}
            )

    def layer(self, container: str) -> str:
        """A made-up folder."""
        self.fault("layer")
        with self._lock:
            return f"/layers/{self._get(container).id}"

    def logs(self, container: str, tail: int) -> str:
        """The last lines of its output: none."""
        del tail
        self.fault("logs")
        with self._lock:
            self._get(container)
            return ""

    def attach(self, container: str) -> Pipe:
        """Attach to something that echoes."""
        self.fault("attach")
        with self._lock:
            self._get(container)
            return self.pipe()

    def ensure_network(self, spec: NetworkSpec) -> None:
        """Make the network unless it is there."""
        self.fault("ensure_network")
        with self._lock:
            self.network_labels.setdefault(spec.name, dict(spec.labels))

    def remove_network(self, name: str) -> None:
        """Remove a network that no container uses."""
        self.fault("remove_network")
        with self._lock:
            if any(one.spec.network == name and one.state in _UP for one in self.all.values()):
                raise EngineError(Code.ENGINE_FAILED, "the network has active endpoints")
            self.network_labels.pop(name, None)

    def networks(self, owner: str | None = None) -> tuple[str, ...]:
        """Names of labelled networks."""
        self.fault("networks")
        return _named(self.network_labels, owner)

    def create_volume(self, spec: VolumeSpec) -> None:
        """Make a volume."""
        self.fault("create_volume")
        with self._lock:
            self.volume_labels.setdefault(spec.name, dict(spec.labels))

    def remove_volume(self, name: str) -> None:
        """Remove a volume that no container uses."""
        self.fault("remove_volume")
        with self._lock:
            users = (mount.volume for one in self.all.values() for mount in one.spec.mounts)
            if name in users:
                raise EngineError(Code.ENGINE_FAILED, "the volume is in use")
            self.volume_labels.pop(name, None)

    def volumes(self, owner: str | None = None) -> tuple[str, ...]:
        """Names of labelled volumes."""
        self.fault("volumes")
        return _named(self.volume_labels, owner)

    def image(self, reference: str) -> ImageView | None:
        """An image by id or name."""
        self.fault("image")
        for held, references in self._images.items():
            if reference == held or reference in references:
                return ImageView(held, tuple(references), 1)
        return None

    def images(self) -> tuple[ImageView, ...]:
        """All images that are held."""
        self.fault("images")
        return tuple(ImageView(held, tuple(names), 1) for held, names in self._images.items())

    def commit(self, container: str, like: str, environment: Mapping[str, str]) -> ImageView:
        """Make an image of a container."""
        del like, environment
        self.fault("commit")
        with self._lock:
            self._get(container)
            made = f"sha256:{secrets.token_hex(32)}"
            self._images[made] = ()
            return ImageView(made, (), 1)

    def pull(self, reference: str, timeout_s: float) -> ImageView:
        """No registry has anything."""
        del timeout_s
        self.fault("pull")
        raise EngineError(Code.IMAGE_MISSING, reference)

    def remove_image(self, image: str) -> None:
        """Remove an image that no container uses."""
        self.fault("remove_image")
        with self._lock:
            if any(one.spec.image == image for one in self.all.values()):
                raise EngineError(Code.ENGINE_FAILED, "the image is in use")
            self._images.pop(image, None)

    def close(self) -> None:
        """Nothing to let go of."""

    def reboot(self) -> None:
        """What a restart of the engine or its host does: everything stops, nothing is lost."""
        with self._lock:
            for one in self.all.values():
                if one.state in _UP:
                    one.state = ContainerState.EXITED

    def _image_of(self, spec: ContainerSpec) -> None:
        if self.image(spec.image) is None:
            raise EngineError(Code.IMAGE_MISSING, spec.image)

    def _bind_ports(self, one: FakeContainer) -> None:
        wanted = {port.host for port in one.spec.publish}
        if wanted & self.foreign_ports:
            raise EngineError(Code.PORT_TAKEN, "address already in use")
        for other in self.all.values():
            taken = {port.host for port in other.spec.publish}
            if other is not one and other.state in _UP and wanted & taken:
                raise EngineError(Code.PORT_TAKEN, "port is already allocated")

    def _switch(self, container: str, before: ContainerState, after: ContainerState) -> None:
        with self._lock:
            one = self._get(container)
            if one.state is not before:
                raise EngineError(Code.ENGINE_FAILED, f"the container is {one.state.value}")
            one.state = after

    def _find(self, container: str) -> FakeContainer | None:
        for one in self.all.values():
            if container in {one.id, one.name}:
                return one
        return None

    def _get(self, container: str) -> FakeContainer:
        one = self._find(container)
        if one is None:
            raise EngineError(Code.ENGINE_FAILED, "no such container")
        return one


class EchoPipe:
    """Answers what it was sent; the program, which comes first with its length, is swallowed."""

    def __init__(self) -> None:
        self._answer = b""
        self._started = False
        self.closed = False

    def send(self, data: bytes, timeout_s: float) -> None:
        """Take in the program first, and then what is to be echoed."""
        del timeout_s
        if self._started:
            self._answer += data
        self._started = True

    def receive(self, count: int, timeout_s: float) -> bytes:
        """Give back what was sent."""
        del timeout_s
        if self.closed or len(self._answer) < count:
            raise EngineError(Code.PROVER_FAILED, "it did not answer in time")
        answer, self._answer = self._answer[:count], self._answer[count:]
        return answer

    def close(self) -> None:
        """Let go."""
        self.closed = True


def _view(one: FakeContainer) -> ContainerView:
    return ContainerView(one.id, one.name, one.spec.labels, one.state, one.spec.image)


def _named(objects: Mapping[str, Mapping[str, str]], owner: str | None) -> tuple[str, ...]:
    return tuple(name for name, labels in objects.items() if owner in {None, labels.get(OWNER)})
