"""Placement: whatever is asked for in whatever order, nothing is ever given out twice."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute.domain.capacity import (
    Assignment,
    Obstacles,
    Pool,
    Supply,
    Wish,
    free,
    place,
    total,
)
from compute.domain.hardware import Gpu
from compute.domain.requirement import Requirement
from compute.errors import Code, LeaseError

GPUS = tuple(
    Gpu(index=i, uuid=f"GPU-{i}", model=model, memory_mib=memory)
    for i, (model, memory) in enumerate([("H100", 80_000)] * 3 + [("L4", 24_000)] * 2)
)
SUPPLY = Supply(
    gpus=GPUS,
    rentals=Pool(cpus=(0, 1, 2, 3), memory_mib=8000, disk_mib=50_000, leases=4),
    test=Pool(cpus=(4, 5), memory_mib=1000, disk_mib=4000, leases=2),
    ports=range(20000, 20008),
)


def supply(leases_per_cpu: int = 1) -> Supply:
    return Supply(SUPPLY.gpus, SUPPLY.rentals, SUPPLY.test, SUPPLY.ports, leases_per_cpu)


requirements = st.builds(
    Requirement,
    gpus=st.integers(0, 3),
    gpu_model=st.sampled_from(["", "h100", "L4"]),
    gpu_memory_mib=st.sampled_from([0, 30_000]),
    cpus=st.integers(1, 3),
    memory_mib=st.integers(64, 3000),
    disk_mib=st.integers(0, 20_000),
)
wishes = st.builds(
    Wish,
    requirement=requirements,
    ports=st.sampled_from([(), (22,), (22, 80)]),
    test=st.booleans(),
)


@given(
    st.lists(st.tuples(wishes, st.booleans()), max_size=30),
    st.integers(1, 3),
    st.sets(st.sampled_from([g.uuid for g in GPUS])),
)
def test_nothing_is_given_out_twice(steps: list[tuple[Wish, bool]], share: int, broken: set[str]):
    """GPUs and ports are disjoint, processors shared only as configured, sums within the pools."""
    host = supply(share)
    obstacles = Obstacles(gpus=dict.fromkeys(broken, "broken"), ports=frozenset({20001}))
    held: list[Assignment] = []
    for wish, give_back in steps:
        if give_back and held:
            held.pop(0)
        with suppress(LeaseError):
            held.append(place(host, held, wish, obstacles))
    gpus = [uuid for one in held for uuid in one.gpus]
    ports = [port.host for one in held for port in one.ports]
    assert len(set(gpus)) == len(gpus)
    assert not broken & set(gpus)
    assert len(set(ports)) == len(ports)
    assert 20001 not in ports
    for test, pool in ((False, host.rentals), (True, host.test)):
        peers = [one for one in held if one.test_slot is test]
        assert sum(one.memory_mib for one in peers) <= pool.memory_mib
        assert sum(one.disk_mib for one in peers) <= pool.disk_mib
        assert len(peers) <= pool.leases
        cpus = [cpu for one in peers for cpu in one.cpus]
        assert set(cpus) <= set(pool.cpus)
        if not test:
            assert all(cpus.count(cpu) <= share for cpu in cpus)


@given(st.lists(wishes, max_size=12), wishes)
def test_what_is_reported_free_is_free(asked: list[Wish], wish: Wish):
    """A rental that fits into the reported free amounts is placed, unless GPU kinds differ."""
    held: list[Assignment] = []
    for one in asked:
        with suppress(LeaseError):
            held.append(place(SUPPLY, held, one))
    left = free(SUPPLY, held)
    need = wish.requirement
    fits = (
        not wish.test
        and not need.gpus
        and left.leases >= 1
        and left.cpus >= need.cpus
        and left.memory_mib >= need.memory_mib
        and left.disk_mib >= need.disk_mib
        and not wish.ports
    )
    if fits:
        place(SUPPLY, held, wish)
    assert all(
        getattr(left, name) <= getattr(total(SUPPLY), name) for name in type(left).model_fields
    )


def test_a_probe_never_waits_for_rentals():
    """The test slot is there even when rentals have taken everything else."""
    held = [place(SUPPLY, (), Wish(Requirement(cpus=4, memory_mib=8000, disk_mib=50_000), (22,)))]
    probe = place(SUPPLY, held, Wish(Requirement(cpus=1, memory_mib=500), (22,), test=True))
    assert probe.test_slot
    assert set(probe.cpus) <= {4, 5}


@pytest.mark.parametrize(
    ("requirement", "why"),
    [
        (Requirement(gpus=1, gpu_model="B200"), "no other is of this model"),
        (Requirement(gpus=4, gpu_model="h100"), "GPUs: 4 asked for, 3 free"),
        (Requirement(cpus=5), "CPUs: 5 asked for, 4 free"),
        (Requirement(memory_mib=9000), "memory: 9000 MiB asked for, 8000 free"),
    ],
)
def test_a_refusal_says_what_is_short(requirement: Requirement, why: str):
    """`no_capacity` carries the amount asked for and the amount there is."""
    with pytest.raises(LeaseError, match=why) as refusal:
        place(SUPPLY, (), Wish(requirement))
    assert refusal.value.code is Code.NO_CAPACITY


def test_a_host_without_gpus_says_so():
    """A lease that asks for a GPU on a machine without one is told that there is none."""
    host = Supply((), SUPPLY.rentals, SUPPLY.test, SUPPLY.ports)
    with pytest.raises(LeaseError, match="this host has none"):
        place(host, (), Wish(Requirement(gpus=1)))


def test_refusal_of_a_challenge_names_every_gpu_that_is_away():
    """A validator hears at once which GPUs it cannot have, so that it can ask for the others."""
    wish = Wish(Requirement(memory_mib=64), gpus=("GPU-0", "GPU-1", "GPU-2"), test=True)
    busy = Obstacles(gpus={"GPU-2": "busy elsewhere"})
    with pytest.raises(LeaseError) as refusal:
        place(SUPPLY, [Assignment(gpus=("GPU-1",))], wish, busy)
    assert refusal.value.data == {"gpus": ["GPU-1", "GPU-2"]}


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (("GPU-9",), "has no GPU GPU-9"),
        (("GPU-1",), "is leased"),
        (("GPU-2",), "busy elsewhere"),
        (("GPU-0", "GPU-0"), "named twice"),
    ],
)
def test_a_challenge_names_its_gpus(wanted: tuple[str, ...], why: str):
    """A challenge gets exactly the GPUs that it names, or hears why not."""
    held = [Assignment(gpus=("GPU-1",))]
    with pytest.raises(LeaseError, match=why):
        place(
            SUPPLY,
            held,
            Wish(Requirement(memory_mib=64), gpus=wanted, test=True),
            Obstacles(gpus={"GPU-2": "busy elsewhere"}),
        )
