"""The admission matrix: over 10,000 generated requests, of which only the good ones get in."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from bittensor import http_auth
from bittensor.sp_core import CRYPTO_ED25519, CRYPTO_SR25519

from compute.protocol.axon import Axon
from compute.protocol.context import RequestContext
from compute.protocol.gate import Gate
from compute.protocol.limits import Limits
from compute.protocol.nonces import SqliteNonces
from compute.protocol.synapses import Message, Synapse
from compute.protocol.view import FixedMetagraph
from compute.testing.axon import ManualTime, metagraph, neuron, post
from compute.testing.wallets import DevWallet, dev_wallet

AUTH_HEADERS = (
    http_auth.HEADER_VERSION,
    http_auth.HEADER_HOTKEY,
    http_auth.HEADER_RECEIVER,
    http_auth.HEADER_NONCE,
    http_auth.HEADER_SIGNATURE,
)
UNLIMITED = Limits(
    rate_per_hotkey=0, rate=0, failures_per_address=0, running_per_hotkey=10**6, running=10**6
)


class EchoRequest(Message):
    """Ask for the same text again."""

    text: str


class EchoReply(Message):
    """The text."""

    text: str


ECHO = Synapse("Echo", EchoRequest, EchoReply, 4096, 4096, 5)

ME = dev_wallet("Miner")
OTHER = dev_wallet("Other")
VALIDATOR = dev_wallet("Validator")
VALIDATOR_ED = dev_wallet("ValidatorEd", crypto_type=CRYPTO_ED25519)
LISTED_STRANGER = dev_wallet("Listed")
UNREGISTERED = dev_wallet("Nobody")
POOR = dev_wallet("Poor")
NO_PERMIT = dev_wallet("Permitless")
DENIED = dev_wallet("Denied")
DENIED_AND_LISTED = dev_wallet("DeniedListed")

SUBNET = metagraph(
    [
        neuron(ME.address, uid=0, validator_permit=False),
        neuron(VALIDATOR.address, uid=1, stake=1000),
        neuron(VALIDATOR_ED.address, uid=2),
        neuron(POOR.address, uid=3, stake=999.99),
        neuron(NO_PERMIT.address, uid=4, validator_permit=False),
        neuron(DENIED.address, uid=5),
        neuron(DENIED_AND_LISTED.address, uid=6),
        neuron(OTHER.address, uid=7),
    ]
)
GATE = Gate(
    allow=frozenset({LISTED_STRANGER.address, DENIED_AND_LISTED.address}),
    deny=frozenset({DENIED.address, DENIED_AND_LISTED.address}),
    min_stake=1000,
)
GOOD_CALLERS = (VALIDATOR, VALIDATOR_ED, LISTED_STRANGER)


@dataclass(frozen=True)
class Case:
    """One request and what must become of it."""

    name: str
    headers: dict[str, str] | list[tuple[str, str]]
    body: bytes
    expected: frozenset[str]
    target: str = "/Echo"
    method: str = "POST"


@dataclass
class World:
    """An axon on a manual clock, and what its handler saw."""

    clock: ManualTime = field(default_factory=ManualTime)
    handled: list[str] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(4))  # noqa: S311
    nonces: Any = None

    def axon(self) -> Axon:
        """A process that starts now."""
        axon = Axon(
            ME,
            metagraph=FixedMetagraph(SUBNET),
            gate=GATE,
            limits=UNLIMITED,
            nonces=self.nonces,
            clock=self.clock,
        )
        axon.attach(ECHO, self.echo)
        return axon

    async def echo(self, request: EchoRequest, context: RequestContext) -> EchoReply:
        """Answer, and remember for whom."""
        self.handled.append(context.hotkey)
        return EchoReply(text=request.text)

    def sign(self, wallet: DevWallet, body: bytes, **changes: Any) -> dict[str, str]:
        """Headers of a request that is right but for the changes."""
        self.clock.advance(0.000_001)
        said = {
            "method": "POST",
            "path": "/Echo",
            "receiver_ss58": ME.address,
            "nonce_ns": self.clock.time_ns(),
            **changes,
        }
        return http_auth.sign(wallet, body=body, **said)

    def body(self) -> bytes:
        """A valid body, different each time."""
        text = self.chance.choice(["", "a", "é", "ok" * 20]) + str(self.chance.random())
        return EchoRequest(text=text).model_dump_json().encode()


Maker = Callable[[World], Iterator[Case]]
UNAUTHENTICATED = frozenset({"unauthenticated"})
BENT = UNAUTHENTICATED | {"stale", "replayed", "not_registered", "not_found", "malformed"}


def good(world: World) -> Iterator[Case]:
    """Every kind of caller that belongs in, at every age that is fresh."""
    for index in range(1500):
        wallet = GOOD_CALLERS[index % len(GOOD_CALLERS)]
        age_s = world.chance.uniform(-1.9, min(9.9, index / 100))
        nonce = world.clock.time_ns() - int(age_s * 1e9) + index
        body = world.body()
        headers = world.sign(wallet, body, nonce_ns=nonce)
        if index % 5 == 0 and http_auth.HEADER_CRYPTO not in headers:
            headers[http_auth.HEADER_CRYPTO] = "sr25519"  # said explicitly
        yield Case("good", headers, body, frozenset({"ok"}))


def wrong_callers(world: World) -> Iterator[Case]:
    """Well-signed requests of those who have no business here."""
    callers = (
        (UNREGISTERED, "not_registered"),
        (POOR, "denied"),
        (NO_PERMIT, "denied"),
        (ME, "denied"),
        (DENIED, "denied"),
        (DENIED_AND_LISTED, "denied"),
    )
    for _ in range(200):
        for wallet, code in callers:
            body = world.body()
            yield Case(code, world.sign(wallet, body), body, frozenset({code}))


def wrong_receivers(world: World) -> Iterator[Case]:
    """Requests that were signed for somebody else, also with the receiver rewritten."""
    for index in range(400):
        body = world.body()
        receiver = (OTHER.address, VALIDATOR.address, None)[index % 3]
        headers = world.sign(VALIDATOR, body, receiver_ss58=receiver)
        if index % 2:
            headers[http_auth.HEADER_RECEIVER] = ME.address
        yield Case("receiver", headers, body, UNAUTHENTICATED)


def wrong_targets(world: World) -> Iterator[Case]:
    """Paths and queries that nobody serves, signed as they are."""
    paths = (
        "/echo",
        "/Echo/",
        "//Echo",
        "/%45cho",
        "/Echo%20",
        "/",
        "/Echo;a",
        "/../Echo",
        "/Specs",
    )
    for _ in range(20):
        for path in paths:
            body = world.body()
            headers = world.sign(VALIDATOR, body, path=path)
            yield Case("path", headers, body, frozenset({"not_found"}), target=path)
        for path in ("/Echo?a=1", "/Echo?%45", "/Echo?/Echo"):
            body = world.body()
            headers = world.sign(VALIDATOR, body, path=path)
            yield Case("query", headers, body, frozenset({"malformed"}), target=path)


def wrong_times(world: World) -> Iterator[Case]:
    """Nonces too old, too far ahead, or older than this process."""
    for _ in range(400):
        body = world.body()
        old = world.clock.time_ns() - int(world.chance.uniform(10.001, 1e6) * 1e9)
        yield Case("stale", world.sign(VALIDATOR, body, nonce_ns=old), body, frozenset({"stale"}))
        ahead = world.clock.time_ns() + int(world.chance.uniform(2.01, 1e6) * 1e9)
        yield Case(
            "future", world.sign(VALIDATOR, body, nonce_ns=ahead), body, frozenset({"stale"})
        )


def wrong_headers(world: World) -> Iterator[Case]:
    """Every authentication header missing, empty, malformed, repeated or from another request."""
    junk = ("", " ", "0", "-1", "+1", "null", "0x", "é", "1_0", "9" * 400, "\u00b2", "a b", "1\t")
    for _ in range(25):
        for name in AUTH_HEADERS:
            body = world.body()
            base = world.sign(VALIDATOR, body)
            without = {key: value for key, value in base.items() if key != name}
            yield Case(f"no {name}", without, body, UNAUTHENTICATED)
            for value in junk:
                yield Case(f"junk {name}", {**base, name: value}, body, UNAUTHENTICATED)
            for value in (base[name] + " ", " " + base[name], base[name] + "0", base[name][:-1]):
                refused = UNAUTHENTICATED | {"stale"}  # a digit more or less is another time
                yield Case(f"bent {name}", {**base, name: value}, body, refused)
            twice = [*base.items(), (name, base[name])]
            yield Case(f"twice {name}", twice, body, UNAUTHENTICATED)
            if name not in (http_auth.HEADER_VERSION, http_auth.HEADER_RECEIVER):
                mixed = {**base, name: world.sign(VALIDATOR_ED, world.body())[name]}
                yield Case(f"mixed {name}", mixed, body, UNAUTHENTICATED)


def wrong_schemes(world: World) -> Iterator[Case]:
    """Signatures that are declared to be of another kind than they are."""
    for _ in range(40):
        for wallet in (VALIDATOR, VALIDATOR_ED):
            body = world.body()
            base = world.sign(wallet, body)
            actual = "ed25519" if wallet is VALIDATOR_ED else "sr25519"
            other = "sr25519" if wallet is VALIDATOR_ED else "ed25519"
            for scheme in (other, actual.upper(), "0", "1", "", "ecdsa", f" {actual}"):
                headers = {**base, http_auth.HEADER_CRYPTO: scheme}
                yield Case("scheme", headers, body, UNAUTHENTICATED)
    twin = dev_wallet("Validator", crypto_type=CRYPTO_ED25519)  # same seed, other curve
    body = world.body()
    yield Case("twin", world.sign(twin, body), body, frozenset({"not_registered"}))
    assert VALIDATOR.hotkey.crypto_type == CRYPTO_SR25519


def wrong_signers(world: World) -> Iterator[Case]:
    """A stranger who signs well and writes a validator's name."""
    for _ in range(300):
        body = world.body()
        headers = world.sign(UNREGISTERED, body)
        headers[http_auth.HEADER_HOTKEY] = VALIDATOR.address
        yield Case("impostor", headers, body, UNAUTHENTICATED)


