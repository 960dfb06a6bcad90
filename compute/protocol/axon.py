"""The server side of the synapses.

::

    axon = Axon(wallet, metagraph=view, gate=Gate(min_stake=1000))
    axon.attach(SPECS, answer_specs)
    async with axon.serving("0.0.0.0", 8091):
        ...

Deny by default, and an answer for everybody: whatever arrives gets a signed answer in a form that
the OpenAPI document describes. Nothing internal ever leaves.
"""

import asyncio
import contextlib
import math
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

import structlog
from prometheus_client import CollectorRegistry

from compute.errors import AdmissionError, Code, ComputeError
from compute.protocol import codec, problem, receipts, wire
from compute.protocol.admission import Admission, Request
from compute.protocol.auth import Claim
from compute.protocol.clock import SYSTEM, Clock
from compute.protocol.context import RequestContext
from compute.protocol.gate import Gate, Policy, validators
from compute.protocol.keys import ADDRESS, hotkey_of
from compute.protocol.lanes import Lane
from compute.protocol.limits import Limits, Running
from compute.protocol.meters import Meters
from compute.protocol.nonces import MemoryNonces, NonceStore
from compute.protocol.openapi import AnySynapse
from compute.protocol.pages import JSON, Check, Page, Pages
from compute.protocol.reading import BodyReader, ClientGoneError, Receive, announced_length
from compute.protocol.receipts import NOBODY, Parties
from compute.protocol.server import Server
from compute.protocol.synapses import Message, Synapse
from compute.protocol.view import MetagraphView

log = structlog.get_logger("axon")

_RECEIPT_NAME, _TRACE_NAME, _STALE_NAME = (
    name.lower().encode() for name in (wire.RECEIPT, wire.TRACE, wire.STALE)
)
_TRACE = re.compile(rb"[0-9a-f]{16,64}")
_NONCE = re.compile(r"[1-9][0-9]{0,19}")

RequestT = TypeVar("RequestT", bound=Message)
ReplyT = TypeVar("ReplyT", bound=Message)
Send = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Served:
    """A synapse with what answers it."""

    synapse: AnySynapse
    lane: Lane
    policy: Policy


