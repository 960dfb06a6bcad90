"""Carries a proof session over the `Challenge` synapse, and paces many sessions at once.

`ChallengeChannel` is a plain byte stream to one miner's prover. `PacedChannel` wraps any such
stream, so that all sessions of a slot start together, and no more openings than fit in memory are
asked for at once; none of that waiting counts against the miner.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from compute.errors import Code, ComputeError, PeerError
from compute.proof.channel import ProverChannel
from compute.protocol.address import Peer
from compute.protocol.receipts import Receipt
from compute.protocol.synapses import CHALLENGE, ChallengeReply, ChallengeRequest, ChallengeStep

SPARE_S = 2.0  # beyond the prover's own time: for the way there and back
CLOSE_S = 3.0
WAITING_S = 120.0  # for room to hold openings, all sessions of a slot together
FRAMES_BEFORE_OPENING = 4  # READY, ROOT_A and two ROOT_B of each GPU


class Answered(Protocol):
    """What a call gives back."""

    @property
    def reply(self) -> Any:
        """The validated answer."""
        ...

    @property
    def receipt(self) -> Receipt:
        """Both signatures over the exchange."""
        ...


class Caller(Protocol):
    """The client side of the synapses; `compute.protocol.dendrite.Dendrite` is one."""

    async def call(
        self, peer: Peer, synapse: Any, request: Any, *, timeout_s: float | None = None
    ) -> Answered:
        """Send one synapse and wait for the signed answer."""
        ...


class ChallengeChannel:
    """One prover on one miner, reached over HTTP.

    Bytes to send are kept until the next read, and travel with it in one exchange.

    Attributes:
        error: what broke the channel, if something did.
        receipt: of the last exchange.
        leased: GPUs that the miner cannot prove now, by its own word; the session is without them.
    """

    def __init__(self, caller: Caller, peer: Peer, gpus: tuple[str, ...]) -> None:
        self.error: ComputeError | None = None
        self.receipt: Receipt | None = None
        self.leased: frozenset[str] = frozenset()
        self._caller = caller
        self._peer = peer
        self._gpus = gpus
        self._session = ""
        self._pending = b""

    async def open(self, timeout_s: float) -> None:
        """Have the miner start its prover, without those GPUs that it says are leased.

        It is asked a second time at most, for what it did not name.

        Raises:
            ComputeError: the miner cannot be reached, refuses, or answers wrongly.
        """
        try:
            self._session = await self._start(timeout_s)
        except ComputeError as error:
            raise self._broken(error) from error

    async def _start(self, timeout_s: float) -> str:
        by = asyncio.get_running_loop().time() + timeout_s
        request = ChallengeRequest(step=ChallengeStep.OPEN, gpus=self._gpus)
        try:
            return (await self._call(request, timeout_s)).session
        except ComputeError as refusal:
            self.leased = _leased(refusal, self._gpus)
            if not self.leased:
                raise
        free = tuple(gpu for gpu in self._gpus if gpu not in self.leased)
        again = request.model_copy(update={"gpus": free})
        left = by - asyncio.get_running_loop().time()
        return (await self._call(again, max(0.1, left))).session

    async def send(self, data: bytes) -> None:
        """Keep bytes for the next read."""
        self._pending += data

    async def receive(self, n: int, timeout_s: float) -> bytes:
        """Send what is kept and read exactly `n` bytes.

        Raises:
            ComputeError: as `open`.
            TimeoutError: the answer did not come in time.
        """
        data, self._pending = self._pending, b""
        request = ChallengeRequest(
            step=ChallengeStep.EXCHANGE,
            session=self._session,
            data=data,
            expect=n,
            wait_s=min(120.0, max(0.0, timeout_s)),
        )
        async with asyncio.timeout(timeout_s + SPARE_S):
            reply = await self._exchange(request, timeout_s + SPARE_S)
        if reply.session != self._session or len(reply.data) != n:
            raise self._broken(PeerError(Code.PEER_INVALID, "not the bytes that were expected"))
        return reply.data

    async def close(self) -> None:
        """End the prover; a miner that does not answer ends it by its own deadline."""
        if not self._session:
            return
        request = ChallengeRequest(step=ChallengeStep.CLOSE, session=self._session)
        self._session = ""
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._caller.call(self._peer, CHALLENGE, request, timeout_s=CLOSE_S)
        except (ComputeError, TimeoutError):
            return

    async def _exchange(self, request: ChallengeRequest, timeout_s: float) -> ChallengeReply:
        try:
            return await self._call(request, timeout_s)
        except ComputeError as error:
            raise self._broken(error) from error

    async def _call(self, request: ChallengeRequest, timeout_s: float) -> ChallengeReply:
        answer = await self._caller.call(self._peer, CHALLENGE, request, timeout_s=timeout_s)
        self.receipt = answer.receipt
        reply: ChallengeReply = answer.reply
        return reply

    def _broken(self, error: ComputeError) -> ComputeError:
        self.error = self.error or error
        return error


def _leased(refusal: ComputeError, asked: tuple[str, ...]) -> frozenset[str]:
    """Which of the GPUs asked for a miner says are leased; none if that leaves nothing to prove."""
    named = refusal.data.get("gpus") if "peer" in refusal.data else None
    if refusal.code is not Code.NO_CAPACITY or not isinstance(named, list):
        return frozenset()
    away = {name for name in named if isinstance(name, str)} & set(asked)
    return frozenset(away) if len(away) < len(asked) else frozenset()


class StartGate:
    """Holds all sessions of a slot until each is ready or gone, or until the deadline.

    Args:
        parties: how many sessions there are.
    """

    def __init__(self, parties: int) -> None:
        self._missing = parties
        self._open = asyncio.Event()
        if not parties:
            self._open.set()

    def leave(self) -> None:
        """Count one session as ready or gone; call it once for each."""
        self._missing -= 1
        if self._missing <= 0:
            self._open.set()

    async def wait(self, timeout_s: float) -> None:
        """Wait until the gate opens; at the deadline it opens for all."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._open.wait()
        except TimeoutError:
            self._open.set()


