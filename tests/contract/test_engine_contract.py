"""What every engine does, the one in memory and the real one alike."""

import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from compute.adapters.engine.baseimage import BaseImage
from compute.adapters.engine.docker import DockerEngine
from compute.domain.capacity import Assignment, HostPort
from compute.domain.container import (
    FOLDER,
    ContainerSpec,
    ContainerState,
    Limits,
    Surroundings,
    build,
    labels_of,
)
from compute.domain.lease import Lease, LeaseKind
from compute.domain.requirement import Requirement
from compute.domain.timeline import Deadline, Instant
from compute.errors import Code, EngineError
from compute.ports.engine import Engine, NetworkSpec, PlacedFile, VolumeSpec
from compute.testing.engine import FakeEngine

NOW = Instant(1_700_000_000.0, 500.0, "0badcafe")
ADDRESS = "127.0.0.2"


@dataclass(frozen=True)
class Bench:
    """An engine, an image that it holds, and an owner whose objects are swept away afterwards."""

    engine: Engine
    image: str
    owner: str

    def lease(self, **fields: object) -> Lease:
        """A placed lease with one host port that is free."""
        values: dict[str, object] = {
            "id": secrets.token_hex(16),
            "kind": LeaseKind.RENTAL,
            "owner": "5Owner",
            "requirement": Requirement(),
            "assignment": Assignment(
                cpus=(0,),
                memory_mib=256,
                shm_mib=64,
                ports=(HostPort(container=22, host=free_port()),),
            ),
            "created_at": NOW.wall,
            "deadline": Deadline.at(NOW, 60),
            "image": self.image,
            "trace": "ab" * 16,
        }
        return Lease(**{**values, **fields})  # type: ignore[arg-type]

    def spec(self, lease: Lease) -> ContainerSpec:
        """Its container."""
        return build(lease, Surroundings(self.owner, self.network.name, ADDRESS, open_files=4096))

    def create(self, lease: Lease | None = None) -> tuple[str, ContainerSpec]:
        """Make it on the network."""
        self.engine.ensure_network(self.network)
        spec = self.spec(lease or self.lease())
        return self.engine.create(spec), spec

    def running(self) -> str:
        """Make and start one."""
        container, _ = self.create()
        self.engine.start(container)
        return container

    @property
    def network(self) -> NetworkSpec:
        """A network of this owner."""
        labels = {"io.compute.managed": "1", "io.compute.owner": self.owner}
        return NetworkSpec(f"compute-{self.owner}", f"cl{self.owner[:12]}", labels)

    def state(self, container: str) -> ContainerState:
        """Its state."""
        view = self.engine.inspect(container)
        assert view is not None
        return view.state


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


