"""The limits of an axon, one by one: what is read, from whom, how often."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from bittensor import http_auth

from compute.protocol.auth import Signer
from compute.protocol.axon import Axon
from compute.protocol.codec import encode
from compute.protocol.context import RequestContext
from compute.protocol.gate import Gate, Policy, listed, registered, validators
from compute.protocol.limits import Limits
from compute.protocol.synapses import Message, Synapse
from compute.protocol.view import FixedMetagraph
from compute.testing.axon import TEST_LIMITS, ManualTime, Reply, metagraph, neuron, post, view_of
from compute.testing.wallets import DevWallet, dev_wallet

ME, CALLER, SECOND, STRANGER = (dev_wallet(name) for name in ("Me", "Caller", "Two", "Stranger"))
MIB = 1024 * 1024


class Text(Message):
    """Any text."""

    text: str = ""


TELL = Synapse("Tell", Text, Text, 8 * MIB, 8 * MIB, 5)


async def tell(_request: Text, _context: RequestContext) -> Text:
    """Nothing."""
    return Text()


def axon_with(clock: ManualTime, limits: Limits = TEST_LIMITS, **more: Any) -> Axon:
    axon = Axon(
        ME,
        metagraph=view_of(CALLER.address, SECOND.address),
        limits=limits,
        clock=clock,
        **more,
    )
    axon.attach(TELL, tell)
    return axon


def signed(clock: ManualTime, wallet: DevWallet, body: bytes) -> dict[str, str]:
    clock.advance(1e-6)
    return http_auth.sign(
        wallet,
        method="POST",
        path="/Tell",
        body=body,
        receiver_ss58=ME.address,
        nonce_ns=clock.time_ns(),
    )


async def ask(axon: Axon, clock: ManualTime, wallet: DevWallet = CALLER, **more: Any) -> Reply:
    body = encode(Text())
    return await post(axon, "/Tell", signed(clock, wallet, body), body, **more)


async def read_of(axon: Axon, headers: Mapping[str, str], pieces: int) -> tuple[str, int]:
    """Offer a body in pieces of 64 KiB without saying how long it is; how many were taken."""
    taken = 0
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b" " * 65_536, "more_body": taken < pieces}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "raw_path": b"/Tell",
        "query_string": b"",
        "headers": [
            (b"transfer-encoding", b"chunked"),
            *((name.lower().encode(), value.encode()) for name, value in headers.items()),
        ],
        "client": ("192.0.2.1", 1),
    }
    await axon(scope, receive, send)
    return Reply(sent[0]["status"], {}, sent[1]["body"]).code, taken


async def test_a_strangers_large_body_is_never_read() -> None:
    """Who would not be admitted is told so before a byte of a body of unknown size."""
    clock = ManualTime()
    axon = axon_with(clock)
    code, taken = await read_of(axon, signed(clock, STRANGER, b""), pieces=100)
    assert (code, taken) == ("not_registered", 0)


async def test_reading_stops_at_the_limit() -> None:
    """A body of unknown size is read up to the synapse's limit and no further."""
    clock = ManualTime()
    code, taken = await read_of(axon_with(clock), signed(clock, CALLER, b""), pieces=10_000)
    assert (code, taken) == ("too_large", 8 * 16 + 1)


async def test_bodies_stay_within_the_budget_and_give_it_back() -> None:
    """Past the budget the answer is busy, and afterwards there is room again."""
    clock = ManualTime()
    axon = axon_with(clock, replace(TEST_LIMITS, body_budget_bytes=MIB))
    for _ in range(3):
        code, taken = await read_of(axon, signed(clock, CALLER, b""), pieces=100)
        assert (code, taken) == ("busy", 17)
    assert (await ask(axon, clock)).code == "ok"


async def test_each_hotkey_has_its_own_rate() -> None:
    """One hotkey's flood is told to wait, another's call passes, and the wait is honest."""
    clock = ManualTime()
    axon = axon_with(clock, replace(TEST_LIMITS, rate_per_hotkey=2, burst_per_hotkey=5))
    codes = [(await ask(axon, clock)).code for _ in range(6)]
    assert codes == ["ok"] * 5 + ["rate_limited"]
    assert (await ask(axon, clock, SECOND)).code == "ok"
    clock.advance(float((await ask(axon, clock)).headers["retry-after"]))
    assert (await ask(axon, clock)).code == "ok"


