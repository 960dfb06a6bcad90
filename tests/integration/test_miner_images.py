"""Renters' images on a real engine: built in a sandbox, pulled by digest, cached, pruned."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute.adapters.engine.baseimage import BaseImage
from compute.domain.lease import LeaseState
from compute.domain.requirement import Requirement
from compute.errors import Code, ComputeError
from compute.miner.service import MinerService
from compute.protocol.synapses import AllocateReply, LeaseAction, SpecsRequest
from compute.settings.leases import ImageSettings
from compute.testing.leases import FakeRenter, real_service
from tests.integration.lease_lab import PORT, PUBLIC, internet
from tests.integration.tiny_registry import Blob, image, registry, sha256, shell

pytestmark = [pytest.mark.engine, pytest.mark.timeout(180)]
SMALL = Requirement(memory_mib=256, disk_mib=64)
DIAL = f'import socket; socket.create_connection(("{PUBLIC}", {PORT}), 3)'
IMAGES = ImageSettings(
    builds=True, references=True, build_s=12, build_memory_mib=256, build_disk_mib=100
)


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, docker_host: str, base_image: BaseImage
) -> Iterator[MinerService]:
    """One miner that takes builds."""
    state = tmp_path_factory.mktemp("images")
    service = real_service(
        state, docker_host, base_image.id, images=IMAGES, on_stop="end", pids=200, ready_s=5
    )
    service.start()
    yield service
    service.stop()
    for kept in service.images._book.all():
        service.host.engine.remove_image(kept.image)


@pytest.fixture(scope="module")
def renter(service: MinerService) -> FakeRenter:
    """One renter."""
    return FakeRenter(service)


def patiently(renter: FakeRenter, limit_s: float = 60, **fields: object) -> AllocateReply:
    """Ask until the image is there, as a renter's client does."""
    request = renter.request(requirement=SMALL, **fields)
    until = time.monotonic() + limit_s
    while True:
        try:
            return renter.service.handle_allocate(request, renter.context())
        except ComputeError as refusal:
            if refusal.code is not Code.BUSY or time.monotonic() > until:
                raise
            time.sleep(min(0.2, refusal.retry_after_s or 60))


def failure(renter: FakeRenter, **fields: object) -> ComputeError:
    with pytest.raises(ComputeError) as refused:
        patiently(renter, **fields)
    return refused.value


def nothing_runs(service: MinerService) -> bool:
    leases = service.host.engine.containers(service.host.ledger.owner)
    return not leases and not service.host.ledger.live()


def test_a_built_image_is_leased_and_found_again(service: MinerService, renter: FakeRenter):
    """What RUN and ENV did is there after the login; the same instructions build nothing again."""
    dockerfile = "ENV COLOUR=blue\nWORKDIR /srv/app\nRUN echo made > here && id -u >> here"
    reply = patiently(renter, dockerfile=dockerfile)
    inside = renter.open(reply)
    said = renter.run(inside, "cat /srv/app/here; echo $COLOUR")[1]
    assert said == "made\n0\nblue\n"
    before = service.host.engine.images()
    again = renter.allocate(requirement=SMALL, dockerfile=f"# the same\n{dockerfile}")
    assert service.host.engine.images() == before
    specs = service.handle_specs(SpecsRequest(), renter.context())
    lease = service.host.ledger.get(again.lease_id)
    assert lease.image in specs.images
    assert lease.image != service.host.image
    assert renter.allocate(requirement=SMALL, image=lease.image).state is LeaseState.ACTIVE
    assert specs.terms.builds
    for one in service.host.ledger.live():
        renter.operate(one.id, LeaseAction.RELEASE)


def test_a_failing_build_tells_its_last_lines(service: MinerService, renter: FakeRenter):
    """The renter hears the command's own words, once and when he asks again; nothing is left."""
    dockerfile = "RUN echo first\nRUN echo 'no such thing' >&2; exit 3"
    for _ in range(2):
        told = failure(renter, dockerfile=dockerfile)
        assert told.code is Code.BUILD_FAILED
        assert "no such thing" in told.detail
        assert "line 2 ended with 3" in told.detail
    assert nothing_runs(service)


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        ("RUN sleep 60", "took too long"),
        ("RUN python3 -c 'bytearray(600 << 20)'", "ended with 137"),
        ("RUN head -c 300M /dev/zero > /big", "No space left"),
        (f"RUN python3 -c '{DIAL}'", "Network is unreachable"),
        ("RUN test ! -e /var/run/docker.sock && mount -t tmpfs none /mnt", "denied"),
    ],
)
def test_a_build_is_locked_in(
    service: MinerService, renter: FakeRenter, dockerfile: str, words: str
):
    """Time, memory, disk, network and rights end where the sandbox does."""
    with internet():
        told = failure(renter, dockerfile=dockerfile)
    assert told.code is Code.BUILD_FAILED
    assert words in told.detail
    assert nothing_runs(service)


