"""What it takes to test a handler behind a real axon: a metagraph, a clock, limits for tests."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from compute.domain.metagraph import Metagraph, Neuron
from compute.protocol.axon import Axon
from compute.protocol.limits import Limits
from compute.protocol.view import FixedMetagraph

TEST_LIMITS = replace(Limits(), skew_s=0)
"""As in production, but ready at once: test and axon share one clock, so none may be ahead."""


class ManualTime:
    """A clock that stands still until it is told to go on."""

    def __init__(self, now_s: float = 1_800_000_000) -> None:
        self._ns = int(now_s * 1e9)
        self._elapsed = 0.0

    def time_ns(self) -> int:
        """Unix time in nanoseconds."""
        return self._ns

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._ns += int(seconds * 1e9)
        self._elapsed += seconds


def neuron(
    hotkey: str,
    *,
    uid: int = 0,
    stake: float = 10_000,
    validator_permit: bool = True,
    axon: str | None = None,
) -> Neuron:
    """A neuron; a validator with permit and stake unless said otherwise."""
    return Neuron(
        uid=uid,
        hotkey=hotkey,
        coldkey=hotkey,
        axon=axon,
        stake=stake,
        validator_permit=validator_permit,
        incentive=0,
        dividends=0,
        last_update=0,
    )


def metagraph(neurons: Iterable[Neuron] = (), *, netuid: int = 1, block: int = 100) -> Metagraph:
    """A metagraph of these neurons."""
    return Metagraph(netuid=netuid, block=block, neurons=tuple(neurons), tempo=360)


def view_of(*validators: str) -> FixedMetagraph:
    """A fresh view of a subnet whose only neurons are these validators."""
    return FixedMetagraph(metagraph(neuron(key, uid=uid) for uid, key in enumerate(validators)))


@dataclass(frozen=True, slots=True)
class Reply:
    """What an axon answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """`ok`, or the problem's code."""
        return "ok" if self.status == HTTPStatus.OK else str(json.loads(self.body)["code"])


async def post(
    axon: Axon,
    target: str,
    headers: Mapping[str, str] | Sequence[tuple[str, str]],
    body: bytes,
    *,
    method: str = "POST",
    address: str = "192.0.2.1",
) -> Reply:
    """Hand a request to an axon without a network: what its server would make of those bytes.

    Args:
        axon: the axon, started or not.
        target: path and query as they would be sent.
        headers: in order; repeated ones as pairs.
        body: the whole body.
        method: of HTTP.
        address: the caller's network address.
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": [
            (b"content-length", str(len(body)).encode()),
            *((name.lower().encode(), value.encode("latin-1")) for name, value in pairs),
        ],
        "client": (address, 50_000),
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await axon(scope, receive, send)
    start, content = sent
    answered = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], answered, content["body"])