class Axon:
    """Serves synapses. Also an ASGI application.

    Args:
        wallet: whose hotkey signs the answers; a keypair does too.
        metagraph: where callers are looked up.
        gate: the operator's lists and least stake.
        limits: sizes, times, rates.
        nonces: which nonces were seen; in memory when None. Processes that serve one hotkey
            together share a `SqliteNonces`.
        checks: readiness checks by name.
        registry: where the metrics are registered.
        tls: server context; None speaks plain HTTP.
        title: of the OpenAPI document, with its `version`.
        open_metrics: whether others than this machine may read `/metrics`.
        clock: wall and monotonic time.

    Raises:
        WalletError: when the wallet has no usable hotkey.
    """

    def __init__(
        self,
        wallet: Any,
        *,
        metagraph: MetagraphView,
        gate: Gate | None = None,
        limits: Limits | None = None,
        nonces: NonceStore | None = None,
        checks: Mapping[str, Check] | None = None,
        registry: CollectorRegistry | None = None,
        tls: ssl.SSLContext | None = None,
        title: str = "axon",
        version: str = "1",
        open_metrics: bool = False,
        clock: Clock = SYSTEM,
    ) -> None:
        self._key = hotkey_of(wallet)
        self.hotkey = self._key.ss58_address
        self._limits = limits or Limits()
        self._clock = clock
        self._admission = Admission(
            self.hotkey,
            view=metagraph,
            gate=gate or Gate(),
            nonces=nonces or MemoryNonces(),
            limits=self._limits,
            clock=clock,
        )
        self._served: dict[str, _Served] = {}
        self._bodies = BodyReader(self._limits.body_budget_bytes)
        self._running = Running(self._limits.running, self._limits.running_per_hotkey)
        self._meters = Meters(registry)
        self._meters.watch(
            running=lambda: self._running.count, age_s=lambda: self._admission.view_age_s
        )
        self._pages = Pages(
            checks={"axon": self._not_ready, **(checks or {})},
            metrics=self._meters.page,
            synapses=lambda: [served.synapse for served in self._served.values()],
            title=title,
            version=version,
            open_metrics=open_metrics,
        )
        self._server = Server(self, self._limits, self._refusal, tls)
        self._draining = False
        self._stopped = asyncio.Event()

    # --- what is served ---

    def attach(
        self,
        synapse: Synapse[RequestT, ReplyT],
        handler: Callable[[RequestT, RequestContext], ReplyT | Awaitable[ReplyT]],
        *,
        policy: Policy = validators,
        workers: int = 4,
        queue: int = 16,
        timeout_s: float | None = None,
    ) -> None:
        """Answer a synapse.

        Args:
            synapse: served at its path.
            handler: plain (runs in threads of its own) or async. A `ComputeError` that it raises
                is sent as a problem; any other exception as `INTERNAL` without its text.
            policy: who may call.
            workers: handled at a time.
            queue: waiting beyond those; further callers are told `BUSY`.
            timeout_s: longest handling; the synapse's own when None.
        """
        lane = Lane(
            synapse.name,
            handler,
            workers=workers,
            queue=queue,
            timeout_s=timeout_s or synapse.timeout_s,
            clock=self._clock,
        )
        self._served[synapse.path] = _Served(synapse, lane, policy)

    # --- life ---

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before `start`."""
        return self._server.port

    async def start(self, host: str, port: int) -> int:
        """Listen; gives the port, which is the system's choice for port 0.

        Raises:
            UsageError: `PORT_TAKEN`, or the address is not this machine's.
        """
        return await self._server.start(host, port)

    async def drain(self, grace_s: float) -> bool:
        """Take no new synapses and wait for the running ones; False when some still run."""
        self._draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._running.idle.wait()
        return self._running.count == 0

    async def stop(self, grace_s: float = 1) -> None:
        """Stop listening and cut what still runs after `grace_s` seconds."""
        self._draining = True
        await self._server.stop(grace_s)
        for served in self._served.values():
            served.lane.close()
        self._stopped.set()

    async def serve(self, host: str, port: int) -> None:
        """Serve until `stop` is called.

        Raises:
            UsageError: as `start`.
        """
        await self.start(host, port)
        await self._stopped.wait()

    @contextlib.asynccontextmanager
    async def serving(self, host: str, port: int = 0) -> AsyncIterator["Axon"]:
        """Serve while the context lasts.

        Raises:
            UsageError: as `start`.
        """
        await self.start(host, port)
        try:
            yield self
        finally:
            await self.stop()

    def _not_ready(self) -> str | None:
        if self._draining:
            return "shutting down"
        if self._admission.view_age_s > self._limits.view_usable_s:
            return "the chain was not read yet, or too long ago"
        if not self._admission.settled:
            return "just started"
        return None

    # --- one request ---

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            return
        request = _request(scope)
        try:
            page, headers = await self._respond(request, receive)
        except (ClientGoneError, asyncio.CancelledError):
            return  # nobody is there to hear: the client left, or this server ends
        headers = [*self._headers(page, request), *headers]
        await send({"type": "http.response.start", "status": page.status, "headers": headers})
        await send({"type": "http.response.body", "body": page.body})

    async def _respond(
        self, request: Request, receive: Receive
    ) -> tuple[Page, list[tuple[bytes, bytes]]]:
        """The answer to a request, whatever happens."""
        path = request.target.partition("?")[0]
        served = self._served.get(path)
        name = served.synapse.name if served else NOBODY
        status: int | None = None
        try:
            if served is not None and request.method == "POST":
                page = await self._synapse(served, request, receive)
                self._meters.answered(name, "ok")
                return page, self._stale()
            page_of = self._pages.find(path, request.address)
            if page_of is not None and request.method == "GET":
                return page_of(), []
            if served is not None or page_of is not None:
                status = HTTPStatus.METHOD_NOT_ALLOWED
            error: ComputeError = AdmissionError(Code.NOT_FOUND)
        except ComputeError as raised:
            error = raised
        except ClientGoneError:
            raise
        except Exception:  # the task's root: logged here, told in general terms only
            log.exception("handler_failed", trace=request.trace, synapse=name)
            error = ComputeError(Code.INTERNAL)
        self._meters.answered(name, error.code.spec.slug)
        log.debug(
            "refused", code=error.code.spec.slug, trace=request.trace, address=request.address
        )
        content = problem.problem_of(error, request.trace, status=status)
        headers = self._stale() if served is not None else []
        if content.retry_after is not None:
            headers.append((b"retry-after", str(math.ceil(content.retry_after)).encode()))
        if status is not None:
            headers.append((b"allow", b"POST" if served is not None else b"GET"))
        return Page(content.status, problem.CONTENT_TYPE, codec.encode(content)), headers

    async def _synapse(self, served: _Served, request: Request, receive: Receive) -> Page:
        synapse = served.synapse
        if self._draining:
            raise AdmissionError(Code.BUSY, "the neuron is shutting down", retry_after_s=30)
        if "?" in request.target:
            raise AdmissionError(Code.MALFORMED, "synapses take no query")
        length = announced_length(request.headers)
        if length is not None and length > synapse.request_limit:
            raise AdmissionError(
                Code.TOO_LARGE,
                f"the limit is {synapse.request_limit} bytes",
                data={"limit": synapse.request_limit},
            )
        claim = self._admission.knock(request)
        if length is None or length > self._limits.unproven_body_bytes:
            self._admission.vouch(claim, served.policy)
        async with self._bodies.body(receive, length, synapse.request_limit) as body:
            return await self._handle(served, request, claim, body)

    async def _handle(self, served: _Served, request: Request, claim: Claim, body: bytes) -> Page:
        context = self._admission.admit(claim, request, body, served.policy)
        started = self._clock.monotonic()
        self._running.enter(context.hotkey)
        try:
            content = codec.decode(served.synapse.request, body)
            # Each request is a task with a context of its own: nothing has to be unbound.
            structlog.contextvars.bind_contextvars(
                trace=context.trace, hotkey=context.hotkey, synapse=served.synapse.name
            )
            reply = await served.lane.run(content, context)
        finally:
            self._running.leave(context.hotkey)
            self._meters.took(served.synapse.name, self._clock.monotonic() - started)
        if not isinstance(reply, served.synapse.reply):
            raise TypeError(f"the handler of {served.synapse.name} gave no reply")
        answer = codec.encode(reply)
        if len(answer) > served.synapse.reply_limit:
            raise ValueError(f"the reply of {served.synapse.name} is too large")
        return Page(200, JSON, answer)

    # --- answers ---

    def _stale(self) -> list[tuple[bytes, bytes]]:
        age_s = self._admission.view_age_s
        if age_s <= self._limits.view_fresh_s:
            return []
        told = "never" if math.isinf(age_s) else str(int(age_s))
        return [(_STALE_NAME, told.encode())]

    def _headers(self, page: Page, request: Request) -> list[tuple[bytes, bytes]]:
        receipt = receipts.sign(
            self._key, page.status, page.body, _parties(request.headers, self.hotkey)
        )
        return [
            (b"content-type", page.content_type.encode()),
            (b"content-length", str(len(page.body)).encode()),
            (_RECEIPT_NAME, receipt.encode()),
            (_TRACE_NAME, request.trace.encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
        ]

    def _refusal(self, error: AdmissionError) -> bytes:
        """A whole answer to something that never became a request."""
        request = Request("", "", (), "", secrets.token_hex(16))
        content = problem.problem_of(error, request.trace)
        page = Page(content.status, problem.CONTENT_TYPE, codec.encode(content))
        self._meters.answered(NOBODY, content.code)
        status = f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}".encode()
        lines = [name + b": " + value for name, value in self._headers(page, request)]
        return b"\r\n".join([status, *lines, b"connection: close", b"", page.body])


def _request(scope: Mapping[str, Any]) -> Request:
    query: bytes = scope["query_string"]
    target: bytes = scope["raw_path"] + (b"?" + query if query else b"")
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    trace = next((value for name, value in headers if name == _TRACE_NAME), b"")
    client = scope.get("client")
    return Request(
        method=scope["method"],
        target=target.decode("latin-1"),
        headers=headers,
        address=client[0] if client else "",
        trace=trace.decode() if _TRACE.fullmatch(trace) else secrets.token_hex(16),
    )


def _parties(headers: Iterable[tuple[bytes, bytes]], callee: str) -> Parties:
    """Whom an answer is signed for: as the request says, if it says so in a proper form."""
    said = {name: value.decode("latin-1") for name, value in headers if name in _PARTY_HEADERS}
    caller = said.get(b"x-bittensor-hotkey", "")
    nonce = said.get(b"x-bittensor-nonce", "")
    return Parties(
        caller if ADDRESS.fullmatch(caller) else NOBODY,
        callee,
        nonce if _NONCE.fullmatch(nonce) else NOBODY,
    )


_PARTY_HEADERS = frozenset((b"x-bittensor-hotkey", b"x-bittensor-nonce"))
