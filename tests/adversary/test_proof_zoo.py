"""The adversary zoo: every known cheat, through the real session, scores zero for its reason."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compute.proof import wire
from compute.proof.engine_numpy import NumpyEngine
from compute.proof.grade import GradeReason
from compute.proof.result import FALSE_OPENINGS, Reason
from compute.proof.wire import Kind, Mode
from tests.adversary import proof_cheats as cheats
from tests.adversary.proof_arena import Miner, arena_class, challenge

MODES = [pytest.param(Mode.RECOMPUTE, id="R"), pytest.param(Mode.FREIVALDS, id="F")]


def _device(engine: type[NumpyEngine]) -> Miner:
    return Miner(engine=lambda _: engine())


def _holder(holder: Any) -> Miner:
    return Miner(prover=cheats.holding(holder))


def _tampering(kind: Kind, change: Callable[[bytes], bytes]) -> Miner:
    return Miner(tamper=cheats.only(kind, change))


FALSE = {
    "stale slot": (_holder(cheats.StaleSlot), Reason.FOLD),
    "stale sub": (_holder(cheats.StaleSub), Reason.SEED),
    "5% of rows skipped": (_device(cheats.skipping(0.05)), Reason.ROUND),
    "10% of rows skipped": (_device(cheats.skipping(0.10)), Reason.ROUND),
    "20% of rows skipped": (_device(cheats.skipping(0.20)), Reason.ROUND),
    "50% of rows skipped": (_device(cheats.skipping(0.50)), Reason.ROUND),
    "skipped rounds": (_device(cheats.SkippedRounds), Reason.ROUND),
    "evicted blocks": (_device(cheats.EvictedBlocks), Reason.SWEEP),
    "narrow inputs": (_device(cheats.NarrowInputs), Reason.ROUND),
    "narrow sums": (_device(cheats.NarrowSums), Reason.ROUND),
    "shortened sums": (_device(cheats.ApproximateSums), Reason.ROUND),
    "one flipped bit a row": (_device(cheats.OneFlippedBit), Reason.ROUND),
    "near history only": (_device(cheats.NearHistory), Reason.ROUND),
    "own addresses": (_holder(cheats.OwnAddresses), Reason.PATH),
    "other tree depth": (_holder(cheats.OtherDepth), Reason.PATH),
    "made-up sweep": (_holder(cheats.HastySweep), Reason.SWEEP_PATH),
    "root_A of zeros": (
        _tampering(Kind.ROOT_A, cheats.with_payload(lambda _: bytes(32))),
        Reason.PATH,
    ),
}
REFUSED = {
    "truncated root": (_tampering(Kind.ROOT_A, lambda frame: frame[:-1]), Reason.LATE),
    "short root": (
        _tampering(Kind.ROOT_A, cheats.with_payload(lambda root: root[:-1])),
        Reason.LATE,
    ),
    "oversized root": (
        _tampering(Kind.ROOT_A, cheats.with_payload(lambda root: root * 1000)),
        Reason.MALFORMED,
    ),
    "root in text": (
        _tampering(Kind.ROOT_A, cheats.with_payload(lambda root: root.hex().encode())),
        Reason.MALFORMED,
    ),
    "rows in text": (_tampering(Kind.UNITS, cheats.with_payload(cheats.as_text)), Reason.MALFORMED),
    "truncated units": (_tampering(Kind.UNITS, lambda frame: frame[:-1]), Reason.LATE),
    "oversized units": (
        _tampering(Kind.UNITS, cheats.with_payload(lambda units: units + bytes(1))),
        Reason.MALFORMED,
    ),
    "unknown kind": (_tampering(Kind.ROOT_B, lambda frame: b"\xee" + frame[1:]), Reason.MALFORMED),
    "unknown GPU": (_tampering(Kind.ROOT_A, lambda f: f[:1] + b"\x07" + f[2:]), Reason.MALFORMED),
    "other version": (_tampering(Kind.READY, lambda f: f[:2] + b"\x09" + f[3:]), Reason.MALFORMED),
    "a pickle": (_tampering(Kind.ROOT_A, lambda _: b"\x80\x04" + bytes(60)), Reason.MALFORMED),
    "silence": (_tampering(Kind.READY, lambda _: b""), Reason.LATE),
    "own n": (Miner(prover=cheats.OwnSizes), Reason.CHANNEL),
    "fewer blocks": (Miner(prover=cheats.FewerBlocks), Reason.LATE),
    "unasked root_B": (Miner(prover=cheats.Impatient), Reason.MALFORMED),
    "root_A twice": (Miner(prover=cheats.Twofold), Reason.MALFORMED),
    "stuck chain": (Miner(chain_s=1e6), Reason.LATE),
    "stuck sweep": (Miner(sweep_s=1e6), Reason.LATE),
    "late opening": (Miner(open_s=3.1), Reason.LATE),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", FALSE)
async def test_a_false_opening_zeroes_the_node(name: str, mode: Mode) -> None:
    """A cheat that opens falsely is found by the check that it fails, and the node cools down."""
    miner, reason = FALSE[name]
    result, grade = await challenge(miner, mode=mode, units=256, seed=name)
    assert (result.passed, result.reason) == (False, reason)
    assert reason in FALSE_OPENINGS
    assert (grade.credit, grade.reason) == (0.0, GradeReason.FALSE_OPENING)
    assert grade.cool_down


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", REFUSED)
async def test_a_broken_conversation_counts_nothing(name: str, mode: Mode) -> None:
    """A message that is wrong in form, or late, ends the session without credit."""
    miner, reason = REFUSED[name]
    result, grade = await challenge(miner, mode=mode, seed=name)
    assert (result.passed, result.reason) == (False, reason)
    assert (grade.credit, grade.reason) == (0.0, GradeReason.NO_RESULT)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("gpus", [1, 3])
async def test_an_honest_miner_passes(mode: Mode, gpus: int) -> None:
    """The arena's honest miner has full credit in both modes."""
    result, grade = await challenge(Miner(), mode=mode, gpus=gpus)
    assert (result.passed, result.reason) == (True, Reason.PASSED)
    assert grade.credit == pytest.approx(1.0)
    assert [gpu.opened for gpu in result.gpus] == [32] * gpus


