"""The life of a lease as pure values: what may follow what, and when it is due."""

from dataclasses import replace

import pytest

from compute.domain import lease as life
from compute.domain.capacity import Assignment, HostPort
from compute.domain.container import (
    SSH_CAPABILITIES,
    Surroundings,
    build,
    container_name,
    deadline_of,
)
from compute.domain.lease import EndReason, Lease, LeaseKind, LeaseState
from compute.domain.requirement import Requirement
from compute.domain.timeline import Deadline, Instant
from compute.errors import Code, LeaseError

NOW = Instant(1_700_000_000.0, 500.0, "0badcafe")


def a_lease(**fields: object) -> Lease:
    values: dict[str, object] = {
        "id": "a" * 32,
        "kind": LeaseKind.RENTAL,
        "owner": "5Owner",
        "requirement": Requirement(),
        "assignment": Assignment(
            cpus=(1,), memory_mib=512, shm_mib=64, ports=(HostPort(container=22, host=20000),)
        ),
        "created_at": NOW.wall,
        "deadline": Deadline.at(NOW, 60),
        "image": "sha256:" + "1" * 64,
    }
    return Lease(**{**values, **fields})  # type: ignore[arg-type]


def active() -> Lease:
    return life.activate(life.provision(a_lease()), NOW, "sealed")


def test_a_lease_walks_through_its_life():
    """Requested, provisioning, active, paused, active, ending, ended."""
    lease = life.unpause(life.pause(active()))
    over = life.finish(life.begin_end(lease, EndReason.RELEASED), NOW)
    assert over.state is LeaseState.ENDED
    assert over.ended_at == NOW.wall
    assert not over.live


@pytest.mark.parametrize("reason", [EndReason.FAULT, EndReason.LOST])
def test_a_fault_ends_in_failure(reason: EndReason):
    """What went wrong leaves FAILED, whatever went to plan leaves ENDED."""
    over = life.finish(life.begin_end(life.provision(a_lease()), reason), NOW)
    assert over.state is LeaseState.FAILED


def test_hardware_is_held_until_the_end_is_confirmed():
    """A lease that is ending is still live: what it holds is not given out yet."""
    assert life.begin_end(active(), EndReason.DEADLINE).live


@pytest.mark.parametrize("state", [LeaseState.ENDING, LeaseState.ENDED, LeaseState.FAILED])
def test_an_ending_does_not_begin_twice(state: LeaseState):
    """Once a lease is ending or over, its reason stays."""
    with pytest.raises(LeaseError) as refused:
        life.begin_end(replace(a_lease(), state=state), EndReason.RELEASED)
    assert refused.value.code is Code.LEASE_STATE


def test_an_extension_counts_from_the_beginning():
    """The longest lease holds for the whole of it, extensions included."""
    extended = life.extend(active(), 40, longest_s=100)
    assert extended.deadline.remaining_s(NOW) == 100
    with pytest.raises(LeaseError) as refused:
        life.extend(extended, 1, longest_s=100)
    assert refused.value.code is Code.TOO_LONG


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_a_clock_jump_moves_no_deadline(jump_s: float):
    """While the host stays up its uptime decides, whatever the wall clock is set to."""
    deadline = Deadline.at(NOW, 60)
    before = Instant(NOW.wall + 59 + jump_s, NOW.uptime + 59, NOW.boot)
    after = Instant(NOW.wall + 60 + jump_s, NOW.uptime + 60, NOW.boot)
    assert not deadline.due(before)
    assert deadline.due(after)


def test_after_a_reboot_the_wall_clock_decides():
    """Uptime starts anew with each boot, and says nothing about deadlines from before."""
    deadline = Deadline.at(NOW, 60)
    assert not deadline.due(Instant(NOW.wall + 59, 10_000.0, "11111111"))
    assert deadline.due(Instant(NOW.wall + 60, 3.0, "11111111"))


def test_a_container_name_carries_the_deadline():
    """Whoever has nothing but the engine reads the deadline from the name, not the old label."""
    lease = a_lease(deadline=Deadline(1_700_000_060.2, 560.2, "0badcafe"))
    later = lease.deadline.extended(40)
    labels = build(lease, Surroundings("me", "net", "127.0.0.1")).labels
    assert deadline_of(container_name(lease.id, later), labels) == Deadline(
        1_700_000_101.0, 601.0, "0badcafe"
    )
    assert deadline_of("renamed", labels) == Deadline(1_700_000_061.0, 561.0, "0badcafe")
    assert deadline_of("renamed", {}) is None


def test_every_container_is_limited():
    """Limits, capabilities and published ports follow from the assignment alone."""
    spec = build(a_lease(), Surroundings("me", "net", "127.0.0.9", pids=77, open_files=99))
    assert spec.limits.cpus == (1,)
    assert (spec.limits.memory_mib, spec.limits.shm_mib) == (512, 64)
    assert (spec.limits.pids, spec.limits.open_files) == (77, 99)
    assert spec.capabilities == SSH_CAPABILITIES
    assert [(p.container, p.host, p.address) for p in spec.publish] == [(22, 20000, "127.0.0.9")]


def test_a_prover_is_locked_in():
    """A challenge's container has no network, no capability, no writable root and no port."""
    spec = build(a_lease(kind=LeaseKind.CHALLENGE), Surroundings("me", "net", "127.0.0.1"))
    assert spec.network == "none"
    assert spec.read_only
    assert spec.capabilities == ()
    assert spec.publish == ()
    assert spec.user == "1000:1000"
