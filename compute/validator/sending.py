"""Brings one epoch's vector onto the chain: sent, seen there, or sent again.

A sending is noted before it happens, so that a validator that was killed looks on chain for what it
may have sent before it sends again: an epoch never gets two.
"""

import asyncio
import random

from compute.domain.metagraph import Metagraph
from compute.domain.publication import Publication
from compute.errors import Code, ComputeError
from compute.ports.chain import Chain
from compute.storage.evidence_weights import Submission, SubmissionState, WeightsStore
from compute.telemetry import logs
from compute.validator.chainview import ChainView

SETTLE_BLOCKS = 8  # a transaction that was not included by then is taken to be lost
MOST_WAIT_BLOCKS = 25
SEND_TIMEOUT_S = 200.0  # beyond the chain's own time limit for a transaction
OVER = (SubmissionState.CONFIRMED, SubmissionState.MISSED)
log = logs.get("weights")


class Sender:
    """Sends vectors, one an epoch.

    Args:
        chain: takes the weights.
        view: sees whether it did.
        store: submissions and vectors.
        hotkey: ours (ss58).
        version_key: sent with the weights.
    """

    def __init__(
        self, chain: Chain, view: ChainView, store: WeightsStore, hotkey: str, version_key: int = 0
    ) -> None:
        self._chain = chain
        self._view = view
        self._store = store
        self._hotkey = hotkey
        self._version_key = version_key
        self._chance = random.Random()  # noqa: S311 - only spreads retries
        self._not_before = 0
        self._told_permit = False

    async def submission(self, epoch_block: int) -> Submission | None:
        """What became of one epoch's weights; None when nothing was planned."""
        return await asyncio.to_thread(self._store.submission, epoch_block)

    async def plan(self, epoch_block: int, publication: Publication) -> Submission:
        """Plan to send a vector in an epoch, unless one is planned already."""
        self._not_before = 0
        document = publication.model_dump_json()
        return await asyncio.to_thread(self._store.plan, epoch_block, publication.sha256, document)

    async def free(self, metagraph: Metagraph, epoch_block: int) -> bool:
        """Settle the epoch before; False while that one may still use up this one's inclusion."""
        former = await asyncio.to_thread(self._store.latest_submission)
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

    async def advance(self, entry: Submission, metagraph: Metagraph) -> Submission:
        """Do what an epoch's submission needs now; returns its new state."""
        if entry.state in OVER:
            return entry
        if (included := self._included(entry, metagraph)) is not None:
            return await self._confirm(entry, included)
        if entry.state is SubmissionState.SENT:
            if not _settled(entry, metagraph):
                return entry
            log.warning("weights_lost", epoch=entry.epoch_block, attempt=entry.attempts)
            return await self._save(entry, state=SubmissionState.PLANNED)
        if self._permitted(metagraph) and metagraph.block >= max(
            self._not_before, self._allowed(metagraph)
        ):
            return await self._send(entry, metagraph)
        return entry

    def _permitted(self, metagraph: Metagraph) -> bool:
        """Whether the chain would take weights from us; refused ones cost a fee all the same."""
        own = metagraph.neuron(self._hotkey)
        permitted = own is not None and own.validator_permit
        if not permitted and not self._told_permit:
            reason = "not registered" if own is None else "no validator permit yet"
            log.warning("weights_wait", reason=reason)
        self._told_permit = not permitted
        return permitted

    def _allowed(self, metagraph: Metagraph) -> int:
        """First block at which the chain's rate limit lets weights through."""
        own = metagraph.neuron(self._hotkey)
        limit = metagraph.extra.get("weights_rate_limit", 0)
        return own.last_update + limit if own is not None else 0

    def _earliest(self, metagraph: Metagraph) -> int:
        """First block whose weights can only be those that are about to be sent."""
        own = metagraph.neuron(self._hotkey)
        return max(metagraph.block, own.last_update + 1 if own is not None else 0)

    def _included(self, entry: Submission, metagraph: Metagraph) -> int | None:
        """Block at which the chain took what was sent, or None."""
        own = metagraph.neuron(self._hotkey)
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
            sent_block=self._earliest(metagraph),
        )
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                receipt = await self._chain.set_weights(weights, self._version_key)
        except (ComputeError, TimeoutError) as error:
            return await self._not_taken(entry, error)
        entry = await self._save(entry, message=receipt.message)
        log.info("weights_sent", epoch=entry.epoch_block, vector=entry.vector, uids=len(weights))
        if await self._view.look(fresh=True):
            return await self.advance(entry, self._view.metagraph)
        return entry

    async def _weights(self, entry: Submission) -> dict[int, float]:
        document = await asyncio.to_thread(self._store.document, entry.vector)
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
        self._not_before = self._view.block + wait
        unknown = code is None or code is Code.CHAIN_AWAY
        state = SubmissionState.SENT if unknown else SubmissionState.PLANNED
        return await self._save(entry, state=state, message=str(error) or "timeout")

    async def _confirm(self, entry: Submission, block: int) -> Submission:
        log.info("weights_confirmed", epoch=entry.epoch_block, vector=entry.vector, block=block)
        return await self._save(entry, state=SubmissionState.CONFIRMED, included_block=block)

    async def _save(self, entry: Submission, **changes: object) -> Submission:
        return await asyncio.to_thread(self._store.save, entry.model_copy(update=changes))


def _settled(entry: Submission, metagraph: Metagraph) -> bool:
    """Whether a transaction that was not seen by now is taken to be lost."""
    return metagraph.block > entry.sent_block + SETTLE_BLOCKS
