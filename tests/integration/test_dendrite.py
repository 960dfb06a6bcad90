"""The dendrite against real servers, honest and hostile."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from compute.errors import Code, ComputeError, PeerError, UsageError
from compute.protocol.address import Peer
from compute.protocol.axon import Axon
from compute.protocol.context import RequestContext
from compute.protocol.dendrite import Dendrite
from compute.protocol.receipts import Parties, sign
from compute.protocol.synapses import Message, Synapse
from compute.testing.axon import TEST_LIMITS, view_of
from compute.testing.dendrite import peer_of
from compute.testing.wallets import dev_wallet

ME, CALLER, OTHER = dev_wallet("Me"), dev_wallet("Caller"), dev_wallet("Other")


class Text(Message):
    """Any text."""

    text: str = ""


TELL = Synapse("Tell", Text, Text, 4096, 4096, 2)
GOOD = Text(text="hello").model_dump_json().encode()
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def tell(request: Text, _context: RequestContext) -> Text:
    """The same text."""
    return request


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[Peer]:
    """A raw TCP server that claims to be `ME`."""
    busy: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        busy.add(task)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield Peer(ME.address, "127.0.0.1", listening.sockets[0].getsockname()[1])
    finally:
        listening.close()
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


@pytest.fixture
async def dendrite() -> AsyncIterator[Dendrite]:
    """The caller's side."""
    async with Dendrite(CALLER, allow_private=True) as dendrite:
        yield dendrite


async def read_request(reader: asyncio.StreamReader) -> dict[str, str]:
    """Headers of one request, its body read."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head)}
    await reader.readexactly(int(headers["content-length"]))
    return headers


def answering(
    status: int = 200,
    body: bytes = GOOD,
    extra: str = "",
    *,
    signed_status: int | None = None,
    signed_body: bytes | None = None,
    signer: object = ME,
    nonce: str | None = None,
    caller: str = CALLER.address,
    receipt: str | None = None,
) -> Serve:
    """A server that gives one answer, well signed but for what is changed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        headers = await read_request(reader)
        parties = Parties(caller, ME.address, nonce or headers["x-bittensor-nonce"])
        said = sign(
            signer.hotkey,  # type: ignore[attr-defined]
            status if signed_status is None else signed_status,
            body if signed_body is None else signed_body,
            parties,
        )
        line = "" if receipt == "" else f"X-Compute-Receipt: {receipt or said}\r\n"
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{line}{extra}\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    return serve


async def failure(dendrite: Dendrite, serve: Serve, *, timeout_s: float = 2) -> ComputeError:
    async with server(serve) as peer:
        with pytest.raises(ComputeError) as caught:
            await dendrite.call(peer, TELL, Text(), timeout_s=timeout_s)
    return caught.value


async def test_a_well_signed_answer_is_accepted(dendrite: Dendrite) -> None:
    """The hostile servers below differ from this one in a single thing each."""
    async with server(answering()) as peer:
        assert (await dendrite.call(peer, TELL, Text())).reply.text == "hello"


@pytest.mark.parametrize(
    "serve",
    [
        answering(receipt=""),
        answering(receipt="sr25519:0x" + "00" * 64),
        answering(receipt="0x" + "00" * 64),
        answering(signer=OTHER),
        answering(signed_status=201),
        answering(signed_body=b"{}"),
        answering(nonce="1700000000000000000"),
        answering(caller=OTHER.address),
        answering(status=302, extra="Location: http://169.254.169.254/\r\n", receipt=""),
        answering(status=500, body=b"oops", receipt=""),
    ],
    ids=[
        "missing",
        "zero",
        "malformed",
        "other-key",
        "other-status",
        "other-body",
        "other-nonce",
        "other-caller",
        "redirect",
        "plain-500",
    ],
)
async def test_an_answer_without_its_receipt_is_refused(dendrite: Dendrite, serve: Serve) -> None:
    """Whatever is unsigned, or signed for something else, is not believed."""
    assert (await failure(dendrite, serve)).code is Code.RECEIPT


@pytest.mark.parametrize(
    "serve",
    [
        answering(body=b"not json"),
        answering(body=b'{"text":"a","text":"b"}'),
        answering(body=b'{"text":"a","more":1}'),
        answering(body=b'{"version":2,"text":"a"}'),
        answering(body=b"[" * 4000),
        answering(body=b"x" * 5000),
        answering(status=302, extra="Location: http://169.254.169.254/\r\n"),
        answering(status=418, body=b"tea"),
        answering(body=gzip.compress(b"0" * 10**6), extra="Content-Encoding: gzip\r\n"),
    ],
    ids=[
        "junk",
        "twice",
        "unknown-field",
        "version",
        "nested",
        "large",
        "signed-redirect",
        "no-problem",
        "bomb",
    ],
)
async def test_a_signed_answer_that_is_no_reply_is_invalid(
    dendrite: Dendrite, serve: Serve
) -> None:
    """A signature does not make rubbish an answer; redirects are not followed."""
    assert (await failure(dendrite, serve)).code is Code.PEER_INVALID


