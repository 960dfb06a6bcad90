"""Pays: one vector an epoch, computed from evidence, published, set on chain and seen there.

The order of writes makes a crash harmless. The vector is written as evidence under the epoch's
name before anything is sent, so that an epoch never has two; a sending is noted before it happens,
so that a validator that comes back looks on chain for what it may have sent before it sends again.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from compute.domain import publication, score
from compute.domain.evidence import EvidenceKind, Observation, Record
from compute.domain.measurement import U16, Snapshot, SnapshotNeuron, WeightsContent
from compute.domain.metagraph import Metagraph
from compute.domain.policy import Policy
from compute.domain.publication import Publication
from compute.domain.score import Board
from compute.errors import Code, ComputeError
from compute.ports.chain import Chain
from compute.storage.evidence import SigningKey
from compute.storage.evidence_weights import Submission, SubmissionState, WeightsStore
from compute.telemetry import logs
from compute.validator.chainview import ChainView
from compute.validator.recorder import Recorder

SETTLE_BLOCKS = 8  # a transaction that was not included by then is taken to be lost
MOST_WAIT_BLOCKS = 25
SEND_TIMEOUT_S = 200.0  # beyond the chain's own time limit for a transaction
LATEST = 0.9  # share of the epoch after which a burn does not wait for the first proofs
SHOWN = 64  # miners that the log names one by one
OVER = (SubmissionState.CONFIRMED, SubmissionState.MISSED)
log = logs.get("weights")


@dataclass(frozen=True, slots=True)
class WeightsTools:
    """What paying works with.

    Attributes:
        key: the validator's hotkey.
        weights_at: share of the epoch after which the vector is computed.
        wall: Unix seconds, for people only.
    """

    chain: Chain
    view: ChainView
    recorder: Recorder
    store: WeightsStore
    policy: Policy
    key: SigningKey
    netuid: int
    weights_at: float
    version_key: int = 0
    wall: Callable[[], float] = time.time


class Paymaster:
    """Sets weights once an epoch.

    Args:
        measured: set once there is something to pay for.
        published: called with each new publication.
    """

    def __init__(
        self,
        tools: WeightsTools,
        measured: asyncio.Event,
        published: Callable[[Publication], None] = lambda _: None,
    ) -> None:
        self._tools = tools
        self._measured = measured
        self._published = published
        self._chance = random.Random()  # noqa: S311 - only spreads retries
        self._not_before = 0
        self._quiet_until = 0

    async def run(self) -> None:
        """Run until cancelled."""
        view, block = self._tools.view, await self._tools.view.wait_beyond(-1)
        while True:
            try:
                await self.step()
            except Exception:  # a task's root: one bad step must not end the paying
                log.exception("weights_step_failed")
            block = await view.wait_beyond(block)

    async def step(self) -> None:
        """Do what is due now; called for each new block."""
        tools = self._tools
        if tools.view.block < self._quiet_until or not await tools.view.look(fresh=True):
            return
        metagraph = tools.view.metagraph
        epoch_block = metagraph.block - metagraph.blocks_since_epoch
        self._quiet_until = self._quiet(metagraph, epoch_block)
        entry = await asyncio.to_thread(tools.store.submission, epoch_block)
        if entry is None:
            if not await self._free(metagraph, epoch_block) or not self._due(metagraph):
                return
            entry = await self._plan(metagraph, epoch_block)
        entry = await self._advance(entry, metagraph)
        if entry.state in OVER:
            self._quiet_until = epoch_block + metagraph.tempo

    def _quiet(self, metagraph: Metagraph, epoch_block: int) -> int:
        """First block at which the metagraph, costly to read, has to be looked at again."""
        due = epoch_block + int(self._tools.weights_at * metagraph.tempo)
        return due if metagraph.block < due else 0

    # --- Computing ---------------------------------------------------------------------------

    def _due(self, metagraph: Metagraph) -> bool:
        position = metagraph.blocks_since_epoch / max(1, metagraph.tempo)
        burns = self._tools.policy.burn.uid is not None
        ready = self._measured.is_set() or (burns and position >= LATEST)
        return ready and position >= self._tools.weights_at

    async def _plan(self, metagraph: Metagraph, epoch_block: int) -> Submission:
        tools = self._tools
        round_id = f"weights-{epoch_block}"
        record = await asyncio.to_thread(
            tools.recorder.log.find, round_id, "", EvidenceKind.WEIGHTS
        )
        if record is None:
            record = await self._compute(metagraph, epoch_block, round_id)
        issued = self._publish(record)
        document = issued.model_dump_json()
        entry = await asyncio.to_thread(tools.store.plan, epoch_block, issued.sha256, document)
        self._published(issued)
        self._not_before = 0
        return entry

    async def _compute(self, metagraph: Metagraph, epoch_block: int, round_id: str) -> Record:
        tools = self._tools
        book = tools.recorder.book
        taken = snapshot_of(metagraph, tools.key.ss58_address, epoch_block, set(book.miners))
        board, upto = score.score(book, taken, tools.policy), book.head
        content = WeightsContent(
            snapshot=taken,
            upto=upto,
            policy=tools.policy.name,
            policy_sha256=tools.policy.sha256,
            vector={str(uid): weight for uid, weight in board.vector.items()},
            vector_sha256=board.sha256,
            rulings=dict(board.rulings),
        )
        observation = Observation(
            kind=EvidenceKind.WEIGHTS,
            round=round_id,
            block=metagraph.block,
            at_ms=int(tools.wall() * 1000),
            content=content.model_dump(mode="json"),
        )
        record = await tools.recorder.record(observation)
        _tell(board, epoch_block)
        if record is None:
            raise RuntimeError("an epoch's vector was written twice")
        tools.recorder.prune(metagraph.block)
        return record

    def _publish(self, record: Record) -> Publication:
        content = WeightsContent.model_validate(record.content)
        unsigned = Publication(
            netuid=content.snapshot.netuid,
            sha256=content.vector_sha256,
            vector=content.vector,
            epoch_block=content.snapshot.epoch_block,
            block=record.block,
            policy=content.policy,
            policy_sha256=content.policy_sha256,
            evidence_seq=record.seq,
            evidence_hash=record.hash,
            validator=record.validator,
            created_ms=record.at_ms,
        )
        return publication.sign(unsigned, self._tools.key.sign)

    # --- Submitting --------------------------------------------------------------------------

    async def _free(self, metagraph: Metagraph, epoch_block: int) -> bool:
        """Settle the epoch before; False while it may still take this epoch's one inclusion."""
        former = await asyncio.to_thread(self._tools.store.latest_submission)
        if former is None or former.state is SubmissionState.MISSED:
            return True
        if former.state is SubmissionState.CONFIRMED:
            return (former.included_block or 0) < epoch_block
        if (included := self._included(former, metagraph)) is not None:
            await self._confirm(former, included)
            return included < epoch_block
        if former.state is SubmissionState.SENT and not _settled(former, metagraph):
            return False
        log.warning("weights_missed", epoch=former.epoch_block, reason=former.message)
        await self._save(former, state=SubmissionState.MISSED)
        return True

    async def _advance(self, entry: Submission, metagraph: Metagraph) -> Submission:
        if entry.state in OVER:
            return entry
        if (included := self._included(entry, metagraph)) is not None:
            return await self._confirm(entry, included)
        if entry.state is SubmissionState.SENT:
            if not _settled(entry, metagraph):
                return entry
            log.warning("weights_lost", epoch=entry.epoch_block, attempt=entry.attempts)
            return await self._save(entry, state=SubmissionState.PLANNED)
        if metagraph.block >= max(self._not_before, self._allowed(metagraph)):
            return await self._send(entry, metagraph)
        return entry

    def _allowed(self, metagraph: Metagraph) -> int:
        """First block at which the chain's rate limit lets weights through."""
        own = metagraph.neuron(self._tools.key.ss58_address)
        limit = metagraph.extra.get("weights_rate_limit", 0)
        return own.last_update + limit if own is not None else 0

    def _included(self, entry: Submission, metagraph: Metagraph) -> int | None:
        """Block at which the chain took what was sent, or None."""
        own = metagraph.neuron(self._tools.key.ss58_address)
        if own is None or not entry.attempts or own.last_update < entry.sent_block:
            return None
        return own.last_update

    async def _send(self, entry: Submission, metagraph: Metagraph) -> Submission:
        weights = await self._weights(entry)
        if not weights:
            log.info("nobody_paid", epoch=entry.epoch_block, reason="nobody earned anything")
            nothing = "nothing to pay"
            return await self._save(entry, state=SubmissionState.CONFIRMED, message=nothing)
        entry = await self._save(
            entry,
            state=SubmissionState.SENT,
            attempts=entry.attempts + 1,
            sent_block=metagraph.block,
        )
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                receipt = await self._tools.chain.set_weights(weights, self._tools.version_key)
        except (ComputeError, TimeoutError) as error:
            return await self._not_taken(entry, error)
        entry = await self._save(entry, message=receipt.message)
        log.info("weights_sent", epoch=entry.epoch_block, vector=entry.vector, uids=len(weights))
        if await self._tools.view.look(fresh=True):
            return await self._advance(entry, self._tools.view.metagraph)
        return entry

    async def _weights(self, entry: Submission) -> dict[int, float]:
        document = await asyncio.to_thread(self._tools.store.document, entry.vector)
        if document is None:
            raise RuntimeError("a planned vector is missing")
        vector = Publication.model_validate_json(document).weights
        return {uid: float(weight) for uid, weight in vector.items()}

    async def _not_taken(self, entry: Submission, error: BaseException) -> Submission:
        """Plan another attempt; where it is unknown what happened, look on chain first."""
        wait = min(MOST_WAIT_BLOCKS, 2 ** min(entry.attempts, 10))
        wait += self._chance.randrange(wait)
        code = error.code if isinstance(error, ComputeError) else None
        log.warning(
            "weights_not_taken",
            epoch=entry.epoch_block,
            attempt=entry.attempts,
            reason=str(error) or "timeout",
            retry_in_blocks=wait,
        )
        self._not_before = self._tools.view.block + wait
        unknown = code is None or code is Code.CHAIN_AWAY
        state = SubmissionState.SENT if unknown else SubmissionState.PLANNED
        return await self._save(entry, state=state, message=str(error) or "timeout")

    async def _confirm(self, entry: Submission, block: int) -> Submission:
        log.info("weights_confirmed", epoch=entry.epoch_block, vector=entry.vector, block=block)
        return await self._save(entry, state=SubmissionState.CONFIRMED, included_block=block)

    async def _save(self, entry: Submission, **changes: object) -> Submission:
        return await asyncio.to_thread(self._tools.store.save, entry.model_copy(update=changes))


