"""An axon under abuse: each attack ends within its limit, and honest callers notice nothing."""

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles

import psutil
import pytest
from bittensor import http_auth

from compute.protocol.address import Peer
from compute.protocol.dendrite import Dendrite
from compute.protocol.synapses import Message, Synapse
from compute.testing.wallets import dev_wallet

ME, CALLER = dev_wallet("Me"), dev_wallet("Caller")
MIB = 1024 * 1024
ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[2])}
PATIENCE_S = 8  # an attack that is still open after so long was not ended by the axon


class Text(Message):
    """Any text."""

    text: str = ""


TELL = Synapse("Tell", Text, Text, 65_536, 65_536, 5)


class Target:
    """A process with an axon in it."""

    def __init__(self, port: int, pid: int) -> None:
        self.peer = Peer(ME.address, "127.0.0.1", port)
        self.pid = pid
        self._process = psutil.Process(pid)

    @property
    def rss(self) -> int:
        """Resident memory in bytes."""
        return int(self._process.memory_info().rss)

    @property
    def peak_rss(self) -> int:
        """The most resident memory that it ever had, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])

    @property
    def connections(self) -> int:
        """Open connections to it."""
        inside = self._process.net_connections("tcp")
        return sum(item.status == psutil.CONN_ESTABLISHED for item in inside)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """A served axon with short limits."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("axon_process.py")), "impatient"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    with process:
        try:
            assert process.stdout
            yield Target(int(process.stdout.readline()), process.pid)
        finally:
            process.terminate()


def request(body: bytes, *headers: str, length: int | None = None, chunked: bool = False) -> bytes:
    """A well-signed request with any body."""
    signed = http_auth.sign(
        CALLER, method="POST", path="/Tell", body=body, receiver_ss58=ME.address
    )
    framing = (
        "Transfer-Encoding: chunked"
        if chunked
        else f"Content-Length: {len(body) if length is None else length}"
    )
    lines = [
        "POST /Tell HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        framing,
        *(f"{name}: {value}" for name, value in signed.items()),
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


async def converse(
    target: Target,
    sent: bytes,
    *,
    then: Callable[[asyncio.StreamWriter], Awaitable[None]] | None = None,
) -> bytes:
    """Send bytes, and then whatever `then` sends; give everything that came back until the end.

    Raises:
        TimeoutError: when the axon neither answered nor hung up.
    """
    reader, writer = await asyncio.open_connection(target.peer.host, target.peer.port)
    more: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            writer.write(sent)
            if then is not None:
                more = asyncio.ensure_future(then(writer))  # type: ignore[arg-type]
            try:
                return await reader.read()
            except ConnectionError:
                return b""
    finally:
        if more is not None:
            more.cancel()
            await asyncio.gather(more, return_exceptions=True)
        writer.close()


def code_of(answer: bytes) -> str:
    """The code of a problem, or an empty string when there was no answer."""
    if not answer:
        return ""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"x-compute-receipt: sr25519:0x" in head, head
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return str(json.loads(body[:length]).get("code", "ok"))


async def drip(writer: asyncio.StreamWriter) -> None:
    """One byte every tenth of a second, for ever."""
    while True:
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.1)


async def flood(writer: asyncio.StreamWriter) -> None:
    """Bytes as fast as they are taken, for ever."""
    while True:
        writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        await writer.drain()


async def flood_line(writer: asyncio.StreamWriter) -> None:
    """One line without an end, as fast as it is taken."""
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


BOMB = gzip.compress(b"0" * 50 * MIB)
DEEP = b"[" * 60_000
REPEATED = b'{"text":"a","text":"b"}'
BINARY = b'{"text":"\xff\xfe"}'


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: request(DEEP) + DEEP, {"malformed"}),
        (lambda: request(REPEATED) + REPEATED, {"malformed"}),
        (lambda: request(BINARY) + BINARY, {"malformed"}),
        (lambda: request(BOMB, "Content-Encoding: gzip", length=len(BOMB)) + BOMB, {"malformed"}),
        (lambda: request(b"", "Content-Encoding: br", length=9), {"malformed"}),
        (lambda: request(b"", length=65_537), {"too_large"}),
        (lambda: request(b"", length=10**15), {"too_large"}),
        (lambda: request(b"", length=-1), {"malformed"}),
        (lambda: request(b"", "Content-Length: 5", chunked=True) + b"0\r\n\r\n", {"malformed"}),
        (lambda: request(b"", "A: " + "x" * 20_000, length=0), {"too_large"}),
        (lambda: request(b"", *("A: b" for _ in range(9000)), length=0), {"too_large"}),
        (lambda: b"GET /" + b"x" * 30_000 + b" HTTP/1.1\r\n\r\n", {"too_large"}),
        (lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", {"malformed"}),
        (lambda: b"SSH-2.0-OpenSSH_9.2\r\n", {"malformed"}),
        (lambda: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {"malformed"}),
        (lambda: b"CONNECT 169.254.169.254:80 HTTP/1.1\r\n\r\n", {"malformed", "not_found"}),
        (lambda: b"GET http:// HTTP/1.1\r\n\r\n", {"malformed", "not_found"}),
        (lambda: b"POST /Tell HTTP/1.0\r\n\r\n", {"unauthenticated"}),
        (lambda: b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", {"malformed", "not_found"}),
    ],
    ids=[
        "deep", "repeated", "binary", "bomb", "brotli", "large", "huge", "negative", "both-lengths",
        "long-header", "many-headers", "long-target", "tls", "ssh", "http2", "connect", "absolute",
        "http10", "path",
    ],
)  # fmt: skip
async def test_one_bad_request(
    target: Target, make: Callable[[], bytes], expected: set[str]
) -> None:
    """Each is answered with a signed problem, and the connection ends by itself."""
    assert code_of(await converse(target, make())) in expected


