"""A validator that is too slow for its own proofs: no miner is blamed for it."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bittensor.sp_core import Keypair

from compute.domain.evidence import EvidenceKind, Outcome, Reason
from compute.domain.measurement import SpecsContent
from compute.domain.metagraph import Metagraph
from compute.proof.classes import known_classes
from compute.proof.opening import check_opening
from compute.protocol.dendrite import Dendrite
from compute.settings.validation import BoundSettings, DeadlineSettings
from compute.storage.database import Role, open_database
from compute.storage.evidence import EvidenceLog
from compute.testing.axon import metagraph, view_of
from compute.testing.miners import SimulatedMiner, serving
from compute.validator.chainview import ChainView
from compute.validator.observing import Desk
from compute.validator.outcomes import PASSED
from compute.validator.proof_round import ProofRound, ProofTools
from compute.validator.recorder import Recorder
from compute.validator.slots import Candidate
from compute.validator.targets import Target


class Still:
    """A chain that stands still."""

    async def block(self) -> int:
        """The newest block."""
        return 10

    async def metagraph(self) -> Metagraph:
        """Nobody."""
        return metagraph([], block=10)


class Stuck(ThreadPoolExecutor):
    """A pool that is so far behind that it never comes to check an opening."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Do everything else."""
        return Future() if fn is check_opening else super().submit(fn, *args, **kwargs)


class Hasty(ProofRound):
    """A round that gives a session little time in all."""

    def _longest_s(self, _each: Candidate) -> float:
        return 4.0


@pytest.mark.parametrize(
    ("pool", "judged"),
    [
        (Stuck, (Outcome.INCONCLUSIVE, Reason.OUR_FAULT)),
        (ThreadPoolExecutor, (Outcome.PASSED, Reason.OK)),
    ],
)
async def test_unchecked_openings_are_not_the_miners_lateness(
    tmp_path: Path, pool: type[ThreadPoolExecutor], judged: tuple[Outcome, Reason]
) -> None:
    """Time that runs out while our own pool is behind leaves the proof inconclusive."""
    validator, miner = (Keypair.create_from_uri(uri) for uri in ("//Validator", "//Miner"))
    engine = open_database(f"sqlite:///{tmp_path / 'validator.sqlite'}", Role.VALIDATOR)
    view = ChainView(Still(), poll_s=1)
    await view.look()
    desk = Desk(Recorder(EvidenceLog(engine, validator, 1), 1000), view)
    async with (
        serving([SimulatedMiner(miner)], view_of(validator.ss58_address)) as axons,
        Dendrite(validator, allow_private=True) as dendrite,
    ):
        target = Target(1, miner.ss58_address, f"127.0.0.2:{axons[0].port}")
        await desk.write(desk.observe(EvidenceKind.SPECS, "s-1", target, PASSED, SpecsContent()))
        tools = ProofTools(
            caller=dendrite,
            classes=known_classes(),
            pool=pool(2),
            deadline=DeadlineSettings(setup_s=2.0),
            bound=BoundSettings(units=4),
        )
        await Hasty(desk, tools).run("p-1", [target])
    proof = desk.recorder.book.miner(target.hotkey).checks[-1]
    assert (proof.outcome, proof.reason) == judged
