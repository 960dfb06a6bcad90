"""The miner is killed with SIGKILL before and after each of its engine calls, and started again.

`COMPUTE_FULL=1` does it 200 times, at every point in turn; otherwise at eight points spread over
the whole life.
"""

import multiprocessing
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import docker
import pytest
from cryptography.hazmat.primitives import serialization

from compute.adapters.engine.baseimage import BaseImage
from compute.adapters.engine.ready import wait_for_banner
from compute.domain.container import LEASE, SSH_PORT, ContainerState
from compute.domain.lease import LeaseState
from compute.errors import ComputeError
from compute.miner.service import MinerService
from compute.testing.leases import ADDRESS, real_service, renter_key
from tests.integration import lease_victim
from tests.integration.lease_victim import KEY, SMALL, live, renter_of

pytestmark = pytest.mark.engine
FULL = bool(os.environ.get("COMPUTE_FULL"))
KILLS = 200 if FULL else 8
KEY_PEM = renter_key("victim").private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


@dataclass
class Life:
    """What a victim said before it died."""

    exitcode: int = 0
    said: dict[str, str | int] = field(default_factory=dict)


@dataclass
class Site:
    """Where the victims live and die."""

    engine_url: str
    image: str
    context: multiprocessing.context.ForkServerContext

    def live(self, folder: Path, blow_at: int) -> Life:
        """Let one live."""
        ours, theirs = self.context.Pipe(duplex=False)
        arguments = (str(folder), self.engine_url, self.image, KEY_PEM, blow_at, theirs)
        process = self.context.Process(target=live, args=arguments)
        process.start()
        theirs.close()
        process.join(90)
        life = Life(process.exitcode or 0)
        while ours.poll():
            try:
                name, value = ours.recv()
            except EOFError:
                break
            life.said[name] = value
        return life

    def examine(self, folder: Path, life: Life) -> None:
        """Start a miner where one died, and look at everything."""
        service = self.service(folder)
        service.start()
        try:
            self.check(service, life)
        finally:
            service.stop()
            last = self.service(folder, on_stop="end")
            last.start()
            last.stop()
        self.check_nothing_left(last)

    def service(self, folder: Path, **settings: object) -> MinerService:
        """The next miner on the folder."""
        return real_service(
            folder, self.engine_url, self.image, first_port=29_100, last_port=29_119, **settings
        )

    def check(self, service: MinerService, life: Life) -> None:
        """No orphan, no lost lease, no double allocation."""
        assert service.manager.settle(20)
        service.reconciler.engine()
        ledger, engine = service.host.ledger, service.host.engine
        alive = {lease.id: lease for lease in ledger.live()}
        there = Counter(one.labels[LEASE] for one in engine.containers(ledger.owner))
        assert there == Counter(alive.keys()), "containers and live leases differ"
        assert {lease.state for lease in alive.values()} <= {LeaseState.ACTIVE, LeaseState.PAUSED}
        if "promised" in life.said and "releasing" not in life.said:
            assert life.said["promised"] in alive, "a promised lease was lost"
        self.check_usable(service)
        self.check_repeat(service, life)

    def check_usable(self, service: MinerService) -> None:
        """Every live lease's container runs, or stands still where its owner paused it."""
        for lease in service.host.ledger.live():
            view = service.host.engine.inspect(lease.container)
            assert view is not None
            if lease.state is LeaseState.ACTIVE:
                assert view.state is ContainerState.RUNNING
                wait_for_banner(ADDRESS, lease.assignment.host_port(SSH_PORT), 10)
            else:
                assert view.state is ContainerState.PAUSED

    def check_repeat(self, service: MinerService, life: Life) -> None:
        """The renter, who may have had no answer, asks again: there is one lease, or none."""
        renter = renter_of(service, KEY_PEM)
        try:
            reply = renter.allocate(idempotency_key=KEY, requirement=SMALL)
        except ComputeError:
            assert "promised" not in life.said
        else:
            assert life.said.get("promised", reply.lease_id) == reply.lease_id
        rows = [one for one in service.host.ledger.recent(99) if one.idempotency_key == KEY]
        assert len(rows) == 1
        assert len(service.host.engine.containers(service.host.ledger.owner)) <= 1

    def check_nothing_left(self, service: MinerService) -> None:
        """No container, network, volume, port proxy or packet filter rule."""
        owner = service.host.ledger.owner
        api = docker.APIClient(base_url=self.engine_url)
        wanted = {"label": f"io.compute.owner={owner}"}
        assert api.containers(all=True, filters=wanted) == []
        assert api.networks(filters=wanted) == []
        assert not api.volumes(filters=wanted)["Volumes"]
        api.close()
        rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=False)
        assert f"COMPUTE-{service.host.network.bridge}" not in rules.stdout
        assert service.host.disks.known() == ()
        assert str(service.host.settings.state) not in Path("/proc/mounts").read_text()
        loops = subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True)
        assert str(service.host.settings.state) not in loops.stdout
        for port in range(29_100, 29_120):
            with pytest.raises(ComputeError):
                wait_for_banner(ADDRESS, port, 0.01)


@pytest.fixture(scope="module")
def site(docker_host: str, base_image: BaseImage) -> Site:
    """A server that forks victims off a clean process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([lease_victim.__name__])
    return Site(docker_host, base_image.id, context)


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[], Path]:
    """Makes state folders."""
    count = iter(range(10_000))
    return lambda: tmp_path / str(next(count))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_killed_miner_leaves_no_orphan_and_loses_no_lease(site: Site, fresh: Callable[[], Path]):
    """Killed at any engine call: 0 orphans, 0 lost leases, 0 double allocations, 0 leaks."""
    whole = fresh()
    life = site.live(whole, 0)
    assert life.exitcode == 0
    points = int(life.said["points"])
    site.examine(whole, life)
    step = 1 if FULL else points / KILLS
    for kill in range(KILLS):
        blow_at = 1 + int(kill * step) % points
        life = kill_one(site, fresh, blow_at)
        while life.exitcode == 0:  # sweeps by the clock make some lives a call or two longer
            assert int(life.said["points"]) < blow_at
            blow_at -= 1
            life = kill_one(site, fresh, blow_at)
        assert life.exitcode == -signal.SIGKILL


def kill_one(site: Site, fresh: Callable[[], Path], blow_at: int) -> Life:
    """One life and what it left."""
    folder = fresh()
    life = site.live(folder, blow_at)
    site.examine(folder, life)
    return life