@pytest.mark.parametrize(
    ("make", "then"),
    [
        (lambda: b"", None),
        (lambda: b"POST /Tell HTTP/1.1\r\n", None),
        (lambda: b"POST /Tell HTTP/1.1\r\nA: ", drip),
        (lambda: request(b"", length=1000), None),
        (lambda: request(b"", length=1000), drip),
        (lambda: request(b"", chunked=True) + b"3e8\r\n", drip),
        (lambda: request(b"", chunked=True), flood),
        (lambda: request(b"", length=10**9), flood),
        (lambda: b"POST /Tell HTTP/1.1\r\nA: ", flood_line),
        (lambda: b"GET /", flood_line),
        (lambda: request(b"", chunked=True) + b"0\r\nA: ", flood_line),
        (lambda: request(b"", chunked=True) + b"5;", flood_line),
        (lambda: b"GET /healthz HTTP/1.1\r\n\r\n", None),
        (lambda: b"GET /healthz HTTP/1.1\r\n\r\n" * 1000, None),
    ],
    ids=[
        "silent", "half-head", "slow-head", "no-body", "slow-body", "slow-chunk", "endless-chunks",
        "endless-body", "endless-header", "endless-target", "endless-trailer", "endless-extension",
        "idle", "pipelined",
    ],
)  # fmt: skip
async def test_one_bad_connection(
    target: Target,
    make: Callable[[], bytes],
    then: Callable[[asyncio.StreamWriter], Awaitable[None]] | None,
) -> None:
    """Whoever never finishes, or never stops, is hung up on, and nothing of it is kept."""
    before = target.peak_rss
    await converse(target, make(), then=then)
    assert target.peak_rss - before < 8 * MIB


async def test_one_address_cannot_take_every_connection(target: Target) -> None:
    """Beyond its share an address is hung up on at once, and gets its place back later."""
    held = [await asyncio.open_connection("127.0.0.1", target.peer.port) for _ in range(300)]
    reader, writer = await asyncio.open_connection("127.0.0.1", target.peer.port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
    finally:
        for _, one in [*held, (reader, writer)]:
            one.close()
    await asyncio.sleep(0.1)
    assert b"200" in await converse(target, b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")


async def attack_forever(target: Target) -> None:
    """Two hundred attackers of all kinds, each starting again a second after its end."""
    attacks: list[Callable[[], Awaitable[bytes]]] = [
        lambda: converse(target, b"POST /Tell HTTP/1.1\r\nA: ", then=drip),
        lambda: converse(target, request(b"", length=1000), then=drip),
        lambda: converse(target, request(b"", length=10**9)),
        lambda: converse(target, request(DEEP) + DEEP),
        lambda: converse(target, request(BOMB, "Content-Encoding: gzip") + BOMB),
    ]

    async def attacker(number: int) -> None:
        await asyncio.sleep(number / 200)
        while True:
            await attacks[number % len(attacks)]()
            await asyncio.sleep(1)

    await asyncio.gather(*(attacker(number) for number in range(200)))


@asynccontextmanager
async def attackers(target: Target) -> AsyncIterator[None]:
    """The attackers, in a process of their own so that they slow down nobody but the axon."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, str(target.peer.port), str(target.pid), env=ENVIRONMENT
    )
    try:
        await asyncio.sleep(3)  # until all of them are at work
        yield
        assert process.returncode is None, "the attackers gave up"
    finally:
        process.kill()
        await process.wait()


async def p99_ms(dendrite: Dendrite, target: Target) -> float:
    """99th percentile of an honest caller's calls, one after the other."""
    took_ms = []
    for _ in range(400):
        answer = await dendrite.call(target.peer, TELL, Text(text="honest"))
        took_ms.append(answer.elapsed_s * 1000)
        await asyncio.sleep(0.005)
    return quantiles(took_ms, n=100)[98]


@pytest.mark.timeout(120)
async def test_honest_callers_notice_nothing(target: Target) -> None:
    """Among two hundred attackers an honest caller's 99th percentile is under 100 ms."""
    async with Dendrite(CALLER, allow_private=True) as dendrite:
        for _ in range(200):  # warm
            await dendrite.call(target.peer, TELL, Text())
        before = target.rss
        async with attackers(target):
            for _ in range(3):  # others may keep this machine busy for a while
                p99 = await p99_ms(dendrite, target)
                if p99 < 100:
                    break
            grown = target.rss - before
        assert p99 < 100
        assert grown < 64 * MIB
        await asyncio.sleep(1.5)
        await dendrite.call(target.peer, TELL, Text())
        assert target.connections <= 2  # the caller's own


if __name__ == "__main__":
    asyncio.run(attack_forever(Target(int(sys.argv[1]), int(sys.argv[2]))))
