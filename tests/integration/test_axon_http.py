"""An axon on a real socket: pages, errors, draining, ports, TLS."""

import asyncio
import contextlib
import json
import signal
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from compute.errors import Code, ComputeError, LeaseError, UsageError
from compute.protocol.axon import Axon
from compute.protocol.context import RequestContext
from compute.protocol.dendrite import Dendrite, RefusedBy
from compute.protocol.receipts import verify_receipt
from compute.protocol.synapses import Message, Synapse
from compute.protocol.tls import make_certificate, server_context
from compute.testing.axon import TEST_LIMITS, post, view_of
from compute.testing.dendrite import peer_of
from compute.testing.wallets import dev_wallet

ME, CALLER, STRANGER = dev_wallet("Me"), dev_wallet("Caller"), dev_wallet("Stranger")


class Text(Message):
    """Any text."""

    text: str = ""


TELL = Synapse("Tell", Text, Text, 4096, 4096, 5)
FAIL = Synapse("Fail", Text, Text, 4096, 4096, 5)
REFUSE = Synapse("Refuse", Text, Text, 4096, 4096, 5)
WAIT = Synapse("Wait", Text, Text, 4096, 4096, 5)
SECRET = "/root/.bittensor/secret-path"


class Handlers:
    """What the axon under test does."""

    def __init__(self) -> None:
        self.contexts: list[RequestContext] = []
        self.entered = threading.Event()
        self.gate = threading.Event()

    def tell(self, request: Text, context: RequestContext) -> Text:
        """The same text."""
        self.contexts.append(context)
        return request

    def fail(self, _request: Text, _context: RequestContext) -> Text:
        """A fault with a secret in it."""
        raise RuntimeError(SECRET)

    def refuse(self, _request: Text, _context: RequestContext) -> Text:
        """A refusal of the domain."""
        raise LeaseError(Code.NO_CAPACITY, "two GPUs are free", retry_after_s=7, data={"free": 2})

    def wait(self, request: Text, _context: RequestContext) -> Text:
        """Wait for the test."""
        self.entered.set()
        self.gate.wait(10)
        return request


@pytest.fixture
def handlers() -> Handlers:
    """The handlers of one test."""
    return Handlers()


@pytest.fixture
async def axon(handlers: Handlers) -> AsyncIterator[Axon]:
    """A served axon."""
    axon = Axon(ME, metagraph=view_of(CALLER.address), limits=TEST_LIMITS)
    axon.attach(TELL, handlers.tell)
    axon.attach(FAIL, handlers.fail)
    axon.attach(REFUSE, handlers.refuse)
    axon.attach(WAIT, handlers.wait, workers=1, queue=0)
    async with axon.serving("127.0.0.1"):
        yield axon


@pytest.fixture
async def dendrite() -> AsyncIterator[Dendrite]:
    """The caller's side."""
    async with Dendrite(CALLER, allow_private=True) as dendrite:
        yield dendrite


async def get(axon: Axon, path: str, method: str = "GET") -> tuple[int, str, str]:
    """Status, content type and body of a page."""
    url = f"http://127.0.0.1:{axon.port}{path}"
    async with aiohttp.ClientSession() as session, session.request(method, url) as answer:
        assert answer.headers["X-Compute-Receipt"]
        return answer.status, answer.content_type, await answer.text()


async def test_a_call_reaches_the_handler_with_its_trace(
    axon: Axon, dendrite: Dendrite, handlers: Handlers
) -> None:
    """The handler learns who calls and under which trace; the caller gets the same trace back."""
    trace = "ab" * 16
    answer = await dendrite.call(peer_of(axon), TELL, Text(text="x"), trace=trace)
    assert answer.reply == Text(text="x")
    assert answer.trace == handlers.contexts[0].trace == trace
    assert handlers.contexts[0].hotkey == CALLER.address
    assert answer.stale == ""
    verify_receipt(answer.receipt)


async def test_a_refusal_arrives_as_itself_with_a_receipt(axon: Axon, dendrite: Dendrite) -> None:
    """Class, code, detail, wait and facts of the handler's error reach the caller, signed."""
    with pytest.raises(LeaseError) as caught:
        await dendrite.call(peer_of(axon), REFUSE, Text())
    error = caught.value
    assert (error.code, error.detail, error.retry_after_s) == (
        Code.NO_CAPACITY,
        "two GPUs are free",
        7,
    )
    assert (error.data["free"], error.data["peer"]) == (2, ME.address)
    assert isinstance(error.__cause__, RefusedBy)
    verify_receipt(error.__cause__.receipt)
    assert error.__cause__.receipt.status == 409


