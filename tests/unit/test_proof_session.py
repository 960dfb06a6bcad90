"""The verifier's session: what it waits for, how long, and what it makes of channels."""

# ruff: noqa: ARG002  (channels that break do not look at what they are given)

import asyncio
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest

from compute.errors import Code, ProbeError
from compute.proof import chain, wire
from compute.proof.channel import judge_in, run_verifier
from compute.proof.engine_numpy import NumpyEngine
from compute.proof.fleet import Claim, FleetSlot
from compute.proof.holder import Holder
from compute.proof.opening import OpeningCheck, check_opening
from compute.proof.prover import ProverSession
from compute.proof.result import Reason
from compute.proof.sizes import Sizes
from compute.proof.verifier import (
    GpuPlan,
    Limits,
    SessionPlan,
    Step,
    VerifierSession,
    draw_units,
)
from compute.proof.wire import Kind, Mode, Status, WireError
from tests.adversary.proof_arena import (
    ArenaChannel,
    ManualClock,
    Miner,
    arena_class,
    challenge,
    entropy,
)

SIZES = Sizes(128, 3, 64)


def _session(gpus: int = 1, mode: Mode = Mode.RECOMPUTE, limits: Limits | None = None) -> Any:
    slot = FleetSlot.prepare([arena_class(SIZES)], entropy("slot"))
    plans = tuple(GpuPlan(SIZES, slot.slot.sub("hk", "", gpu)) for gpu in range(gpus))
    plan = SessionPlan(
        slot.slot, plans, "hk", 4, mode, limits or Limits(chain_s=9, sweep_s=2), slot.tables
    )
    return VerifierSession(plan, entropy("session"))


def _ready(gpu: int, status: Status = Status.READY) -> bytes:
    return wire.ready(gpu, wire.Ready(status, "path", "device", 1))


def _root(kind: Kind, gpu: int) -> bytes:
    return wire.frame(kind, gpu, bytes([gpu]) * 32)


def _talk(session: VerifierSession, prover: ProverSession, step: Step) -> None:
    """Drive both sessions to the checks, at one instant."""
    outbox = b""
    while not step.done:
        data = step.send
        while data:
            part, data = data[: prover.expects], data[prover.expects :]
            outbox += b"".join(prover.receive(part))
        answer, outbox = outbox[: step.expects], outbox[step.expects :]
        step = session.receive(answer, 0.0)


def test_each_step_says_what_comes_next() -> None:
    """Lengths and remaining times are known before every wait, for GPUs in any order."""
    session = _session(gpus=2)
    step = session.begin(10.0)
    assert (step.expects, step.timeout_s) == (wire.HEADER_BYTES + 64, 30.0)
    step = session.receive(_ready(1), 15.0)
    assert (step.send, step.timeout_s) == (b"", 25.0)
    step = session.receive(_ready(0), 20.0)
    assert wire.parse_header(step.send[:8]) == (Kind.START, 2, 32 * 3)
    assert (step.expects, step.timeout_s) == (wire.HEADER_BYTES + 32, 9.0)
    step = session.receive(_root(Kind.ROOT_A, 1), 28.0)
    assert wire.parse_header(step.send[:8]) == (Kind.SWEEP, 1, 32)
    assert step.timeout_s == 1.0, "GPU 0 owes its root first"
    step = session.receive(_root(Kind.ROOT_A, 0), 28.5)
    first = step.send
    assert step.timeout_s == 1.5, "GPU 1 owes its sweep first"
    step = session.receive(_root(Kind.ROOT_B, 1), 28.6)
    assert wire.parse_header(step.send[:8]) == (Kind.SWEEP, 1, 32)
    assert step.send[8:] != first[8:], "each sweep has its own seed"
    session.receive(_root(Kind.ROOT_B, 0), 28.7)
    session.receive(_root(Kind.ROOT_B, 0), 29.0)
    step = session.receive(_root(Kind.ROOT_B, 1), 29.1)
    assert wire.parse_header(step.send[:8]).kind == Kind.OPEN
    assert step.expects == wire.HEADER_BYTES + wire.units_bytes(SIZES, Mode.RECOMPUTE, 4)
    assert step.timeout_s == 3.0
    assert session.checks == ()


