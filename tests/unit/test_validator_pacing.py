"""Starting together, waiting for room, taking turns: none of it counts against a miner."""

import asyncio
import os
import random
import signal
from collections.abc import Callable

import pytest

from compute.domain.measurement import ClaimedGpu
from compute.errors import ComputeError
from compute.proof.classes import known_classes
from compute.proof.sizes import MAX_GPUS
from compute.validator.crowd import Exclusion, each
from compute.validator.grading import plan
from compute.validator.pool import CheckPool
from compute.validator.slots import Candidate, slots_of
from compute.validator.targets import Target
from compute.validator.transport import PacedChannel, StartGate

H100 = "NVIDIA H100 80GB HBM3"


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


class Prover:
    """The far end of a channel: answers at once, or as late as the clock is moved."""

    def __init__(self, clock: Clock, takes: Callable[[int], float] = lambda _: 0.0) -> None:
        self.clock, self.takes = clock, takes
        self.log: list[tuple[str, float, float]] = []
        self.frames = 0
        self.closed = False

    async def send(self, _data: bytes) -> None:
        """Note the time of sending."""
        self.log.append(("send", self.clock(), 0))

    async def receive(self, n: int, timeout_s: float) -> bytes:
        """Answer after as long as the test says."""
        self.log.append(("receive", self.clock(), timeout_s))
        self.clock.now += self.takes(self.frames)
        self.frames += 1
        return bytes(n)

    async def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


def paced(prover: Prover, gate: StartGate, room: asyncio.Semaphore | None = None) -> PacedChannel:
    return PacedChannel(
        prover,
        1,
        gate=gate,
        ready_by=30.0,
        room=room or asyncio.Semaphore(1),
        open_s=3.0,
        clock=prover.clock,
    )


async def test_session_waits_at_the_gate_for_the_others():
    """A READY is handed on only when every other session is ready or gone."""
    gate, clock = StartGate(3), Clock()
    first, second, third = (paced(Prover(clock), gate) for _ in range(3))
    waiting = asyncio.create_task(first.receive(8, 1))
    also = asyncio.create_task(second.receive(8, 1))
    await asyncio.sleep(0)
    assert not waiting.done()
    await third.close()
    await asyncio.gather(waiting, also)


async def test_gate_opens_at_the_deadline_for_those_who_are_there():
    """One hung miner costs the slot its deadline and nothing more."""
    gate = StartGate(2)
    channel = PacedChannel(
        Prover(Clock()),
        1,
        gate=gate,
        ready_by=0.05,
        room=asyncio.Semaphore(1),
        open_s=1,
        clock=lambda: 0.0,
    )
    async with asyncio.timeout(1):
        assert await channel.receive(8, 600) == bytes(8)


async def test_opening_waits_for_room_before_its_clock_starts():
    """An opening is asked for when there is room, and its deadline runs from that moment."""
    clock, room = Clock(), asyncio.Semaphore(1)
    prover = Prover(clock)
    channel = paced(prover, StartGate(1), room)
    for _ in range(4):
        await channel.send(b"x")
        await channel.receive(8, 60)
    await room.acquire()
    opening = asyncio.create_task(channel.send(b"open"))
    await asyncio.sleep(0)
    assert not opening.done()
    clock.now = 100.0
    room.release()
    await opening
    await channel.receive(8, 600)
    assert prover.log[-2:] == [("send", 100.0, 0), ("receive", 100.0, 3.0)]
    channel.leave_room()
    assert not room.locked()


async def test_no_room_ends_a_session_by_our_fault():
    """A session that finds no room for its openings says so, and is not late by the miner's."""
    clock, room = Clock(), asyncio.Semaphore(1)
    await room.acquire()
    channel = PacedChannel(
        Prover(clock),
        1,
        gate=StartGate(1),
        ready_by=30.0,
        room=room,
        open_s=3.0,
        clock=clock,
        room_s=0.01,
    )
    for _ in range(4):
        await channel.send(b"x")
        await channel.receive(8, 60)
    with pytest.raises(ComputeError):
        await channel.send(b"open")
    assert channel.waiting
    channel.leave_room()
    assert room.locked()


async def test_late_opening_is_late():
    """An opening that took longer than allowed is refused even if its bytes did come."""
    prover = Prover(Clock(), takes=lambda frame: 3.1 if frame == 4 else 0.0)
    channel = paced(prover, StartGate(1))
    for _ in range(4):
        await channel.receive(8, 60)
    with pytest.raises(TimeoutError):
        await channel.receive(8, 600)


