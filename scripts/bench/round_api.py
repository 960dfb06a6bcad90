"""Load on the validator's APIs: the server in a process of its own, keep-alive clients in this."""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from compute.crypto import sshkeys
from scripts.bench.proof_rows import Row
from scripts.bench.round_subnet import VALIDATOR, Subnet

READERS = 64
RENTERS = 200
MINERS = 4
PLACES = 60_000


@dataclass
class Tally:
    """What a load saw.

    Attributes:
        ms: how long each request took.
        bad: answers that were not as expected.
    """

    ms: list[float] = field(default_factory=list)
    bad: int = 0
    leases: list[str] = field(default_factory=list)
    why: Counter[str] = field(default_factory=Counter)

    def percentile(self, share: float) -> float:
        """The time that this share of the requests stayed below."""
        return sorted(self.ms)[min(len(self.ms) - 1, int(share * len(self.ms)))]


class Connection:
    """One keep-alive connection that speaks just enough HTTP."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, head: bytes, body: bytes = b"") -> tuple[int, bytes]:
        """One request; gives status and body."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(head + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        status = int(answer[9:12])
        length = 0
        for line in answer.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        return status, await reader.readexactly(length)

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()


async def load(
    port: int, clients: int, seconds: float, work: Callable[[Connection, int], Awaitable[None]]
) -> float:
    """Let so many clients work for so long; gives the seconds it really took."""
    begun = time.monotonic()

    async def client(number: int) -> None:
        connection = Connection(port)
        while time.monotonic() - begun < seconds:
            await work(connection, number)
        connection.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return time.monotonic() - begun


@contextmanager
def server(kind: str, config: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Run a server process; gives what it says of itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.bench.round_server", kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if process.stdin is None or process.stdout is None:
        raise SystemExit("the server has no pipes")
    if config is not None:
        process.stdin.write(json.dumps(config) + "\n")
        process.stdin.flush()
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(20)


def weights_rows(seconds: float) -> Iterator[Row]:
    """How many readers of the newest vector one process serves."""
    tally = Tally()
    head = b"GET /v1/weights/latest HTTP/1.1\r\nHost: bench\r\n\r\n"

    async def read(connection: Connection, _number: int) -> None:
        begun = time.perf_counter()
        status, _ = await connection.request(head)
        tally.ms.append((time.perf_counter() - begun) * 1000)
        tally.bad += status != 200  # noqa: PLR2004 - the one good answer

    with server("weights") as said:
        took = uvloop.run(load(said["port"], READERS, seconds, read))
    count = len(tally.ms)
    yield Row("weights_get_rps", count / took, "1/s", count)
    yield Row("weights_get_p50_ms", tally.percentile(0.50), "ms", count)
    yield Row("weights_get_p99_ms", tally.percentile(0.99), "ms", count)
    yield Row("weights_get_bad", tally.bad, "answers", count)


def order_of() -> bytes:
    """An order as JSON."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    order = {
        "duration_s": 5,
        "renter_public_key": pem.decode(),
        "ssh_public_key": sshkeys.generate().public,
    }
    return json.dumps(order).encode()


def allocation_rows(seconds: float) -> Iterator[Row]:
    """How long orders take while two hundred tenants order at once, and whether all are kept."""
    tally, numbers, body = Tally(), iter(range(1 << 60)), order_of()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compute-bench-")))
        subnet = stack.enter_context(Subnet(folder, MINERS, places=PLACES))
        run = {
            "network": subnet.host.network,
            "netuid": subnet.host.netuid,
            "phrase": VALIDATOR,
            "url": f"sqlite:///{folder / 'validator.sqlite'}",
            "tenants": RENTERS,
            "settings": {
                "policy": "dev",
                "poll_s": 0.5,
                "cadence": {"specs": 100_000, "proofs": 100_000, "pings": 20, "offers": 20},
            },
        }
        said = stack.enter_context(server("rentals", run))

        async def order(connection: Connection, number: int) -> None:
            head = (
                "POST /v1/leases HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                f"Authorization: Bearer {said['tokens'][number]}\r\n"
                f"Idempotency-Key: order-{next(numbers):08d}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            begun = time.perf_counter()
            status, answer = await connection.request(head.encode(), body)
            tally.ms.append((time.perf_counter() - begun) * 1000)
            content = json.loads(answer)
            if status == 201 and content["state"] == "active":  # noqa: PLR2004 - made
                tally.leases.append(content["lease"])
            else:
                tally.bad += 1
                tally.why[f"{status} {content.get('code') or content.get('detail')}"] += 1

        took = uvloop.run(load(said["port"], RENTERS, seconds, order))
    if tally.why:
        print(f"lost: {dict(tally.why)}", file=sys.stderr)
    count = len(tally.ms)
    yield Row("allocations_rps", count / took, "1/s", count)
    yield Row("allocations_p50_ms", tally.percentile(0.50), "ms", count)
    yield Row("allocations_p99_ms", tally.percentile(0.99), "ms", count)
    yield Row("allocations_lost", tally.bad, "orders", count)
    yield Row("allocations_doubled", count - tally.bad - len(set(tally.leases)), "leases", count)