def _settled(entry: Submission, metagraph: Metagraph) -> bool:
    """Whether a transaction that was not seen by now is taken to be lost."""
    return metagraph.block > entry.sent_block + SETTLE_BLOCKS


def snapshot_of(
    metagraph: Metagraph, own_hotkey: str, epoch_block: int, known: set[str]
) -> Snapshot:
    """What scoring needs of the chain: neurons that serve or have evidence, but ourselves."""
    return Snapshot(
        netuid=metagraph.netuid,
        block=metagraph.block,
        epoch_block=epoch_block,
        max_weight=metagraph.extra.get("max_weights_limit", U16) or U16,
        neurons=tuple(
            SnapshotNeuron(uid=n.uid, hotkey=n.hotkey, address=n.axon or "")
            for n in metagraph.neurons
            if n.hotkey != own_hotkey and (n.axon or n.hotkey in known)
        ),
    )


def _tell(board: Board, epoch_block: int) -> None:
    """Say who is paid what, and why; and who is not."""
    whole = sum(board.vector.values())
    earners = [miner for miner in board.miners if miner.score]
    log.info(
        "weights_computed",
        epoch=epoch_block,
        vector=board.sha256,
        paid=len(earners),
        unpaid=len(board.miners) - len(earners),
    )
    ranked = sorted(board.miners, key=lambda miner: (-board.vector.get(miner.uid, 0), miner.uid))
    for miner in ranked[:SHOWN]:
        share = board.vector.get(miner.uid, 0) / whole if whole else 0.0
        why = miner.zero or "; ".join(f"{t.name} {t.ppm / 1e6:.3f} ({t.why})" for t in miner.terms)
        event = "pays" if miner.score else "pays_nothing"
        log.info(event, uid=miner.uid, hotkey=miner.hotkey, share=f"{share:.4f}", why=why)