async def test_alone_means_alone():
    """While one is alone nobody shares, and who wants to be alone is not put off by newcomers."""
    door, seen = Exclusion(), []
    await door.share()

    async def alone() -> None:
        async with door:
            seen.append("alone")

    async def share() -> None:
        await door.share()
        seen.append("shared")
        await door.unshare()

    tasks = [asyncio.create_task(work()) for work in (alone, share)]
    await asyncio.sleep(0.01)
    assert not seen
    await door.unshare()
    await asyncio.gather(*tasks)
    assert seen == ["alone", "shared"]


async def test_crowd_is_bounded():
    """Never more than so many at once, and everybody is served."""
    running, most, served = 0, 0, []

    async def work(item: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        served.append(item)

    await each(range(50), work, at_once=7)
    assert most == 7
    assert sorted(served) == list(range(50))


# --- Slots ---------------------------------------------------------------------------------------


def candidate(name: str, *models: str) -> Candidate:
    gpus = [ClaimedGpu(uuid=f"{name}-{i}", model=m, memory_mib=1) for i, m in enumerate(models)]
    wanted = plan(gpus, known_classes())
    return Candidate(Target(0, name, ""), wanted.work, wanted.unknown)


def names(slots: list[list[Candidate]]) -> list[set[str]]:
    return [{member.target.hotkey for member in slot} for slot in slots]


def test_all_classes_are_challenged_in_one_slot():
    """One GPU cannot prove itself as one class and then as another: all prove at the same time."""
    chance = random.Random(1)  # noqa: S311
    models = {each.name: each.models[0] for each in known_classes().classes}
    claims = [candidate(name, model) for name, model in models.items() if name != "cpu-dev"]
    idle = candidate("idle", "Voodoo 2")
    assert len(claims) > 10
    assert names(slots_of([*claims, idle], 64, chance)) == [{c.target.hotkey for c in claims}]
    assert slots_of([idle], 64, chance) == []


def test_large_subnet_is_split_anew_each_round():
    """Nobody can foresee with whom he is challenged when there are more than one slot carries."""
    crowd = [candidate(f"m{i}", H100) for i in range(30)]
    chance = random.Random(1)  # noqa: S311
    rounds = [names(slots_of(crowd, 10, chance)) for _ in range(2)]
    assert [len(slot) for slot in rounds[0]] == [10, 10, 10]
    assert set().union(*rounds[0]) == {each.target.hotkey for each in crowd}
    assert rounds[0] != rounds[1]


def test_claim_is_planned_by_device():
    """A device claimed twice is one device; an unknown model is set apart; none is a processor.

    And no processor passes for a GPU.
    """
    table = known_classes()
    twice = [ClaimedGpu(uuid="a", model=H100, memory_mib=1)] * 2
    assert [a.gpu for a in plan(twice, table).work] == ["a"]
    odd = plan([ClaimedGpu(uuid="x", model="Voodoo 2", memory_mib=12)], table)
    assert (odd.work, len(odd.unknown)) == ((), 1)
    assert [a.gpu_class.name for a in plan([], table).work] == ["cpu-dev"]
    disguised = plan([ClaimedGpu(uuid="GPU-v", model="cpu-dev", memory_mib=81_559)], table)
    assert (disguised.work, len(disguised.unknown)) == ((), 1)


def test_claim_of_thousands_makes_no_proof_of_thousands():
    """Of GPUs that no class knows, each proof keeps no more than could be proven."""
    many = [ClaimedGpu(uuid=f"GPU-{n}", model="Voodoo 2", memory_mib=12) for n in range(4096)]
    assert len(plan(many, known_classes()).unknown) == MAX_GPUS


# --- Processes -----------------------------------------------------------------------------------


def test_pool_heals_and_ends():
    """A worker that dies fails its work and no later one; after the end no process is left."""
    pool = CheckPool(1)
    first = pool.submit(os.getpid).result(30)
    os.kill(first, signal.SIGKILL)
    for _ in range(3):
        try:
            second = pool.submit(os.getpid).result(30)
        except RuntimeError:
            continue
        break
    assert second != first
    pool.shutdown(wait=False)
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)
    with pytest.raises(RuntimeError):
        pool.submit(os.getpid)