def test_times_are_the_validators() -> None:
    """Chain time runs from START to that GPU's root_A, and the faster sweep counts."""
    session = _session(gpus=2)
    session.begin(0.0)
    session.receive(_ready(0), 1.0)
    session.receive(_ready(1), 2.0)
    session.receive(_root(Kind.ROOT_A, 0), 5.0)
    session.receive(_root(Kind.ROOT_A, 1), 6.0)
    session.receive(_root(Kind.ROOT_B, 0), 6.5)
    session.receive(_root(Kind.ROOT_B, 1), 6.7)
    session.receive(_root(Kind.ROOT_B, 0), 6.8)
    step = session.receive(_root(Kind.ROOT_B, 1), 7.9)
    units = wire.units_bytes(SIZES, Mode.RECOMPUTE, 4)
    assert step.send[8 + 1] == 1, "GPU 0's second sweep was the faster one"
    step = session.receive(wire.frame(Kind.UNITS, 0, bytes(units)), 8.0)
    assert step.send[8 + 1] == 0, "GPU 1's first sweep was the faster one"
    session.receive(wire.frame(Kind.UNITS, 1, bytes(units)), 8.0)
    result = session.finish()
    assert [gpu.chain_s for gpu in result.gpus] == [3.0, 4.0]
    assert [gpu.sweep_s for gpu in result.gpus] == pytest.approx([0.3, 0.7])
    assert result.gpus[0].tops == pytest.approx(SIZES.operations / 3.0 / 1e12)
    assert [gpu.reason for gpu in result.gpus] == [Reason.PATH, Reason.PATH]


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.READY])
def test_a_prover_that_is_not_ready_ends_it(status: Status) -> None:
    """A GPU that is missing, too small or wrong ends the session with its status in words."""
    session = _session()
    session.begin(0.0)
    assert session.receive(_ready(0, status), 1.0).done
    assert session.result is not None
    assert session.result.reason is Reason.NOT_READY
    assert status.name.lower() in session.result.detail


def test_an_answer_after_its_deadline_is_late_even_if_it_arrives() -> None:
    """The session judges lateness by its own clock, not by the channel's good will."""
    session = _session()
    session.begin(0.0)
    session.receive(_ready(0), 1.0)
    session.receive(_root(Kind.ROOT_A, 0), 10.001)
    assert session.result.reason is Reason.LATE


def test_what_comes_after_the_end_is_ignored() -> None:
    """A session that is over stays over with the same result."""
    session = _session()
    session.begin(0.0)
    session.receive(_ready(0, Status.NO_MEMORY), 1.0)
    before = session.result
    assert session.receive(_ready(0), 1.0).done
    session.fail(Reason.LATE, "")
    assert session.finish() is before


@pytest.mark.parametrize(
    "frame", [_root(Kind.ROOT_B, 0), _root(Kind.SWEEP, 0), _root(Kind.ROOT_A, 1)]
)
def test_a_message_out_of_turn_is_malformed(frame: bytes) -> None:
    """Only a GPU of the session, and only the message that it owes, is accepted."""
    session = _session()
    session.begin(0.0)
    session.receive(_ready(0), 0.0)
    session.receive(frame, 0.0)
    assert session.result.reason is Reason.MALFORMED


def _running(gpus: int = 2) -> Any:
    session = _session(gpus=gpus)
    session.begin(0.0)
    for gpu in range(gpus):
        session.receive(_ready(gpu), 0.0)
    return session


def test_no_root_is_taken_twice() -> None:
    """A GPU that has given a root cannot replace it, however long its siblings take."""
    roots = [_root(Kind.ROOT_A, 0), _root(Kind.ROOT_B, 0), _root(Kind.ROOT_B, 0)]
    for again in (1, 3):
        session = _running()
        for frame in roots[:again]:
            assert not session.receive(frame, 0.0).done
        assert session.receive(roots[again - 1], 0.0).done
        assert session.result.reason is Reason.MALFORMED


def test_no_gpu_opens_in_anothers_place() -> None:
    """Units are taken from the GPU that was asked for them only."""
    session = _running()
    for gpu in (0, 1):
        for kind in (Kind.ROOT_A, Kind.ROOT_B, Kind.ROOT_B):
            session.receive(_root(kind, gpu), 0.0)
    units = bytes(wire.units_bytes(SIZES, Mode.RECOMPUTE, 4))
    session.receive(wire.frame(Kind.UNITS, 1, units), 0.0)
    assert session.result.reason is Reason.MALFORMED