def flipped(world: World) -> Iterator[Case]:
    """Every single flipped bit of body, path, query, method and each authentication header."""
    query = "/Echo?a=1&b=2"
    for wallet in (VALIDATOR, VALIDATOR_ED):
        body = EchoRequest(text="flip me").model_dump_json().encode()

        def fresh(path: str = "/Echo", wallet: DevWallet = wallet, body: bytes = body) -> Any:
            return world.sign(wallet, body, path=path)

        for bent in _flips(body.decode()):
            yield Case("body", fresh(), bent.encode("latin-1"), UNAUTHENTICATED)
        for name in fresh():
            for index in range(8 * len(fresh()[name])):
                base = fresh()
                yield Case(name, {**base, name: _flip(base[name], index)}, body, BENT)
        for bent in _flips("/Echo"):
            yield Case("path", fresh(), body, BENT, target=bent)
        for bent in _flips("POST"):
            yield Case("method", fresh(), body, BENT, method=bent)
        for bent in _flips(query):
            yield Case("query", fresh(query), body, BENT, target=bent)
        yield Case("added query", fresh(), body, BENT, target="/Echo?a=1")
        yield Case("lost query", fresh(query), body, BENT)


def _flips(text: str) -> Iterator[str]:
    return (_flip(text, index) for index in range(8 * len(text)))


