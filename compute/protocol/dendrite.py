"""The client side of the synapses.

::

    async with Dendrite(wallet) as dendrite:
        answer = await dendrite.call(Peer.parse(hotkey, neuron.axon), SPECS, SpecsRequest())
        answer.reply.free, answer.receipt

A peer is a stranger: its address is checked before it is called, its answer is cut off at the
synapse's limit, and nothing of it is believed before its signature holds.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import aiohttp
from yarl import URL

from compute.errors import AdmissionError, Code, ComputeError, PeerError, UsageError
from compute.protocol import address, codec, problem, receipts, wire
from compute.protocol.address import Peer
from compute.protocol.auth import Claim, Signer
from compute.protocol.clock import SYSTEM, Clock
from compute.protocol.keys import hotkey_of
from compute.protocol.receipts import Parties, Receipt
from compute.protocol.synapses import Message, Synapse

__all__ = ["Answer", "Dendrite", "Outcome", "Peer", "RefusedBy"]

RequestT = TypeVar("RequestT", bound=Message)
ReplyT = TypeVar("ReplyT", bound=Message)

_MOST_CONNECTIONS = 2048
_KEEP_ALIVE_S = 15  # under the axon's own idle limit, so that it is not the one to close
_PIECE_BYTES = 64 * 1024
_OK = 200


@dataclass(frozen=True, slots=True)
class Answer(Generic[ReplyT]):
    """A reply whose receipt holds.

    Attributes:
        elapsed_s: from signing the request to the whole answer, in seconds.
        trace: id of the operation, as the answerer logs it.
        stale: what the answerer says of its view of the chain: its age in seconds or `never`;
            empty when it is fresh.
    """

    reply: ReplyT
    receipt: Receipt
    elapsed_s: float
    status: int
    trace: str = ""
    stale: str = ""


class RefusedBy(Exception):  # noqa: N818 - not raised by itself: the cause of a ComputeError
    """The signed refusal behind an error that a peer sent; found as the error's `__cause__`."""

    def __init__(self, peer: Peer, receipt: Receipt) -> None:
        super().__init__(f"{peer.hotkey} at {peer.address} answered {receipt.status}")
        self.peer = peer
        self.receipt = receipt


@dataclass(frozen=True, slots=True)
class Outcome(Generic[ReplyT]):
    """What became of one call of a fan-out: an answer or an error."""

    peer: Peer
    answer: Answer[ReplyT] | None
    error: ComputeError | None


@dataclass(frozen=True, slots=True)
class _Raw:
    """An answer as it came."""

    status: int
    body: bytes
    receipt: str | None
    trace: str
    stale: str


