"""The peer's side of the axon bench: bittensor 10.5's Axon and Dendrite, in their environment.

::

    python axon_peer.py serve              prints its port, serves until standard input ends
    python axon_peer.py call PORT N S      keeps N requests in flight for S seconds

One dendrite for each request in flight: the peer's axon refuses a nonce that is lower than the
last from the same dendrite, and would turn requests away that overtake each other.
"""

import asyncio
import socket
import sys
from types import SimpleNamespace
from typing import ClassVar, Tuple  # noqa: UP035 - the peer compares signatures

import bittensor as bt
from bittensor.utils import networking
from bittensor_wallet import Keypair

# The peer's constructor asks services on the internet for this machine's address.
networking.get_external_ip = lambda: "127.0.0.1"

sys.path.insert(0, __file__.rpartition("/")[0])
from axon_load import PAYLOAD, load, say  # type: ignore[import-not-found]  # noqa: E402


class Echo(bt.Synapse):  # type: ignore[misc]
    """The same text."""

    text: str = ""
    required_hash_fields: ClassVar[tuple[str, ...]] = (
        "text",
    )  # signs the body, as the product does


def wallet(name: str) -> SimpleNamespace:
    """A development wallet."""
    key = Keypair.create_from_uri(f"//{name}")
    return SimpleNamespace(hotkey=key, coldkeypub=key, coldkey=key)


def forward(synapse: Echo) -> Echo:
    """Answer."""
    return synapse


ADMITTED = wallet("Alice").hotkey.ss58_address


def blacklist(synapse: Echo) -> Tuple[bool, str]:  # noqa: UP006 - the peer compares signatures
    """Admit one caller."""
    return synapse.dendrite.hotkey != ADMITTED, "unknown"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def serve() -> None:
    """Serve until standard input ends."""
    port = free_port()
    axon = bt.Axon(wallet=wallet("Bob"), port=port, ip="127.0.0.1", external_ip="127.0.0.1")
    axon.attach(forward_fn=forward, blacklist_fn=blacklist)
    axon.start()
    say(port)
    sys.stdin.read()
    axon.stop()


async def call(port: int, in_flight: int, seconds: float) -> None:
    """Load the axon at a port."""
    target = bt.AxonInfo(
        version=1,
        ip="127.0.0.1",
        port=port,
        ip_type=4,
        hotkey=wallet("Bob").hotkey.ss58_address,
        coldkey=wallet("Bob").hotkey.ss58_address,
    )
    dendrites = [bt.Dendrite(wallet=wallet("Alice").hotkey) for _ in range(in_flight)]

    async def once(number: int) -> bool:
        answer = await dendrites[number].call(
            target_axon=target, synapse=Echo(text=PAYLOAD), timeout=12, deserialize=False
        )
        return bool(answer.dendrite.status_code == 200 and answer.text == PAYLOAD)  # noqa: PLR2004

    say(await load(once, in_flight, seconds))
    await asyncio.gather(*(dendrite.aclose_session() for dendrite in dendrites))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        asyncio.run(call(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
