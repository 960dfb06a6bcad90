"""Rounds on the chain's clock: when they start, how they resume, what they leave out."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from compute.domain.evidence import EvidenceKind, Observation, Outcome, Reason
from compute.domain.metagraph import Metagraph
from compute.errors import ChainError, Code, ComputeError, PeerError
from compute.storage.database import Role, open_database
from compute.storage.evidence_rounds import RoundStore
from compute.testing.axon import metagraph, neuron
from compute.validator.chainview import ChainView
from compute.validator.outcomes import judge
from compute.validator.rounds import BREATH_BLOCKS, Cadence, Roundabout
from compute.validator.targets import Target, targets_of
from compute.validator.witness import Witness


class Blocks:
    """A chain of blocks and one neuron, as far as a view looks at it; the test moves it."""

    def __init__(self) -> None:
        self.head = 1
        self.away = False

    async def block(self) -> int:
        """The newest block."""
        if self.away:
            raise ChainError(Code.CHAIN_AWAY)
        return self.head

    async def metagraph(self) -> Metagraph:
        """One miner."""
        return metagraph([neuron("m", uid=3, axon="10.0.0.1:80")], block=self.head)


class Counting:
    """A round that notes its ids, and breaks when told to."""

    kind = EvidenceKind.SPECS

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.breaks = 0

    async def run(self, round_id: str, targets: Sequence[Target]) -> None:
        """Note the round."""
        assert [target.uid for target in targets] == [3]
        if self.breaks:
            self.breaks -= 1
            raise ValueError("a fault of our own")
        self.ran.append(round_id)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_database(f"sqlite:///{tmp_path / 'validator.sqlite'}", Role.VALIDATOR)


class Running:
    """A roundabout on blocks that the test moves."""

    def __init__(self, engine: Engine, round_: Counting, every: int = 10) -> None:
        self.blocks = Blocks()
        self.view = ChainView(self.blocks, poll_s=1)
        self.about = Roundabout(
            round_,
            Cadence(every),
            view=self.view,
            store=RoundStore(engine),
            targets=lambda: targets_of(self.view.metagraph, "own"),
        )

    async def through(self, *heads: int) -> None:
        """Let the chain be at each of these blocks, and give the rounds time to run."""
        task = asyncio.create_task(self.about.run())
        for head in heads:
            self.blocks.head = head
            await self.view.look()
            for _ in range(20):
                await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_each_round_runs_once(engine: Engine):
    """One round per cadence, at its block, none twice, and slept-through ones are left out."""
    counting = Counting()
    await Running(engine, counting).through(10, 11, 19, 20, 25, 55, 56)
    assert counting.ran == ["specs-1", "specs-2", "specs-5"]


async def test_restart_does_not_repeat_an_ended_round(engine: Engine):
    """A round that had ended before a restart is not run again after it."""
    counting = Counting()
    await Running(engine, counting).through(12)
    await Running(engine, counting).through(13, 21)
    assert counting.ran == ["specs-1", "specs-2"]


async def test_broken_round_is_taken_up_again(engine: Engine):
    """A round that breaks through our own fault does not end the measuring, and resumes."""
    counting = Counting()
    counting.breaks = 1
    await Running(engine, counting).through(12, 13, 12 + BREATH_BLOCKS + 1)
    assert counting.ran == ["specs-1"]


@given(st.integers(1, 500), st.integers(0, 600), st.integers(0, 10_000))
def test_rounds_start_in_order_and_in_their_time(every: int, jitter: int, block: int):
    """The due round never goes back, never skips, and starts within its own span of blocks."""
    cadence = Cadence(every, jitter, b"secret")
    number = cadence.due(block)
    if number < 0:  # before the very first round
        return
    assert cadence.due(block + 1) - number in (0, 1)
    assert number * every <= cadence.start(number) < (number + 1) * every
    assert cadence.start(number) <= block


# --- Whose fault it was --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason", "outcome"),
    [
        (PeerError(Code.PEER_AWAY), Reason.UNREACHABLE, Outcome.FAILED),
        (PeerError(Code.PEER_INVALID), Reason.MALFORMED, Outcome.FAILED),
        (PeerError(Code.RECEIPT), Reason.BAD_RECEIPT, Outcome.FAILED),
        (TimeoutError(), Reason.LATE, Outcome.FAILED),
        (ComputeError(Code.NO_CAPACITY, data={"peer": "m"}), Reason.BUSY, Outcome.INCONCLUSIVE),
        (ComputeError(Code.STORAGE_FAILED), Reason.OUR_FAULT, Outcome.INCONCLUSIVE),
        (ComputeError(Code.STORAGE_FAILED, data={"peer": "m"}), Reason.REFUSED, Outcome.FAILED),
        (ComputeError(Code.CHAIN_AWAY, data={"peer": "m"}), Reason.REFUSED, Outcome.FAILED),
        (ValueError(), Reason.OUR_FAULT, Outcome.INCONCLUSIVE),
    ],
)
def test_fault_is_whose_it_is(error: BaseException, reason: Reason, outcome: Outcome):
    """A miner cannot make its own failure ours by naming an error that would be."""
    judgement = judge(error)
    assert (judgement.reason, judgement.outcome) == (reason, outcome)


def silent(miner: str) -> Observation:
    return Observation(
        kind=EvidenceKind.SPECS,
        round="specs-1",
        miner=miner,
        block=1,
        at_ms=0,
        outcome=Outcome.FAILED,
        reason=Reason.UNREACHABLE,
    )


async def verdicts(
    gone: int, there: int, *, away: bool = False, before: bool = True
) -> set[Reason]:
    blocks = Blocks()
    view = ChainView(blocks, poll_s=1)
    witness = Witness(view)
    for index in range(gone):
        assert witness.hold(silent(f"gone{index}"), answered_before=before)
    for index in range(there):
        fine = silent(f"there{index}").model_copy(update={"outcome": Outcome.PASSED})
        assert not witness.hold(fine, answered_before=True)
    blocks.away = away
    return {observation.reason for observation in await witness.verdicts()}


async def test_silence_is_ours_when_the_network_is():
    """Unreachable miners are failed; with the chain away, or most gone at once, nobody is."""
    assert await verdicts(1, 9) == {Reason.UNREACHABLE}
    assert await verdicts(1, 0) == {Reason.UNREACHABLE}
    assert await verdicts(1, 9, away=True) == {Reason.CHAIN_AWAY}
    assert await verdicts(6, 4) == {Reason.MASS_OUTAGE}
    assert await verdicts(6, 4, before=False) == {Reason.UNREACHABLE}


def test_miner_that_stops_announcing_is_still_measured():
    """Known miners without an address are targets, unknown ones and ourselves are not."""
    graph = metagraph(
        [
            neuron("a", uid=0, axon="1.1.1.1:1"),
            neuron("b", uid=1),
            neuron("c", uid=2),
            neuron("own", uid=3, axon="1.1.1.2:1"),
        ]
    )
    assert [target.hotkey for target in targets_of(graph, "own", {"c"})] == ["a", "c"]
    with pytest.raises(PeerError):
        targets_of(graph, "own", {"c"})[1].peer()