@pytest.fixture(params=["memory", pytest.param("docker", marks=pytest.mark.engine)])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Either engine."""
    engine: Engine
    if request.param == "memory":
        engine, image = FakeEngine(), f"sha256:{'1' * 64}"
    else:
        base: BaseImage = request.getfixturevalue("base_image")
        engine, image = DockerEngine(request.getfixturevalue("docker_host")), base.id
    bench = Bench(engine, image, secrets.token_hex(8))
    yield bench
    for container in engine.containers(bench.owner):
        engine.remove(container.id)
    for volume in engine.volumes(bench.owner):
        engine.remove_volume(volume)
    for network in engine.networks(bench.owner):
        engine.remove_network(network)
    engine.close()


def code_of(call: object, *args: object) -> Code:
    with pytest.raises(EngineError) as refused:
        call(*args)  # type: ignore[operator]
    return refused.value.code


def test_a_container_is_seen_with_its_labels(bench: Bench):
    """What was created is listed under its owner, by every label that it was given."""
    lease = bench.lease()
    container, spec = bench.create(lease)
    (seen,) = bench.engine.containers(bench.owner)
    assert (seen.id, seen.name, seen.state) == (container, spec.name, ContainerState.CREATED)
    assert labels_of(lease, bench.owner).items() <= seen.labels.items()
    assert seen.image == bench.image
    assert bench.engine.inspect(spec.name) == bench.engine.inspect(container)
    assert bench.engine.containers(secrets.token_hex(8)) == ()
    assert container in {one.id for one in bench.engine.containers()}


def test_a_name_is_used_once(bench: Bench):
    """A second container under the same name is refused."""
    lease = bench.lease()
    bench.create(lease)
    assert code_of(bench.create, lease) is Code.ENGINE_FAILED


def test_an_image_that_is_not_held_has_its_own_code(bench: Bench):
    """Creating from an unknown image says so, and leaves nothing."""
    lease = bench.lease(image=f"sha256:{'0' * 64}")
    assert code_of(bench.create, lease) is Code.IMAGE_MISSING
    assert bench.engine.image(f"sha256:{'0' * 64}") is None
    assert bench.engine.containers(bench.owner) == ()


def test_images_are_found_by_id(bench: Bench):
    """The image that is held is found by its id, and listed."""
    found = bench.engine.image(bench.image)
    assert found is not None
    assert found.id == bench.image
    assert bench.image in {one.id for one in bench.engine.images()}


def test_states_follow_each_other(bench: Bench):
    """Start, pause, unpause, stop, start again, restart: each is seen."""
    engine = bench.engine
    container = bench.running()
    assert bench.state(container) is ContainerState.RUNNING
    engine.pause(container)
    assert bench.state(container) is ContainerState.PAUSED
    engine.unpause(container)
    engine.stop(container, 1)
    assert bench.state(container) is ContainerState.EXITED
    engine.start(container)
    engine.start(container)  # a repeat is harmless
    engine.restart(container, 1)
    assert bench.state(container) is ContainerState.RUNNING


@pytest.mark.parametrize("call", ["pause", "start"])
def test_a_paused_container_is_neither_paused_nor_started(bench: Bench, call: str):
    """What makes no sense in a state is refused."""
    container = bench.running()
    bench.engine.pause(container)
    assert code_of(getattr(bench.engine, call), container) is Code.ENGINE_FAILED


def test_a_paused_container_can_be_stopped(bench: Bench):
    """Stopping thaws first."""
    container = bench.running()
    bench.engine.pause(container)
    bench.engine.stop(container, 1)
    assert bench.state(container) is ContainerState.EXITED


@pytest.mark.parametrize("state", ["created", "running", "paused", "exited"])
def test_removal_works_in_every_state(bench: Bench, state: str):
    """A container is removed whatever it is doing, and a repeat is harmless."""
    container, _ = bench.create()
    if state != "created":
        bench.engine.start(container)
    if state == "paused":
        bench.engine.pause(container)
    if state == "exited":
        bench.engine.stop(container, 0)
    for _ in range(2):
        bench.engine.remove(container)
    assert bench.engine.inspect(container) is None
    bench.engine.stop(container, 0)


def test_a_host_port_serves_one_container(bench: Bench):
    """A second container on the same host port is refused at its start, and can be removed."""
    lease = bench.lease()
    first, _ = bench.create(lease)
    bench.engine.start(first)
    second, _ = bench.create(bench.lease(assignment=lease.assignment))
    assert code_of(bench.engine.start, second) is Code.PORT_TAKEN
    bench.engine.remove(second)
    bench.engine.remove(first)
    third, _ = bench.create(bench.lease(assignment=lease.assignment))
    bench.engine.start(third)


def test_renaming_moves_the_name(bench: Bench):
    """The old name is free afterwards, a taken one is refused."""
    first, spec = bench.create()
    second, other = bench.create()
    bench.engine.rename(first, spec.name + "x")
    bench.engine.rename(second, spec.name)
    assert code_of(bench.engine.rename, second, spec.name + "x") is Code.ENGINE_FAILED
    view = bench.engine.inspect(second)
    assert view is not None
    assert view.name == spec.name
    assert other.name != spec.name


def test_files_can_be_put_before_and_after_the_start(bench: Bench):
    """Files go into a created and into a running container; a read-only root refuses them."""
    container, _ = bench.create()
    bench.engine.put_files(container, FOLDER, [PlacedFile("one", b"1")])
    bench.engine.start(container)
    bench.engine.put_files(container, FOLDER, [PlacedFile("two", b"2")])
    locked = replace(bench.spec(bench.lease()), read_only=True)
    created = bench.engine.create(locked)
    put = (created, FOLDER, [PlacedFile("three", b"3")])
    assert code_of(bench.engine.put_files, *put) is Code.ENGINE_FAILED


def test_limits_can_be_changed(bench: Bench):
    """CPU and memory are changed while it runs."""
    container = bench.running()
    bench.engine.update(container, Limits(cpus=(0, 1), memory_mib=300, shm_mib=64))


def test_a_network_is_made_once_and_removed_when_empty(bench: Bench):
    """Ensuring twice makes one; removal is refused while in use, and harmless when repeated."""
    container = bench.running()
    bench.engine.ensure_network(bench.network)
    assert bench.engine.networks(bench.owner) == (bench.network.name,)
    assert code_of(bench.engine.remove_network, bench.network.name) is Code.ENGINE_FAILED
    bench.engine.remove(container)
    for _ in range(2):
        bench.engine.remove_network(bench.network.name)
    assert bench.engine.networks(bench.owner) == ()


def test_starting_without_the_network_is_refused(bench: Bench):
    """A container whose network is gone does not start somewhere else instead."""
    container, _ = bench.create()
    bench.engine.remove_network(bench.network.name)
    assert code_of(bench.engine.start, container) is Code.ENGINE_FAILED


def test_volumes_come_and_go(bench: Bench):
    """A volume is listed under its owner until it is removed; both can be repeated."""
    labels = {"io.compute.managed": "1", "io.compute.owner": bench.owner}
    name = f"compute-test-{bench.owner}"
    for _ in range(2):
        bench.engine.create_volume(VolumeSpec(name, labels))
    assert bench.engine.volumes(bench.owner) == (name,)
    for _ in range(2):
        bench.engine.remove_volume(name)
    assert bench.engine.volumes(bench.owner) == ()


@pytest.mark.parametrize("call", ["start", "pause", "unpause", "logs"])
def test_what_is_not_there_cannot_be_used(bench: Bench, call: str):
    """Everything but removal needs the container to exist."""
    arguments = ("nobody", 1) if call == "logs" else ("nobody",)
    assert code_of(getattr(bench.engine, call), *arguments) is Code.ENGINE_FAILED


def test_a_stopped_containers_disk_becomes_an_image(bench: Bench):
    """An image is made, found, listed, refused removal while in use, and removed."""
    engine = bench.engine
    container = bench.running()
    engine.stop(container, 0)
    made = engine.commit(container, bench.image, {"COLOUR": "blue"})
    try:
        assert made.id != bench.image
        assert engine.image(made.id) is not None
        assert made.id in {one.id for one in engine.images()}
        user, _ = bench.create(bench.lease(image=made.id))
        assert {one.id for one in engine.containers(bench.owner)} == {container, user}
        assert code_of(engine.remove_image, made.id) is Code.ENGINE_FAILED
        engine.remove(user)
        engine.remove(container)
    finally:
        for _ in range(2):
            engine.remove_image(made.id)
    assert engine.image(made.id) is None


def test_an_image_that_no_registry_has_is_missing(bench: Bench):
    """Pulling what nobody serves says so."""
    nowhere = f"127.0.0.1:9/nothing@sha256:{'0' * 64}"
    assert code_of(bench.engine.pull, nowhere, 10) is Code.IMAGE_MISSING