def _flip(text: str, index: int) -> str:
    bent = bytearray(text.encode())
    bent[index // 8] ^= 1 << index % 8
    return bent.decode("latin-1")


MAKERS: tuple[Maker, ...] = (
    good,
    wrong_callers,
    wrong_receivers,
    wrong_targets,
    wrong_times,
    wrong_headers,
    wrong_schemes,
    wrong_signers,
    flipped,
)


@pytest.fixture
def world() -> World:
    """A world without an axon yet."""
    return World()


@pytest.mark.timeout(120)
async def test_of_ten_thousand_requests_exactly_the_good_ones_get_in(world: World) -> None:
    """Nothing that should stay out reaches the handler, and nothing good is turned away."""
    axon = world.axon()
    world.clock.advance(20)
    counts: Counter[str] = Counter()
    for make in MAKERS:
        for case in make(world):
            before = len(world.handled)
            reply = await post(axon, case.target, case.headers, case.body, method=case.method)
            reached = len(world.handled) - before
            assert reply.code in case.expected, (case, reply)
            assert reached == (case.expected == {"ok"}), case
            assert reply.status < 500, case
            counts[make.__name__] += 1
    assert counts.total() >= 10_000, counts
    assert len(world.handled) == counts["good"]


async def test_a_replay_never_gets_in(world: World) -> None:
    """Each request gets in once, however often and in whatever order it is sent again."""
    axon = world.axon()
    world.clock.advance(20)
    requests = []
    for index in range(300):
        body = world.body()
        requests.append((world.sign(GOOD_CALLERS[index % 3], body), body))
    for headers, body in requests:
        assert (await post(axon, "/Echo", headers, body)).code == "ok"
    for _ in range(3):
        world.chance.shuffle(requests)
        world.clock.advance(1)
        for headers, body in requests:
            assert (await post(axon, "/Echo", headers, body)).code == "replayed"
    assert len(world.handled) == 300


async def test_a_replay_after_a_restart_never_gets_in(world: World) -> None:
    """A restarted process admits nothing that its predecessor could have admitted."""
    for _ in range(100):
        first = world.axon()
        world.clock.advance(20)
        body = world.body()
        ahead_s = world.chance.uniform(-5, 1.99)
        nonce = world.clock.time_ns() + int(ahead_s * 1e9)
        headers = world.sign(VALIDATOR, body, nonce_ns=nonce)
        assert (await post(first, "/Echo", headers, body)).code == "ok"
        world.clock.advance(world.chance.uniform(0.001, 3))
        second = world.axon()
        for pause_s in (0, 0.5, 1.6, 3):
            world.clock.advance(pause_s)
            reply = await post(second, "/Echo", headers, body)
            assert reply.code in {"replayed", "busy", "stale"}, (ahead_s, pause_s)
    assert len(world.handled) == 100


async def test_a_shared_store_needs_no_pause_after_a_restart(world: World, tmp_path: Any) -> None:
    """With a durable store a restarted process serves at once and still admits no replay."""
    world.nonces = SqliteNonces(tmp_path / "nonces.sqlite")
    first = world.axon()
    world.clock.advance(20)
    body = world.body()
    headers = world.sign(VALIDATOR, body, nonce_ns=world.clock.time_ns() + 1_900_000_000)
    assert (await post(first, "/Echo", headers, body)).code == "ok"
    world.nonces = SqliteNonces(tmp_path / "nonces.sqlite")
    second = world.axon()
    assert (await post(second, "/Echo", headers, body)).code == "replayed"
    fresh = world.sign(VALIDATOR, body)
    assert (await post(second, "/Echo", fresh, body)).code == "ok"
    unsent = world.sign(VALIDATOR, body, nonce_ns=world.clock.time_ns() - 1_000_000_000)
    assert (await post(second, "/Echo", unsent, body)).code == "replayed"  # older than the process


async def test_a_just_started_process_says_when_to_come_back(world: World) -> None:
    """While old and new nonces cannot be told apart the answer is busy, with the time to wait."""
    axon = world.axon()
    body = world.body()
    reply = await post(axon, "/Echo", world.sign(VALIDATOR, body), body)
    assert reply.code == "busy"
    world.clock.advance(float(reply.headers["retry-after"]))
    assert (await post(axon, "/Echo", world.sign(VALIDATOR, body), body)).code == "ok"