async def test_a_replayed_session_is_refused() -> None:
    """Frames of an honest session do not pass in another one."""
    honest = Miner()
    await challenge(honest, seed="first")
    result, grade = await challenge(Miner(prover=cheats.replaying(honest.sent)), seed="second")
    assert (result.passed, result.reason) == (False, Reason.PATH)
    assert grade.credit == 0


async def test_a_replay_of_the_same_slot_is_refused() -> None:
    """Nor do they pass with the same places opened but another GPU's seed."""
    honest = Miner()
    await challenge(honest, seed="same")
    frames = list(honest.sent)
    result, _ = await challenge(
        Miner(prover=cheats.replaying(frames)), gpu_class=arena_class(name="other"), seed="same"
    )
    assert (result.passed, result.reason) == (False, Reason.SEED)


async def test_the_second_sweep_cannot_be_a_copy() -> None:
    """Each sweep has its own κ: repeating the first one's commitment, faster, is found."""
    miner = _holder(cheats.StaleSweep)

    def hurry(frame: bytes) -> bytes:
        miner.sweep_s = 0.1
        return frame

    miner.tamper = cheats.only(Kind.ROOT_B, hurry)
    result, grade = await challenge(miner)
    assert (result.reason, grade.credit) == (Reason.SWEEP, 0.0)


async def test_one_history_behind_two_claims_is_found() -> None:
    """Two GPUs of a node have different seeds: one chain cannot stand for both."""
    result, grade = await challenge(Miner(prover=cheats.SharedHistory), gpus=2)
    assert [gpu.reason for gpu in result.gpus] == [Reason.PASSED, Reason.SEED]
    assert (grade.credit, grade.reason) == (0.0, GradeReason.FALSE_OPENING)