async def test_an_endless_answer_is_cut_off_at_the_limit(dendrite: Dendrite) -> None:
    """The dendrite reads no more than the synapse allows and a little buffer."""
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 65536
            await writer.drain()

    assert (await failure(dendrite, flood)).code is Code.PEER_INVALID
    assert sent < 32 * 1024 * 1024


async def test_a_dripping_answer_ends_at_the_deadline(dendrite: Dendrite) -> None:
    """Bytes that keep coming do not extend the time."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for letter in b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 1000:
            writer.write(bytes([letter]))
            await writer.drain()
            await asyncio.sleep(0.01)

    assert (await failure(dendrite, drip, timeout_s=0.2)).code is Code.PEER_LATE


async def test_a_silent_peer_is_late(dendrite: Dendrite) -> None:
    """No answer at all is told apart from nobody there."""

    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    assert (await failure(dendrite, silent, timeout_s=0.1)).code is Code.PEER_LATE


@pytest.mark.parametrize(
    "said",
    [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n"],
)
async def test_what_does_not_speak_http_is_away_or_invalid(dendrite: Dendrite, said: bytes) -> None:
    """Closing at once, another protocol, and endless headers end in an error of the peer."""

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(said)
        await writer.drain()

    error = await failure(dendrite, other)
    assert isinstance(error, PeerError)
    assert error.code in {Code.PEER_AWAY, Code.PEER_INVALID}


async def test_nobody_listening_is_away(dendrite: Dendrite) -> None:
    """A closed port is said to be one."""
    async with server(answering()) as peer:
        pass
    with pytest.raises(PeerError) as caught:
        await dendrite.call(peer, TELL, Text())
    assert caught.value.code is Code.PEER_AWAY


async def test_private_addresses_are_not_called_by_default() -> None:
    """A validator is not made to send requests into its own network."""
    called = False

    async def note(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        nonlocal called
        called = True

    async with server(note) as peer, Dendrite(CALLER) as dendrite:
        with pytest.raises(PeerError) as caught:
            await dendrite.call(peer, TELL, Text())
    assert caught.value.code is Code.ADDRESS_REFUSED
    assert not called


async def test_proxies_of_the_environment_are_not_used(
    dendrite: Dendrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request goes where the chain says, not where a variable says."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with server(answering()) as peer:
        assert (await dendrite.call(peer, TELL, Text())).status == 200


async def test_a_request_over_the_limit_is_not_sent(dendrite: Dendrite) -> None:
    """The mistake is the caller's own, and nobody is bothered with it."""
    with pytest.raises(UsageError) as caught:
        await dendrite.call(Peer(ME.address, "127.0.0.1", 9), TELL, Text(text="x" * 5000))
    assert caught.value.code is Code.TOO_LARGE


async def test_a_fan_out_answers_in_order_and_names_each_fault(dendrite: Dendrite) -> None:
    """The honest answer, the dead, the silent and the liars each have their own outcome."""
    axon = Axon(ME, metagraph=view_of(CALLER.address), limits=TEST_LIMITS)
    axon.attach(TELL, tell)

    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with (
        axon.serving("127.0.0.1"),
        server(silent) as hanging,
        server(answering(signer=OTHER)) as lying,
        server(answering()) as closed,
    ):
        pass_on = [peer_of(axon), hanging, lying, Peer(ME.address, "169.254.169.254", 80)]
        outcomes = await dendrite.fan_out(pass_on * 3, TELL, Text(text="x"), timeout_s=0.3)
    assert closed.port
    codes = [outcome.error.code if outcome.error else None for outcome in outcomes]
    assert codes == [None, Code.PEER_LATE, Code.RECEIPT, Code.ADDRESS_REFUSED] * 3
    assert all(outcome.answer for outcome in outcomes[::4])
    assert [outcome.peer for outcome in outcomes] == pass_on * 3


async def test_a_fan_out_ends_at_its_deadline(dendrite: Dendrite) -> None:
    """Silent peers in every slot do not hold the round longer than its deadline."""

    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(silent) as hanging:
        loop = asyncio.get_running_loop()
        started = loop.time()
        outcomes = await dendrite.fan_out(
            [hanging] * 50, TELL, Text(), timeout_s=5, deadline_s=0.3, concurrency=10
        )
        assert loop.time() - started < 2
    assert [o.error.code for o in outcomes if o.error] == [Code.PEER_LATE] * 50


async def test_a_slow_peer_costs_one_slot(dendrite: Dendrite) -> None:
    """With two slots and one silent peer the other forty answer through the second slot."""

    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(silent) as hanging, server(answering(extra="Connection: close\r\n")) as good:
        outcomes = await dendrite.fan_out(
            [hanging] + [good] * 40, TELL, Text(), timeout_s=1.5, concurrency=2
        )
    assert sum(outcome.answer is not None for outcome in outcomes) == 40