class PacedChannel:
    """A channel that waits at the start gate and before the openings.

    The session's own clock does not see the waiting before the start: a READY is held back until
    the gate opens. The wait for room to open happens before an opening's request is sent; its
    deadline is kept here, from the moment of sending.

    Args:
        inner: the stream to the prover.
        gpus: how many GPUs the session has, which tells what each answer is.
        gate: of the slot.
        ready_by: monotonic time at which a prover that is not ready is given up.
        room: how many sessions may hold openings at once.
        open_s: deadline of one opening.
        clock: monotonic seconds.
        room_s: how long to wait for room.

    Attributes:
        waiting: whether the session waits, or gave up waiting, for room.
        checking: whether the miner has said all that it had to say.
    """

    def __init__(
        self,
        inner: ProverChannel,
        gpus: int,
        *,
        gate: StartGate,
        ready_by: float,
        room: asyncio.Semaphore,
        open_s: float,
        clock: Callable[[], float],
        room_s: float = WAITING_S,
    ) -> None:
        self.waiting = False
        self.checking = False
        self._room_s = room_s
        self._inner = inner
        self._gpus = gpus
        self._gate = gate
        self._ready_by = ready_by
        self._room = room
        self._open_s = open_s
        self._clock = clock
        self._frames = 0
        self._at_gate = True
        self._in_room = False

    async def send(self, data: bytes) -> None:
        """Pass bytes on; before the first opening wait for room."""
        if self._frames >= FRAMES_BEFORE_OPENING * self._gpus and not self._in_room:
            await self._enter_room()
        await self._inner.send(data)

    async def receive(self, n: int, timeout_s: float) -> bytes:
        """Read exactly `n` bytes within what this kind of answer is allowed."""
        if self._frames < self._gpus:
            timeout_s = max(0.0, self._ready_by - self._clock())
        elif self._frames >= FRAMES_BEFORE_OPENING * self._gpus:
            timeout_s = self._open_s
        sent = self._clock()
        data = await self._inner.receive(n, timeout_s)
        if self._frames >= self._gpus and self._clock() - sent > timeout_s:
            raise TimeoutError
        self._frames += 1
        if self._frames == self._gpus:
            self.leave_gate()
            await self._gate.wait(max(0.0, self._ready_by - self._clock()))
        return data

    async def _enter_room(self) -> None:
        self.waiting = True
        try:
            async with asyncio.timeout(self._room_s):
                await self._room.acquire()
        except TimeoutError as error:
            raise ComputeError(Code.INTERNAL, "no room to hold its openings") from error
        self._in_room, self.waiting = True, False

    async def close(self) -> None:
        """Close the stream, and let the slot start without this session if it had not."""
        self.leave_gate()
        await self._inner.close()

    def leave_gate(self) -> None:
        """Count this session as ready or gone, once."""
        if self._at_gate:
            self._at_gate = False
            self._gate.leave()

    def leave_room(self) -> None:
        """Give the room back, once the openings are checked."""
        if self._in_room:
            self._in_room = False
            self._room.release()