async def test_one_device_behind_two_claims_is_too_slow() -> None:
    """Honest work for two claims on one device takes twice as long: the second is not paid."""
    result, grade = await challenge(Miner(device_of=lambda _: 0), gpus=2)
    assert result.passed
    assert [gpu.reason for gpu in grade.gpus] == [GradeReason.PASSED, GradeReason.SLOW]
    assert grade.credit == pytest.approx(0.5)


async def test_a_lesser_device_is_not_of_the_class() -> None:
    """Seven tenths of the class's speed is no credit, not seven tenths of it."""
    result, grade = await challenge(Miner(chain_s=2.0 / 0.7))
    assert result.passed
    assert (grade.credit, grade.reason) == (0.0, GradeReason.SLOW)


async def test_a_spilled_history_fails_the_sweep() -> None:
    """A history that is partly on the host sweeps late, and the memory is not credited."""
    result, grade = await challenge(Miner(sweep_s=0.6))
    assert result.passed
    assert (grade.credit, grade.reason) == (0.0, GradeReason.MEMORY)


async def test_rows_of_c_are_checked_over_the_integers() -> None:
    """A row of C that is wrong by 2^31, invisible modulo it, fails in mode F."""
    result, _ = await challenge(_holder(cheats.ForgedProduct))
    assert result.reason is Reason.PRODUCT


async def test_a_lesser_product_is_found_when_it_is_shown() -> None:
    """Opening with the same lesser product that the chain used fails the secret check."""
    result, _ = await challenge(_device(cheats.NarrowThroughout))
    assert result.reason is Reason.PRODUCT


@pytest.mark.parametrize("mode", MODES)
async def test_every_bit_of_a_reply_matters(mode: Mode) -> None:
    """One flipped bit in any field of any unit is found, by the check of that field."""
    sizes = arena_class().sizes
    record = wire.unit_dtype(sizes, mode)
    assert record.names
    found = {}
    for position, name in enumerate(record.names):
        part, offset = record.fields[name][:2]  # type: ignore[index]
        at = wire.HEADER_BYTES + record.itemsize * 3 + offset + part.itemsize // 2

        def flip(frame: bytes, at: int = at) -> bytes:
            changed = bytearray(frame)
            changed[at] ^= 1 << (at % 8)
            return bytes(changed)

        result, _ = await challenge(_tampering(Kind.UNITS, flip), mode=mode, seed=position)
        found[name] = result.reason
    expected = {
        "previous": Reason.FOLD,
        "reached": Reason.FOLD,
        "leaf_sweep": Reason.SWEEP_PATH,
        "path_sweep": Reason.SWEEP_PATH,
        "product": Reason.PRODUCT,
    }
    assert found == {name: expected.get(name, Reason.PATH) for name in record.names}


async def test_a_false_opening_of_one_gpu_zeroes_its_siblings() -> None:
    """There is no three of four: one false GPU takes the node's whole credit."""
    miner = Miner(engine=lambda gpu: cheats.skipping(0.5)() if gpu == 2 else NumpyEngine())
    result, grade = await challenge(miner, gpus=4)
    assert [gpu.reason for gpu in result.gpus].count(Reason.PASSED) == 3
    assert [gpu.credit for gpu in grade.gpus] == [0.0] * 4


async def test_detection_follows_the_theory() -> None:
    """Skipping a tenth of the rows is found as often as 1-(1-0.1)^8 says."""
    seeds = range(150)
    outcomes = [
        (await challenge(_device(cheats.skipping(0.1)), units=8, seed=seed))[0].passed
        for seed in seeds
    ]
    assert 1 - np.mean(outcomes) == pytest.approx(1 - 0.9**8, abs=0.1)
