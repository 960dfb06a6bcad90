"""Pays: one vector an epoch, computed from evidence, published, and handed over to be set.

The vector is written as evidence under the epoch's name before anything is sent, so that an epoch
never has two, however often the validator is killed in between.
"""

import asyncio
import time
from collections.abc import Callable, Container
from dataclasses import dataclass

from compute.domain import publication, score
from compute.domain.evidence import EvidenceKind, Observation, Record
from compute.domain.measurement import U16, Snapshot, SnapshotNeuron, WeightsContent
from compute.domain.metagraph import Metagraph
from compute.domain.policy import Policy
from compute.domain.publication import Publication
from compute.domain.score import Board
from compute.storage.evidence import SigningKey
from compute.storage.evidence_weights import Submission
from compute.telemetry import logs
from compute.validator.chainview import ChainView
from compute.validator.penalties import PenaltyDesk
from compute.validator.recorder import Recorder
from compute.validator.sending import OVER, Sender

LATEST = 0.9  # share of the epoch after which a burn does not wait for the first proofs
SHOWN = 64  # miners that the log names one by one
log = logs.get("weights")


@dataclass(frozen=True, slots=True)
class WeightsTools:
    """What paying works with.

    Attributes:
        key: the validator's hotkey.
        weights_at: share of the epoch after which the vector is computed.
        wall: Unix seconds, for people only.
    """

    view: ChainView
    recorder: Recorder
    sender: Sender
    policy: Policy
    key: SigningKey
    weights_at: float
    wall: Callable[[], float] = time.time


class Paymaster:
    """Sets weights once an epoch.

    Args:
        measured: set once there is something to pay for.
        published: called with each new publication.
        scored: called with each new board and the record of its vector; it must not block.
    """

    def __init__(
        self,
        tools: WeightsTools,
        measured: asyncio.Event,
        published: Callable[[Publication], None] = lambda _: None,
        scored: Callable[[Board, Record], None] = lambda _board, _record: None,
    ) -> None:
        self._tools = tools
        self._measured = measured
        self._published = published
        self._scored = scored
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
        entry = await tools.sender.submission(epoch_block)
        if entry is None:
            free = await tools.sender.free(metagraph, epoch_block)
            if not free or not self._due(metagraph):
                return
            entry = await self._plan(metagraph, epoch_block)
        entry = await tools.sender.advance(entry, metagraph)
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
        entry = await tools.sender.plan(epoch_block, issued)
        self._published(issued)
        return entry

    async def _compute(self, metagraph: Metagraph, epoch_block: int, round_id: str) -> Record:
        tools = self._tools
        await self._renew_penalties(metagraph.block)
        await tools.recorder.sync()
        book = tools.recorder.book
        taken = snapshot_of(metagraph, tools.key.ss58_address, epoch_block, book.hotkeys)
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
        self._scored(board, record)
        tools.recorder.prune(metagraph.block)
        return record

    async def _renew_penalties(self, block: int) -> None:
        recorder, window = self._tools.recorder, self._tools.policy.window.blocks
        await asyncio.to_thread(PenaltyDesk(recorder.log).renew, recorder.book, block, window)

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


def snapshot_of(
    metagraph: Metagraph, own_hotkey: str, epoch_block: int, known: Container[str]
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