@pytest.mark.parametrize("role", ["previous", "reached"])
def test_block_zero_is_compared_with_the_seed(role: str) -> None:
    """A spoilt row of block 0 is found both as the row before and as the row reached."""

    class SpoiltStart(NumpyEngine):
        def folds(self, slot: bytes, sub: bytes) -> Any:
            computed = super().folds(slot, sub)
            next(computed)
            self._history[5] ^= 1
            yield self._fold_block(0, chain.fold_matrix(slot, self.sizes.n))
            self.first = self._fold_block(0, chain.fold_matrix(slot, self.sizes.n))
            self.round(1, self.first, *self.rest(slot, sub, 1))
            self.second = self._fold_block(1, chain.fold_matrix(slot, self.sizes.n))
            yield self.second
            self.round(2, self.second, *self.rest(slot, sub, 2))
            yield self._fold_block(2, chain.fold_matrix(slot, self.sizes.n))

        def rest(self, slot: bytes, sub: bytes, j: int) -> Any:
            n = self.sizes.n
            return chain.multipliers(slot, n, j), chain.offsets(sub, n, j)

    engine, seeds = SpoiltStart(), (bytes(32), bytes([1] * 32), bytes([2] * 32))
    engine.allocate(SIZES)
    holder = Holder(engine, SIZES)
    roots = holder.run(*seeds[:2]), holder.sweep(seeds[2])
    rows = np.arange(SIZES.n, dtype=np.uint32)
    s, t = chain.reach(engine.second, np.full(SIZES.n, 2, np.uint32), rows, SIZES.n)
    reaching = np.flatnonzero((s == 0) & (t == 5))
    unit = wire.Unit(1, 5) if role == "previous" else wire.Unit(2, int(reaching[0]))
    reply = holder.open(wire.Opening(Mode.RECOMPUTE, 0, (unit,)))
    check = OpeningCheck(
        SIZES, Mode.RECOMPUTE, seeds[0], seeds[1], roots[0], seeds[2], roots[1], (unit,), reply
    )
    assert check_opening(check).reason is Reason.SEED


def test_ready_text_must_be_printable() -> None:
    """A device name with control characters never reaches a person's terminal."""
    session = _session()
    session.begin(0.0)
    frame = bytearray(_ready(0))
    frame[-5] = 27
    session.receive(bytes(frame), 0.0)
    assert session.result.reason is Reason.MALFORMED


def test_units_are_drawn_inside_and_twice_in_round_one() -> None:
    """Places lie in the history; the first two are in round 1, the others everywhere."""
    for count, first in ((1, 0), (2, 1), (3, 2), (256, 2)):
        units = draw_units(SIZES, count, entropy(count))
        assert len(units) == count
        assert all(unit.j == 1 for unit in units[:first])
        assert all(1 <= unit.j < SIZES.blocks and 0 <= unit.r < SIZES.n for unit in units)
    rounds = {unit.j for unit in draw_units(SIZES, 64, entropy("many"))}
    assert rounds == {1, 2}


@pytest.mark.parametrize(
    "change",
    [
        {"gpus": ()},
        {"units": 0},
        {"units": 257},
        {"gpus": (GpuPlan(SIZES, bytes(31)),)},
        {"gpus": (GpuPlan(Sizes(32, 3, 64), bytes(32)),)},
        {"gpus": (GpuPlan(Sizes(128, 1, 64), bytes(32)),)},
        {"mode": Mode.FREIVALDS},
    ],
)
def test_a_plan_that_cannot_work_is_refused(change: dict[str, Any]) -> None:
    """A plan outside the limits, or without what its mode needs, is refused at once."""
    slot = FleetSlot.prepare([], entropy("x")).slot
    good = {"slot": slot, "gpus": (GpuPlan(SIZES, bytes(32)),), "mode": Mode.RECOMPUTE}
    SessionPlan(**good)
    with pytest.raises(ValueError, match=r"session|sub|tables"):
        SessionPlan(**(good | change))


async def test_checks_run_in_processes() -> None:
    """Openings can be sent to a pool of processes, and give the same verdicts there."""
    clock = ManualClock()
    slot = FleetSlot.prepare([arena_class()], entropy("pool"))
    session = slot.session("hk", [Claim(arena_class())] * 2, entropy("s"))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        result = await run_verifier(session, ArenaChannel(Miner(), clock), clock, judge_in(pool))
    assert result.passed
    assert len(result.gpus) == 2


async def test_a_slot_is_prepared_in_a_pool() -> None:
    """Preparing in a pool gives the very tables that preparing here gives."""
    with ThreadPoolExecutor(1) as pool:
        there = await FleetSlot.prepare_in(pool, [arena_class()] * 3, entropy("pool"))
    here = FleetSlot.prepare([arena_class()], entropy("pool"))
    assert len(there.tables) == 1
    assert (there.tables[0].projected == here.tables[0].projected).all()


def test_a_check_survives_pickling() -> None:
    """A check can be sent to another process whole."""
    session = _session(mode=Mode.FREIVALDS)
    _talk(session, ProverSession(lambda _: NumpyEngine()), session.begin(0.0))
    (check,) = session.checks
    assert check_opening(pickle.loads(pickle.dumps(check))).reason is Reason.PASSED  # noqa: S301
    assert "weights" not in repr(check)
    assert session.finish().passed


