"""Draining: no new rentals, while everything that runs and every test goes on."""

import pytest

from compute.domain.lease import LeaseKind, LeaseState
from compute.errors import Code, LeaseError
from compute.miner.draining import Drain
from compute.miner.service import open_service
from compute.protocol.synapses import LeaseAction, SpecsRequest
from compute.settings.leases import LeaseSettings
from compute.testing.engine import FakeEngine
from compute.testing.host import FakeHardware, ManualClock
from compute.testing.leases import FakeRenter
from compute.testing.wallets import dev_wallet


@pytest.fixture
def miner(tmp_path):
    made = []
    engine, clock = FakeEngine(), ManualClock()

    def build():
        service = open_service(
            LeaseSettings(state=tmp_path, guard=False, advertised_host="127.0.0.2"),
            key=dev_wallet("Alice").hotkey,
            image="base:latest",
            program=lambda: b"program",
            engine=engine,
            hardware=FakeHardware(),
            clock=clock,
            ready=lambda _address, _port, _timeout: None,
        )
        made.append(service)
        return service

    yield build
    for service in made:
        service.manager.close(1)


def test_a_draining_miner_takes_no_rentals_but_keeps_what_it_has(miner, tmp_path):
    """New rentals are refused as busy; a repeat gets its lease; a running one can be operated."""
    renter = FakeRenter(miner())
    before = renter.allocate(idempotency_key="asked-before")
    Drain(tmp_path).begin()
    with pytest.raises(LeaseError) as refused:
        renter.allocate()
    assert refused.value.code is Code.BUSY
    assert refused.value.retry_after_s == 300
    assert not renter.allocate(checking=True).available
    assert renter.allocate(idempotency_key="asked-before").lease_id == before.lease_id
    assert renter.operate(before.lease_id, LeaseAction.PAUSE).state is LeaseState.PAUSED


def test_probes_go_on_and_offers_show_nothing_free(miner, tmp_path):
    """Validators still measure; renters see no free lease in the specs."""
    service = miner()
    renter = FakeRenter(service)
    Drain(tmp_path).begin()
    assert renter.allocate(kind=LeaseKind.PROBE).available
    assert service.handle_specs(SpecsRequest(), renter.context()).free.leases == 0


def test_draining_holds_across_a_restart_and_ends_when_told(miner, tmp_path):
    """The mark is in the state folder; beginning twice keeps the first moment."""
    drain = Drain(tmp_path)
    assert drain.since is None
    drain.begin()
    first = drain.since
    drain.begin()
    assert drain.since == first
    renter = FakeRenter(miner())
    with pytest.raises(LeaseError):
        renter.allocate()
    drain.end()
    drain.end()
    assert renter.allocate().available