async def test_a_fault_of_the_handler_tells_nothing_of_itself(
    axon: Axon, dendrite: Dendrite
) -> None:
    """The caller gets a trace id and no word of the exception."""
    with pytest.raises(ComputeError) as caught:
        await dendrite.call(peer_of(axon), FAIL, Text())
    cause = caught.value.__cause__
    assert isinstance(cause, RefusedBy)
    sent = cause.receipt.body.decode()
    assert json.loads(sent)["code"] == "internal"
    assert caught.value.data["trace"] in sent
    for word in ("secret", "RuntimeError", "Traceback", ".py"):
        assert word not in sent


async def test_a_stranger_is_refused_with_a_receipt(axon: Axon) -> None:
    """Even a refusal is signed for the one who asked."""
    async with Dendrite(STRANGER, allow_private=True) as dendrite:
        with pytest.raises(ComputeError) as caught:
            await dendrite.call(peer_of(axon), TELL, Text())
    assert caught.value.code is Code.NOT_REGISTERED
    assert isinstance(caught.value.__cause__, RefusedBy)
    verify_receipt(caught.value.__cause__.receipt)


async def test_pages(axon: Axon, dendrite: Dendrite) -> None:
    """Health, readiness, counters and the OpenAPI document are there for everybody."""
    await dendrite.call(peer_of(axon), TELL, Text())
    assert (await get(axon, "/healthz"))[0] == 200
    assert (await get(axon, "/readyz"))[0] == 200
    status, _, metrics = await get(axon, "/metrics")
    assert status == 200
    assert 'compute_axon_answers_total{code="ok",synapse="Tell"} 1.0' in metrics
    document = json.loads((await get(axon, "/openapi.json"))[2])
    assert set(document["paths"]) == {"/Tell", "/Fail", "/Refuse", "/Wait"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("POST", "/nowhere", 404),
        ("POST", "/%54ell", 404),
        ("GET", "/Tell", 405),
        ("DELETE", "/Tell", 405),
        ("POST", "/healthz", 405),
        ("POST", "/Tell", 401),
        ("OPTIONS", "/Tell", 405),
        ("TRACE", "/Tell", 405),
    ],
)
async def test_everything_else_is_a_signed_problem(
    axon: Axon, method: str, path: str, status: int
) -> None:
    """Whatever is asked, the answer has the one form of all errors."""
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{axon.port}{path}"
        headers = {"Content-Type": "application/json"}
        request = session.request(method, URL(url, encoded=True), headers=headers)
        async with request as answer:
            assert answer.status == status
            assert answer.content_type == "application/problem+json"
            assert answer.headers["X-Compute-Receipt"].startswith("sr25519:0x")
            assert (await answer.json(content_type=None))["status"] == status


async def test_a_full_queue_is_told_while_health_is_answered(
    axon: Axon, dendrite: Dendrite, handlers: Handlers
) -> None:
    """A slow handler delays neither the refusal of the next call nor a health check."""
    running = asyncio.create_task(dendrite.call(peer_of(axon), WAIT, Text(text="slow")))
    await asyncio.to_thread(handlers.entered.wait, 5)
    with pytest.raises(ComputeError) as caught:
        await dendrite.call(peer_of(axon), WAIT, Text())
    assert caught.value.code is Code.BUSY
    assert caught.value.retry_after_s
    assert (await get(axon, "/healthz"))[0] == 200
    handlers.gate.set()
    assert (await running).reply.text == "slow"


async def test_draining_finishes_what_runs_and_takes_nothing_new(
    axon: Axon, dendrite: Dendrite, handlers: Handlers
) -> None:
    """A running call is answered, a new one is told to go away, readiness says so."""
    running = asyncio.create_task(dendrite.call(peer_of(axon), WAIT, Text(text="last")))
    await asyncio.to_thread(handlers.entered.wait, 5)
    assert not await axon.drain(0.01)
    with pytest.raises(ComputeError) as caught:
        await dendrite.call(peer_of(axon), TELL, Text())
    assert caught.value.code is Code.BUSY
    assert (await get(axon, "/readyz"))[0] == 503
    assert (await get(axon, "/healthz"))[0] == 200
    handlers.gate.set()
    assert await axon.drain(5)
    assert (await running).reply.text == "last"


async def test_stopping_closes_the_port_and_cuts_what_hangs(
    axon: Axon, dendrite: Dendrite, handlers: Handlers, caplog: pytest.LogCaptureFixture
) -> None:
    """After `stop` nobody listens, and a hanging call has ended, without a traceback in the log."""
    running = asyncio.create_task(dendrite.call(peer_of(axon), WAIT, Text()))
    await asyncio.to_thread(handlers.entered.wait, 5)
    peer = peer_of(axon)
    await axon.stop(grace_s=0.05)
    handlers.gate.set()
    with pytest.raises(ComputeError) as cut:
        await running
    with pytest.raises(ComputeError) as gone:
        await dendrite.call(peer, TELL, Text())
    assert (cut.value.code, gone.value.code) == (Code.PEER_AWAY, Code.PEER_AWAY)
    assert [entry.message for entry in caplog.records if entry.exc_info] == []


