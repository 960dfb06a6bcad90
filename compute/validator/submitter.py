"""The submit-only role: fetches another validator's vector, checks it, and sets it on chain.

It measures nothing, scores nothing and holds no evidence: a small machine with the hotkey on it,
while the measuring is done elsewhere without one.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

import aiohttp
from sqlalchemy import Engine

from compute.domain.metagraph import Metagraph
from compute.domain.publication import Publication, read
from compute.errors import Code, ComputeError, PeerError
from compute.ports.chain import Chain
from compute.settings.validation import ValidationSettings
from compute.storage.evidence_weights import WeightsStore
from compute.telemetry import logs
from compute.validator.chainview import ChainView
from compute.validator.replay import holds
from compute.validator.sending import OVER, Sender

FETCH_TIMEOUT_S = 10.0
LARGEST_BYTES = 4 * 1024 * 1024  # 65536 UIDs take 1.2 MB
MOST_EPOCHS_OLD = 2  # a vector of the epoch before the last is not set any more
PATIENCE = 0.75  # share of the epoch until which this epoch's own vector is waited for
OK, NOT_MODIFIED = 200, 304
log = logs.get("submitter")


class VectorSource(Protocol):
    """Where published vectors come from."""

    async def latest(self) -> bytes:
        """The newest published vector's document.

        Raises:
            PeerError: the source is away, or answers nothing of use.
        """
        ...


class HttpSource:
    """A validator's weights API.

    Args:
        url: its address, without the path.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/v1/weights/latest"
        self._tag = ""
        self._body = b""

    async def latest(self) -> bytes:
        """The newest document; one that is unchanged is not sent again.

        Raises:
            PeerError: `PEER_AWAY`, `PEER_LATE` or `PEER_INVALID`.
        """
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
        headers = {"If-None-Match": self._tag} if self._tag else {}
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
                session.get(self._url, headers=headers, allow_redirects=False) as answer,
            ):
                if answer.status == NOT_MODIFIED:
                    return self._body
                body = await answer.content.read(LARGEST_BYTES + 1)
                while len(body) <= LARGEST_BYTES and (more := await answer.content.read(65_536)):
                    body += more
                status, tag = answer.status, answer.headers.get("ETag", "")
        except TimeoutError:
            raise PeerError(Code.PEER_LATE, "the master did not answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise PeerError(Code.PEER_AWAY, f"the master: {type(error).__name__}") from error
        if status != OK or len(body) > LARGEST_BYTES:
            raise PeerError(Code.PEER_INVALID, f"the master answered {status}")
        self._tag, self._body = tag, body
        return body


@dataclass(frozen=True, slots=True)
class SubmitterParts:
    """What a submitter is made of.

    Attributes:
        hotkey: ours (ss58).
        master: hotkey whose vectors are set; empty accepts any validator of the subnet with a
            permit.
    """

    chain: Chain
    source: VectorSource
    engine: Engine
    hotkey: str
    settings: ValidationSettings
    master: str = ""


class SubmitterService:
    """Sets another validator's vectors until it is told to stop."""

    def __init__(self, parts: SubmitterParts) -> None:
        self._parts = parts
        settings = parts.settings
        self.view = ChainView(
            parts.chain, poll_s=settings.poll_s, metagraph_every=settings.metagraph_every
        )
        self.weights = WeightsStore(parts.engine)
        self._sender = Sender(
            parts.chain, self.view, self.weights, parts.hotkey, settings.version_key
        )
        self._quiet_until = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set."""
        looking = asyncio.create_task(self.view.run(), name="view")
        working = asyncio.create_task(self._work(), name="submitter")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        tasks = {looking, working, stopping}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        block = await self.view.wait_beyond(-1)
        while True:
            try:
                await self.step()
            except Exception:  # a task's root: one bad step must not end the role
                log.exception("submitter_step_failed")
            block = await self.view.wait_beyond(block)

    async def step(self) -> None:
        """Do what is due now; called for each new block."""
        if self.view.block < self._quiet_until or not await self.view.look(fresh=True):
            return
        metagraph = self.view.metagraph
        epoch_block = metagraph.block - metagraph.blocks_since_epoch
        entry = await self._sender.submission(epoch_block)
        if entry is None:
            if not await self._sender.free(metagraph, epoch_block):
                return
            vector = await self._fetch(metagraph, epoch_block)
            if vector is None:
                return
            entry = await self._sender.plan(epoch_block, vector)
        entry = await self._sender.advance(entry, metagraph)
        if entry.state in OVER:
            self._quiet_until = epoch_block + metagraph.tempo

    async def _fetch(self, metagraph: Metagraph, epoch_block: int) -> Publication | None:
        try:
            vector = read(await self._parts.source.latest(), holds)
            check(vector, metagraph, self._parts.master)
        except ComputeError as error:
            log.warning("no_vector", reason=str(error))
            return None
        waited = metagraph.blocks_since_epoch >= PATIENCE * metagraph.tempo
        return vector if waited or vector.epoch_block >= epoch_block else None


def check(vector: Publication, metagraph: Metagraph, master: str = "") -> None:
    """Refuse a vector that is not for us: another subnet's, a stranger's, an old or a long one.

    Raises:
        PeerError: `PEER_INVALID` with the reason.
    """
    signer = metagraph.neuron(vector.validator)
    oldest = metagraph.block - MOST_EPOCHS_OLD * max(1, metagraph.tempo)
    known = {neuron.uid for neuron in metagraph.neurons}
    refusals = (
        (vector.netuid != metagraph.netuid, f"it is for subnet {vector.netuid}"),
        (bool(master) and vector.validator != master, "another hotkey signed it"),
        (not master and (signer is None or not signer.validator_permit), "no validator signed it"),
        (vector.block < oldest, f"it is old: of block {vector.block}"),
        (vector.block > metagraph.block + metagraph.tempo, "it is from the future"),
        (not vector.vector, "it pays nobody"),
        (not vector.weights.keys() <= known, "it pays a UID that does not exist"),
    )
    for refused, why in refusals:
        if refused:
            raise PeerError(Code.PEER_INVALID, f"the vector is not set: {why}")