async def test_all_callers_together_have_a_rate() -> None:
    """The sum is limited as well."""
    clock = ManualTime()
    axon = axon_with(clock, replace(TEST_LIMITS, rate=1, burst=3))
    codes = [(await ask(axon, clock, wallet)).code for wallet in (CALLER, SECOND) * 2]
    assert codes == ["ok"] * 3 + ["rate_limited"]


async def test_an_address_with_bad_signatures_is_refused_unseen() -> None:
    """After enough bad signatures even a good one from there waits; other addresses do not."""
    clock = ManualTime()
    axon = axon_with(clock, replace(TEST_LIMITS, failures_per_address=1, failure_burst=5))
    for _ in range(5):
        bad = {**signed(clock, CALLER, b"{}"), "X-Bittensor-Signature": "0x" + "0" * 128}
        assert (await post(axon, "/Tell", bad, b"{}")).code == "unauthenticated"
    assert (await ask(axon, clock)).code == "rate_limited"
    assert (await ask(axon, clock, address="192.0.2.2")).code == "ok"
    clock.advance(1)
    assert (await ask(axon, clock)).code == "ok"


async def test_refused_strangers_cost_the_admitted_nothing() -> None:
    """Well-signed calls of strangers use up nobody's rate."""
    clock = ManualTime()
    axon = axon_with(clock, replace(TEST_LIMITS, rate=1, burst=2))
    for _ in range(50):
        assert (await ask(axon, clock, STRANGER)).code == "not_registered"
    assert (await ask(axon, clock)).code == "ok"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (validators, ["ok", "denied", "denied", "denied", "ok", "not_registered", "denied"]),
        (registered, ["ok", "ok", "ok", "ok", "ok", "not_registered", "denied"]),
        (listed, ["denied", "denied", "denied", "denied", "ok", "not_registered", "denied"]),
    ],
)
async def test_policies(policy: Policy, expected: list[str]) -> None:
    """Validator, poor, without permit, with no number for a stake, listed, stranger, denied."""
    wallets = [dev_wallet(f"p{index}") for index in range(7)]
    known = [
        neuron(wallets[0].address, uid=0),
        neuron(wallets[1].address, uid=1, stake=1),
        neuron(wallets[2].address, uid=2, validator_permit=False),
        neuron(wallets[3].address, uid=3, stake=float("nan")),
        neuron(wallets[6].address, uid=6),
    ]
    gate = Gate(
        allow=frozenset({wallets[4].address, wallets[6].address}),
        deny=frozenset({wallets[6].address}),
    )
    clock = ManualTime()
    axon = Axon(
        ME, metagraph=FixedMetagraph(metagraph(known)), gate=gate, limits=TEST_LIMITS, clock=clock
    )
    axon.attach(TELL, tell, policy=policy)
    assert [(await ask(axon, clock, wallet)).code for wallet in wallets] == expected


async def test_no_gate_admits_nobody_by_accident() -> None:
    """An axon made without any settings still asks for permit and stake."""
    clock = ManualTime()
    poor = neuron(CALLER.address, stake=999)
    axon = Axon(ME, metagraph=FixedMetagraph(metagraph([poor])), limits=TEST_LIMITS, clock=clock)
    axon.attach(TELL, tell)
    assert (await ask(axon, clock)).code == "denied"


def test_our_signer_is_the_sdks() -> None:
    """What the dendrite sends verifies with the SDK alone, and nonces never repeat."""
    clock = ManualTime()
    seen = http_auth.InMemoryNonceStore()
    for crypto_type in (0, 1):
        signer = Signer(dev_wallet("Any", crypto_type=crypto_type).hotkey, clock)
        for _ in range(3):
            claim = signer.sign(ME.address, method="POST", target="/Tell", body=b"x")
            caller = http_auth.verify(
                claim.headers(),
                b"x",
                method="POST",
                path="/Tell",
                self_hotkey_ss58=ME.address,
                nonce_store=seen,
                now_ns=clock.time_ns(),
            )
            assert caller.crypto_type == crypto_type


def test_a_store_that_forgets_too_soon_is_refused() -> None:
    """A window longer than the memory of nonces would admit replays."""
    with pytest.raises(ValueError, match="forgets"):
        Axon(ME, metagraph=view_of(), limits=replace(TEST_LIMITS, max_age_s=61))