@pytest.mark.parametrize("error", [ConnectionResetError(), EOFError(), ProbeError(Code.PEER_AWAY)])
async def test_a_broken_channel_is_told_apart(error: Exception) -> None:
    """A channel that breaks gives a result with its own reason, and is closed."""

    class Broken(ArenaChannel):
        closed = False

        async def send(self, data: bytes) -> None:
            raise error

        async def close(self) -> None:
            self.closed = True

    clock = ManualClock()
    channel = Broken(Miner(), clock)
    result = await run_verifier(_session(), channel, clock)
    assert result.reason is Reason.CHANNEL
    assert channel.closed


async def test_a_cancelled_session_closes_its_channel() -> None:
    """Cancelling the driver ends the prover too."""

    class Silent(ArenaChannel):
        closed = False

        async def receive(self, n: int, timeout_s: float) -> bytes:
            return await asyncio.get_running_loop().create_future()

        async def close(self) -> None:
            self.closed = True

    clock = ManualClock()
    channel = Silent(Miner(), clock)
    task = asyncio.create_task(run_verifier(_session(), channel, clock))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert channel.closed


async def test_claims_of_a_node_are_bound_to_their_seeds() -> None:
    """Hotkey, claim, position and secret all go into a GPU's seed."""
    slot = FleetSlot.prepare([], entropy("x")).slot
    subs = {
        slot.sub("a", "c", 0),
        slot.sub("b", "c", 0),
        slot.sub("a", "d", 0),
        slot.sub("a", "c", 1),
        FleetSlot.prepare([], entropy("y")).slot.sub("a", "c", 0),
    }
    assert len(subs) == 5


async def test_sessions_with_different_sizes_run_together() -> None:
    """A node with GPUs of two classes is challenged in one session."""
    classes = [arena_class(), arena_class(Sizes(256, 4, 64), "bigger")]
    slot = FleetSlot.prepare(classes, entropy("two"))
    clock = ManualClock()
    session = slot.session("hk", [Claim(each) for each in classes], entropy("s"))
    result = await run_verifier(session, ArenaChannel(Miner(), clock), clock)
    assert [gpu.sizes.n for gpu in result.gpus] == [128, 256]
    assert result.passed


@pytest.mark.parametrize(
    "frame",
    [
        wire.frame(Kind.SWEEP, 0, bytes(32)),
        wire.frame(Kind.OPEN, 0, bytes(12)),
        wire.frame(Kind.START, 1, bytes(64)),
        wire.frame(Kind.SETUP, 1, bytes(13)),
        wire.frame(Kind.SETUP, 0, b""),
        wire.frame(Kind.SETUP, 65, bytes(12 * 65)),
        wire.frame(Kind.READY, 0, bytes(64)),
        b"\x01\x01\x02\x00\x0c\x00\x00\x00",
        b"\x01\x01\x01\x00\xff\xff\xff\xff",
    ],
)
def test_a_prover_refuses_by_the_header(frame: bytes) -> None:
    """A prover refuses what may not come, before it takes any payload."""
    prover = ProverSession(lambda _: NumpyEngine())
    with pytest.raises(WireError):
        list(prover.receive(frame[: wire.HEADER_BYTES]))


def test_a_prover_bounds_what_it_opens() -> None:
    """Units outside the history, and sweeps that were not made, are refused."""
    good = wire.Opening(Mode.RECOMPUTE, 0, (wire.Unit(1, 0),))
    payload = wire.opening(0, good)[wire.HEADER_BYTES :]
    assert wire.parse_opening(payload, SIZES, 1) == good
    for bad in (
        wire.Opening(Mode.RECOMPUTE, 1, (wire.Unit(1, 0),)),
        wire.Opening(Mode.RECOMPUTE, 0, (wire.Unit(0, 0),)),
        wire.Opening(Mode.RECOMPUTE, 0, (wire.Unit(3, 0),)),
        wire.Opening(Mode.RECOMPUTE, 0, (wire.Unit(1, 128),)),
    ):
        with pytest.raises(WireError):
            wire.parse_opening(wire.opening(0, bad)[wire.HEADER_BYTES :], SIZES, 1)


async def test_transcripts_are_kept_in_mode_r_only() -> None:
    """Mode F has a secret in it, so only mode R leaves a transcript."""
    recomputed, _ = await challenge(Miner(), mode=Mode.RECOMPUTE)
    checked, _ = await challenge(Miner(), mode=Mode.FREIVALDS)
    assert recomputed.transcript
    assert checked.transcript == b""