def test_a_fork_bomb_in_a_build_is_gone_in_time(service: MinerService, renter: FakeRenter):
    """The sandbox's process limit holds, and its deadline ends what is left."""
    told = failure(renter, dockerfile="RUN bomb() { bomb | bomb & }; bomb; sleep 90")
    assert told.code is Code.BUILD_FAILED
    assert nothing_runs(service)


def test_the_least_recently_used_go_first_and_only_ours(
    tmp_path: Path, docker_host: str, base_image: BaseImage
):
    """Beyond the budget the oldest unused image goes; one in use and foreign ones stay."""
    tight = IMAGES.model_copy(update={"budget_mib": 45})
    service = real_service(tmp_path, docker_host, base_image.id, images=tight, on_stop="end")
    service.start()
    try:
        renter = FakeRenter(service)
        foreign = {one.id for one in service.host.engine.images()}
        made = []
        for number in range(3):
            reply = patiently(renter, dockerfile=f"RUN head -c 20M /dev/urandom > /n{number}")
            made.append(service.host.ledger.get(reply.lease_id))
            if number == 1:
                renter.operate(reply.lease_id, LeaseAction.RELEASE)
        there = {one.id for one in service.host.engine.images()}
        assert made[0].image in there  # the oldest, but a lease runs on it
        assert made[1].image not in there
        assert made[2].image in there
        assert foreign - {one.image for one in made} <= there
        for lease in (made[0], made[2]):
            renter.operate(lease.id, LeaseAction.RELEASE)
        for kept in service.images._book.all():
            service.host.engine.remove_image(kept.image)
    finally:
        service.stop()


# --- by reference ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unfit() -> dict[str, Blob]:
    """An image with a shell and nothing else."""
    return image(shell())


def test_a_reference_needs_a_digest(renter: FakeRenter):
    """A tag may mean something else tomorrow: it is refused."""
    assert failure(renter, image="debian:latest").code is Code.UNSUPPORTED


def test_an_image_without_our_ssh_server_is_refused_and_removed(
    service: MinerService, renter: FakeRenter, unfit: dict[str, Blob]
):
    """It is pulled, looked into, and not kept."""
    with registry(unfit) as address:
        reference = f"{address}/some/thing@{sha256(unfit['manifest'].data)}"
        told = failure(renter, image=reference)
    assert told.code is Code.UNSUPPORTED
    assert "no SSH server" in told.detail
    assert service.host.engine.image(reference) is None
    assert nothing_runs(service)


def test_a_digest_that_nobody_has_is_missing(renter: FakeRenter, unfit: dict[str, Blob]):
    """The registry's no is passed on under its own code."""
    with registry(unfit) as address:
        told = failure(renter, image=f"{address}/some/thing@sha256:{'0' * 64}")
    assert told.code is Code.IMAGE_MISSING


def test_a_fit_image_is_pulled_once(service: MinerService, renter: FakeRenter):
    """With entry point and SSH server in place it is accepted, and found again without a pull."""
    script = b"#!/bin/sh\nexit 0\n"
    fit = image({**shell(), "/usr/local/sbin/compute-entry": script, "/usr/sbin/sshd": script})
    with registry(fit) as address:
        reference = f"{address}/fit@{sha256(fit['manifest'].data)}"
        # This one only pretends to be an SSH server, so the lease itself fails: for lack of a
        # banner, after the image was accepted.
        told = failure(renter, image=reference)
        assert told.code is Code.ENGINE_FAILED
        assert "banner" in told.detail
    assert service.host.engine.image(reference) is not None
    assert failure(renter, image=reference).code is Code.ENGINE_FAILED
    assert nothing_runs(service)