async def test_a_taken_port_is_a_usage_error(axon: Axon) -> None:
    """One clear error with a hint, not a stack of OSErrors."""
    other = Axon(ME, metagraph=view_of(), limits=TEST_LIMITS)
    with pytest.raises(UsageError) as caught:
        await other.start("127.0.0.1", axon.port)
    assert caught.value.code is Code.PORT_TAKEN


async def test_a_foreign_address_is_a_usage_error() -> None:
    """An address that is not this machine's is the operator's mistake."""
    with pytest.raises(UsageError) as caught:
        await Axon(ME, metagraph=view_of()).start("192.0.2.7", 0)
    assert caught.value.code is Code.USAGE


async def test_signal_handlers_stay_the_programs_own() -> None:
    """Serving takes over neither SIGTERM nor SIGINT."""
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(kind) for kind in kinds]
    async with Axon(ME, metagraph=view_of()).serving("127.0.0.1"):
        assert [signal.getsignal(kind) for kind in kinds] == before


async def test_metrics_are_for_this_machine_only(axon: Axon) -> None:
    """Others are told so, unless the operator opens them."""
    away = await post(axon, "/metrics", {}, b"", method="GET", address="198.51.100.4")
    assert away.code == "denied"
    opened = Axon(ME, metagraph=view_of(), open_metrics=True)
    reply = await post(opened, "/metrics", {}, b"", method="GET", address="198.51.100.4")
    assert reply.status == 200


async def test_small_answers_leave_at_once(axon: Axon, dendrite: Dendrite) -> None:
    """Connections wait for no acknowledgement before they send: that would cost 40 ms a call."""
    await dendrite.call(peer_of(axon), TELL, Text())
    for connection in axon._server._door.state.connections:
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_two_axons_in_one_loop(axon: Axon, dendrite: Dendrite, handlers: Handlers) -> None:
    """Each answers for its own hotkey only."""
    second = Axon(dev_wallet("Second"), metagraph=view_of(CALLER.address), limits=TEST_LIMITS)
    second.attach(TELL, handlers.tell)
    async with second.serving("127.0.0.1"):
        assert (await dendrite.call(peer_of(second), TELL, Text())).receipt.callee == second.hotkey
        assert (await dendrite.call(peer_of(axon), TELL, Text())).receipt.callee == axon.hotkey


async def test_tls_with_a_pinned_certificate(
    dendrite: Dendrite, handlers: Handlers, tmp_path: Path
) -> None:
    """The pinned certificate is accepted without any authority, another one is not."""
    certificate = make_certificate(tmp_path / "axon.pem")
    axon = Axon(
        ME,
        metagraph=view_of(CALLER.address),
        limits=TEST_LIMITS,
        tls=server_context(tmp_path / "axon.pem"),
    )
    axon.attach(TELL, handlers.tell)
    async with axon.serving("127.0.0.1"):
        peer = replace(peer_of(axon), certificate_sha256=certificate)
        for _ in range(3):
            assert (await dendrite.call(peer, TELL, Text(text="x"))).reply.text == "x"
        assert axon._server.connections == 1  # kept: a handshake for each call would be measured
        with pytest.raises(ComputeError) as wrong:
            await dendrite.call(replace(peer, certificate_sha256=b"\0" * 32), TELL, Text())
        assert wrong.value.code is Code.PEER_INVALID
        with pytest.raises(ComputeError):
            await dendrite.call(replace(peer, certificate_sha256=None), TELL, Text())


async def test_who_shakes_no_hand_is_counted_and_cut(
    dendrite: Dendrite, handlers: Handlers, tmp_path: Path
) -> None:
    """A TLS connection counts from its first byte, and its handshake has a limit."""
    certificate = make_certificate(tmp_path / "axon.pem")
    axon = Axon(
        ME,
        metagraph=view_of(CALLER.address),
        limits=replace(TEST_LIMITS, connections_per_address=3, head_s=0.5),
        tls=server_context(tmp_path / "axon.pem"),
    )
    axon.attach(TELL, handlers.tell)
    async with axon.serving("127.0.0.1"):
        port = axon._server.port
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        ends = [asyncio.create_task(_end_of(reader)) for reader, _ in silent]
        await asyncio.wait(ends, timeout=0.25)
        assert (axon._server.connections, sum(end.done() for end in ends)) == (3, 2)
        await asyncio.wait(ends, timeout=5)
        assert (axon._server.connections, sum(end.done() for end in ends)) == (0, 5)
        peer = replace(peer_of(axon), certificate_sha256=certificate)
        assert (await dendrite.call(peer, TELL, Text(text="x"))).reply.text == "x"
        for _, writer in silent:
            writer.close()


async def _end_of(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        await reader.read()
