"""The validator: looks at the chain, measures, writes evidence, pays."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from compute.domain.evidence import Record
from compute.domain.policy import Policy
from compute.domain.score import Board
from compute.ports.chain import Chain
from compute.proof.classes import ClassTable
from compute.settings.validation import ValidationSettings
from compute.storage.evidence import EvidenceLog, SigningKey
from compute.storage.evidence_rounds import RoundStore
from compute.storage.evidence_weights import WeightsStore
from compute.telemetry import logs
from compute.validator.chainview import ChainView
from compute.validator.challenges import ScoreSource, ScoresRound, sources_of
from compute.validator.crowd import Exclusion
from compute.validator.observing import Desk
from compute.validator.pool import CheckPool
from compute.validator.probing import ProbeRound, RentalProbe
from compute.validator.proof_round import ProofRound, ProofTools
from compute.validator.recorder import Recorder
from compute.validator.renting.office import RentalOffice
from compute.validator.rounds import Cadence, Round, Roundabout
from compute.validator.sending import Sender
from compute.validator.shelf import WeightsShelf
from compute.validator.specs_round import SpecsRound
from compute.validator.targets import Target, targets_of
from compute.validator.transport import Caller
from compute.validator.weights import Paymaster, WeightsTools

RETAIN_EVERY = 100  # blocks between removals of old evidence
STOP_S = 7.0  # sessions on miners are ended within this time when the validator stops
log = logs.get("validator")


@dataclass(frozen=True, slots=True)
class ValidatorParts:
    """What a validator is made of.

    Attributes:
        chain: the subnet's chain.
        caller: signs and sends synapses.
        engine: the validator's migrated database.
        key: the validator's hotkey.
        policy: how evidence becomes weights.
        classes: what each GPU has to prove.
        probe: rents from miners as a renter would; None leaves rental probes out.
        pool: checks proofs; None makes one of processes.
        renting: whether tenants rent through this validator.
        challenges: others of the subnet beside those that the settings name.
    """

    chain: Chain
    caller: Caller
    engine: Engine
    key: SigningKey
    netuid: int
    settings: ValidationSettings
    policy: Policy
    classes: ClassTable
    probe: RentalProbe | None = None
    pool: Executor | None = None
    renting: bool = False
    challenges: tuple[ScoreSource, ...] = ()


class ValidatorService:
    """Runs a validator until it is told to stop.

    Attributes:
        view: the chain's clock and newest metagraph.
        recorder: evidence.
        weights: vectors and submissions.
        shelf: published vectors, for the API.
        office: renting out to tenants; None where the parts leave it out.
        on_scored: called with each epoch's board and the record of its vector; must not block.
    """

    def __init__(self, parts: ValidatorParts) -> None:
        self._parts = parts
        settings = parts.settings
        self.view = ChainView(
            parts.chain, poll_s=settings.poll_s, metagraph_every=settings.metagraph_every
        )
        evidence = EvidenceLog(parts.engine, parts.key, parts.netuid)
        self.recorder = Recorder(evidence, parts.policy.window.blocks)
        self.weights = WeightsStore(parts.engine)
        self.shelf = WeightsShelf(self.weights)
        self.on_scored: Callable[[Board, Record], None] = lambda _board, _record: None
        self.office = self._open_office() if parts.renting else None
        self._rounds = RoundStore(parts.engine)
        self._own_pool = parts.pool is None
        self._pool = parts.pool or CheckPool(settings.bound.processes)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; then end all sessions and processes within ten seconds.

        Raises:
            ComputeError: the database cannot be used.
        """
        stopping = asyncio.create_task(stop.wait(), name="stop")
        working = asyncio.create_task(self._work(), name="work")
        try:
            await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if self.office is not None:
                await self.office.desk.close()
            working.cancel()
            await asyncio.wait({working}, timeout=STOP_S)
            if self._own_pool:
                await asyncio.to_thread(self._pool.shutdown, wait=False, cancel_futures=True)
        if working.done() and not working.cancelled() and (error := working.exception()):
            raise _only(error)

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.view.run(), name="view")
            block = await self.view.wait_beyond(0)
            count = await self.recorder.load(block)
            log.info(
                "validator_starts", block=block, evidence=count, policy=self._parts.policy.name
            )
            for name, work in self._jobs():
                group.create_task(work, name=name)

    def _jobs(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        parts, settings = self._parts, self._parts.settings
        desk, alone = Desk(self.recorder, self.view), Exclusion()
        specs = self._about(
            SpecsRound(
                desk,
                parts.caller,
                deadline_s=settings.deadline.specs_s,
                at_once=settings.bound.calls,
            ),
            settings.cadence.specs,
        )
        tools = ProofTools(
            caller=parts.caller,
            classes=parts.classes,
            pool=self._pool,
            deadline=settings.deadline,
            bound=settings.bound,
            alone=alone,
        )
        proofs = self._about(ProofRound(desk, tools), settings.cadence.proofs, specs.first)
        jobs = [("specs", specs.run()), ("proofs", proofs.run())]
        if parts.probe is not None:
            probes = ProbeRound(
                desk,
                parts.probe,
                deadline_s=settings.deadline.probe_s,
                at_once=settings.bound.probes,
                spread_blocks=max(1, settings.cadence.probes * 3 // 4),
                alone=alone,
            )
            about = self._about(probes, settings.cadence.probes, specs.first)
            jobs.append(("probes", about.run()))
        paying = Paymaster(
            self._paying_tools(),
            measured=proofs.first,
            published=self.shelf.put,
            scored=self.on_scored,
        )
        challenges = (*parts.challenges, *sources_of(settings.challenges))
        if challenges:
            others = self._about(ScoresRound(desk, challenges), settings.cadence.scores)
            jobs.append(("scores", others.run()))
        jobs += self._renting_jobs(desk)
        return [*jobs, ("weights", paying.run()), ("retention", self._retain())]

    def _open_office(self) -> RentalOffice:
        parts = self._parts
        return RentalOffice(
            parts.engine,
            parts.key.ss58_address,
            parts.caller,
            book=lambda: self.recorder.book,
            view=self.view,
            targets=self._targets,
            settings=parts.settings,
        )

    def _renting_jobs(self, desk: Desk) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        if self.office is None:
            return []
        pings = self._about(self.office.pings(desk), self._parts.settings.cadence.pings)
        return [*self.office.jobs(), ("pings", pings.run())]

    def _paying_tools(self) -> WeightsTools:
        parts, settings = self._parts, self._parts.settings
        sender = Sender(
            parts.chain, self.view, self.weights, parts.key.ss58_address, settings.version_key
        )
        return WeightsTools(
            view=self.view,
            recorder=self.recorder,
            sender=sender,
            policy=parts.policy,
            key=parts.key,
            weights_at=settings.weights_at,
        )

    def _about(self, round_: Round, every: int, *after: asyncio.Event) -> Roundabout:
        return Roundabout(
            round_,
            Cadence(every, self._parts.settings.cadence.jitter),
            view=self.view,
            store=self._rounds,
            targets=self._targets,
            after=after,
        )

    def _targets(self) -> tuple[Target, ...]:
        known = self.recorder.book.miners
        return targets_of(self.view.metagraph, self._parts.key.ss58_address, known)

    async def _retain(self) -> None:
        """Remove evidence that no score reads any more, now and then."""
        kept = max(self._parts.settings.cadence.retain, self._parts.policy.window.blocks * 3 // 2)
        block = await self.view.wait_beyond(0)
        while True:
            removed = await asyncio.to_thread(self.recorder.log.retain, block - kept)
            if removed:
                log.info("old_evidence_removed", records=removed)
            block = await self.view.wait_beyond(block + RETAIN_EVERY)


def _only(error: BaseException) -> BaseException:
    """The one error inside nested groups of one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