class Dendrite:
    """Calls other neurons' synapses over one pool of connections.

    Args:
        wallet: whose hotkey signs the requests; a keypair does too.
        allow_private: whether loopback and private addresses may be called.
        connections: most open connections, all peers together.
        connect_s: longest wait for a connection.
        clock: nonces are of its wall side, elapsed times of its monotonic side.

    Raises:
        WalletError: when the wallet has no usable hotkey.
    """

    def __init__(
        self,
        wallet: Any,
        *,
        allow_private: bool = False,
        connections: int = _MOST_CONNECTIONS,
        connect_s: float = 5,
        clock: Clock = SYSTEM,
    ) -> None:
        key = hotkey_of(wallet)
        self.hotkey = key.ss58_address
        self._signer = Signer(key, clock)
        self._allow_private = allow_private
        self._connections = connections
        self._connect_s = connect_s
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def check(self, peer: Peer) -> None:
        """Refuse an address that is not called, whatever it is called with.

        Raises:
            PeerError: `ADDRESS_REFUSED`.
        """
        address.check(peer, allow_private=self._allow_private)

    async def call(
        self,
        peer: Peer,
        synapse: Synapse[RequestT, ReplyT],
        request: RequestT,
        *,
        timeout_s: float | None = None,
        trace: str | None = None,
    ) -> Answer[ReplyT]:
        """Send one request and check the answer.

        Args:
            peer: whom to call.
            synapse: what to call.
            request: the message.
            timeout_s: for everything, connecting included; the synapse's own when None.
            trace: id of the operation, 16 to 64 hex digits; the axon makes one when None.

        Raises:
            UsageError: `TOO_LARGE` when the request is over the synapse's limit.
            PeerError: `ADDRESS_REFUSED`, `PEER_AWAY`, `PEER_LATE`, `RECEIPT`, `PEER_INVALID`.
            ComputeError: the peer's own refusal, with `data["peer"]`; its `__cause__` is a
                `RefusedBy` with the receipt.
        """
        self.check(peer)
        body = codec.encode(request)
        if len(body) > synapse.request_limit:
            raise UsageError(f"the limit is {synapse.request_limit} bytes", code=Code.TOO_LARGE)
        started = self._clock.monotonic()
        claim = self._signer.sign(peer.hotkey, method="POST", target=synapse.path, body=body)
        sent = {**claim.headers(), **({wire.TRACE: trace} if trace else {})}
        raw = await self._exchange(
            peer, synapse, sent, body, synapse.timeout_s if timeout_s is None else timeout_s
        )
        receipt = self._receipt(claim, synapse.path, body, raw)
        if raw.status != _OK:
            raise problem.error_of(raw.body, raw.status, peer.hotkey) from RefusedBy(peer, receipt)
        try:
            reply = codec.decode(synapse.reply, raw.body)
        except AdmissionError as error:
            raise PeerError(Code.PEER_INVALID, error.detail) from RefusedBy(peer, receipt)
        elapsed_s = self._clock.monotonic() - started
        return Answer(reply, receipt, elapsed_s, raw.status, raw.trace, raw.stale)

    async def fan_out(
        self,
        peers: Sequence[Peer],
        synapse: Synapse[RequestT, ReplyT],
        request: RequestT,
        *,
        timeout_s: float | None = None,
        deadline_s: float | None = None,
        concurrency: int = 256,
        trace: str | None = None,
    ) -> list[Outcome[ReplyT]]:
        """Send one request to many peers; never raises for a peer's sake.

        Args:
            peers: whom to call.
            synapse: what to call.
            request: the message, the same for all.
            timeout_s: for each call; the synapse's own when None.
            deadline_s: for all of them; what has not ended by then is `PEER_LATE`.
            concurrency: calls at a time.
            trace: id of the operation.

        Returns:
            One outcome for each peer, in their order.
        """
        outcomes: list[Outcome[ReplyT] | None] = [None] * len(peers)
        waiting = iter(enumerate(peers))

        async def work() -> None:
            for index, peer in waiting:
                outcomes[index] = await self._outcome(peer, synapse, request, timeout_s, trace)

        try:
            async with asyncio.timeout(deadline_s), asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, len(peers))):
                    group.create_task(work())
        except TimeoutError:
            pass
        late = PeerError(Code.PEER_LATE, "the deadline for all calls passed")
        return [
            outcome or Outcome(peer, None, late)
            for peer, outcome in zip(peers, outcomes, strict=True)
        ]

    async def _outcome(
        self,
        peer: Peer,
        synapse: Synapse[RequestT, ReplyT],
        request: RequestT,
        timeout_s: float | None,
        trace: str | None,
    ) -> Outcome[ReplyT]:
        try:
            answer = await self.call(peer, synapse, request, timeout_s=timeout_s, trace=trace)
        except ComputeError as error:
            return Outcome(peer, None, error)
        return Outcome(peer, answer, None)

    # --- the exchange ---

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections, keepalive_timeout=_KEEP_ALIVE_S, use_dns_cache=False
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                headers={"Accept-Encoding": "identity", "User-Agent": "compute"},
            )
        return self._session

    async def _exchange(
        self,
        peer: Peer,
        synapse: Synapse[Any, Any],
        headers: dict[str, str],
        body: bytes,
        timeout_s: float,
    ) -> _Raw:
        pin = peer.certificate_sha256
        url = URL.build(
            scheme="https" if pin else "http", host=peer.host, port=peer.port, path=synapse.path
        )
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._opened().post(
                    url,
                    data=body,
                    headers={**headers, "Content-Type": "application/json"},
                    allow_redirects=False,
                    ssl=_pinned(pin) if pin else True,
                ) as response,
            ):
                limit = synapse.reply_limit if response.status == _OK else problem.MAX_BYTES
                return _Raw(
                    response.status,
                    await _read(response, limit),
                    response.headers.get(wire.RECEIPT),
                    problem.clean(response.headers.get(wire.TRACE, ""), 64),
                    problem.clean(response.headers.get(wire.STALE, ""), 20),
                )
        except aiohttp.ServerFingerprintMismatch as error:
            raise PeerError(Code.PEER_INVALID, "its certificate is not the pinned one") from error
        except TimeoutError as error:
            raise PeerError(Code.PEER_LATE, f"no answer within {timeout_s:g} s") from error
        except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
            raise PeerError(Code.PEER_INVALID, "its answer is not HTTP") from error
        except (aiohttp.ClientError, OSError) as error:
            raise PeerError(Code.PEER_AWAY, peer.address) from error

    def _receipt(self, claim: Claim, target: str, body: bytes, raw: _Raw) -> Receipt:
        scheme, signature = receipts.parse_header(raw.receipt)
        parties = Parties(claim.hotkey, claim.receiver, claim.nonce)
        receipts.check(raw.status, raw.body, parties, scheme, signature)
        # Every part was checked above or made here: validating again would cost a copy.
        return Receipt.model_construct(
            caller=claim.hotkey,
            callee=claim.receiver,
            nonce=claim.nonce,
            method="POST",
            target=target,
            request_body=body,
            request_scheme=claim.scheme,
            request_signature=claim.signature,
            status=raw.status,
            body=raw.body,
            scheme=scheme,
            signature=signature,
            received_at=self._clock.time_ns() / 1e9,
        )


@lru_cache(maxsize=4096)  # of a whole metagraph and more
def _pinned(certificate_sha256: bytes) -> aiohttp.Fingerprint:
    """The same object each time: the pool keeps a connection for it, not for what it says."""
    return aiohttp.Fingerprint(certificate_sha256)


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, cut off at a limit.

    Raises:
        PeerError: `PEER_INVALID` when it is larger or compressed.
    """
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise PeerError(Code.PEER_INVALID, "its answer is compressed")
    if (response.content_length or 0) > limit:
        raise PeerError(Code.PEER_INVALID, f"its answer is larger than {limit} bytes")
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_chunked(_PIECE_BYTES):
        size += len(piece)
        if size > limit:
            raise PeerError(Code.PEER_INVALID, f"its answer is larger than {limit} bytes")
        pieces.append(piece)
    return b"".join(pieces)
