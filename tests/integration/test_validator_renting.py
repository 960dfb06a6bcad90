"""Renting through a validator: its API over real HTTP, against simulated miners."""

import asyncio
import hmac
import json
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from compute.adapters.chain.devchain import ChainParams, SubnetParams
from compute.crypto import envelope, possession, sshkeys
from compute.domain.evidence import EvidenceKind, Outcome, Reason
from compute.domain.measurement import PingContent
from compute.errors import Code
from compute.protocol.synapses import Credentials, LeaseAction, LeaseArguments
from compute.settings.validation import CadenceSettings, DeadlineSettings, ValidationSettings
from compute.testing.axon import view_of
from compute.testing.chain import DevHost
from compute.testing.miners import SimulatedMiner, gpu, serving
from compute.testing.validating import ValidatorRun, small_classes, validating
from compute.validator.api import rentals
from compute.validator.api.compose import validator_app
from compute.validator.api.server import serving as serving_app
from compute.validator.service import ValidatorService

KEY = rsa.generate_private_key(public_exponent=65537, key_size=3072)
PEM = (
    KEY.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
SSH = sshkeys.generate().public
SETTINGS = ValidationSettings(
    policy="dev",
    poll_s=0.02,
    metagraph_every=1,
    private_webhooks=True,
    cadence=CadenceSettings(specs=1000, proofs=1000, pings=2, offers=2, jitter=0),
    deadline=DeadlineSettings(specs_s=1.0, setup_s=2.0, ping_s=0.5),
)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DevHost:
    monkeypatch.setenv("BTCLI_TOKEN_SYMBOLS_CACHE", str(tmp_path / "symbols.json"))
    params = SubnetParams(tempo=1000, weights_rate_limit=1, serving_rate_limit=0)
    return DevHost(tmp_path, params, ChainParams(block_s=0.2))


@dataclass
class Renter:
    """A tenant with his token, as a program that talks to the API."""

    http: aiohttp.ClientSession
    token: str
    nonce: int = field(default_factory=time.time_ns)

    async def call(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """One request; gives status and content."""
        headers = {"Authorization": f"Bearer {self.token}"} | more.pop("headers", {})
        async with self.http.request(method, path, headers=headers, **more) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def lease(self, key: str, **more: Any) -> tuple[int, Any]:
        """Order a lease."""
        order = {"duration_s": 600, "renter_public_key": PEM, "ssh_public_key": SSH} | more
        wait = {"wait_s": str(order.pop("wait_s", 20))}
        headers = {"Idempotency-Key": key}
        return await self.call("POST", "/v1/leases", json=order, headers=headers, params=wait)

    def proof(self, lease: str, action: LeaseAction, **arguments: Any) -> dict[str, Any]:
        """Possession of the lease's key."""
        self.nonce += 1
        digest = LeaseArguments(**arguments).digest()
        proof = possession.prove(KEY, possession.statement(lease, action, digest, self.nonce))
        encoded = b64encode(proof).decode()
        return {"nonce": self.nonce, "proof": encoded}

    async def operate(self, rental: Any, action: str, **arguments: Any) -> tuple[int, Any]:
        """One operation with proof of possession."""
        body = self.proof(rental["lease"], LeaseAction(action), **arguments)
        path = f"/v1/leases/{rental['id']}/{action}"
        return await self.call("POST", path, json=body | {"arguments": arguments})

    async def events(self, rental: str) -> list[str]:
        """Names of what happened to a rental."""
        _, shown = await self.call("GET", f"/v1/leases/{rental}")
        return [event["event"] for event in shown["events"]]


@dataclass
class Office:
    """A validator that rents out, with its API and its miners."""

    service: ValidatorService
    http: aiohttp.ClientSession
    miners: list[SimulatedMiner]

    def tenant(self, name: str, most_leases: int = 100) -> Renter:
        """A new tenant."""
        assert self.service.office is not None
        _, token = self.service.office.tenants.add(name, most_leases=most_leases, now_ms=1)
        return Renter(self.http, token)


def run_of(host: DevHost, tmp_path: Path, phrase: str) -> ValidatorRun:
    return ValidatorRun(
        network=host.network,
        netuid=host.netuid,
        phrase=phrase,
        url=f"sqlite:///{tmp_path / (phrase.strip('/') + '.sqlite')}",
        settings=SETTINGS,
        classes=small_classes(),
        renting=True,
    )


@asynccontextmanager
async def office(run: ValidatorRun, miners: list[SimulatedMiner]) -> AsyncIterator[Office]:
    async with validating(run) as service:
        assert service.office is not None
        async with (
            serving_app(validator_app(service), "127.0.0.1", 0) as port,
            aiohttp.ClientSession(
                f"http://127.0.0.1:{port}", connector=aiohttp.TCPConnector(limit=0)
            ) as http,
        ):
            market = service.office.market
            await until(lambda: service.view.block > 0 and len(market.offers()) > 0)
            yield Office(service, http, miners)


@asynccontextmanager
async def miners_on(
    host: DevHost, *validators: str, places: int = 4, count: int = 2
) -> AsyncIterator[list[SimulatedMiner]]:
    wallets = [host.registered(f"//Miner{index}") for index in range(count)]
    miners = [
        SimulatedMiner(wallet, (gpu(f"GPU-{i}", "NVIDIA L4"),) * (i % 2), places=places)
        for i, wallet in enumerate(wallets)
    ]
    async with serving(miners, view_of(*validators)) as axons:
        for wallet, axon in zip(wallets, axons, strict=True):
            chain = host.chain(wallet)
            await chain.serve_axon("127.0.0.2", axon.port)
            await chain.close()
        yield miners


async def until(look: Callable[[], Awaitable[bool] | bool], limit_s: float = 20) -> None:
    async with asyncio.timeout(limit_s):
        while True:
            seen = look()
            if seen is True or (not isinstance(seen, bool) and await seen):
                return
            await asyncio.sleep(0.02)


async def test_rent_operate_and_end(host: DevHost, tmp_path: Path) -> None:
    """The whole life of a rental: offers, order, sealed credentials, operations, timeline."""
    validator = host.registered("//Validator", stake=10_000)
    async with (
        miners_on(host, validator.address) as miners,
        office(run_of(host, tmp_path, "//Validator"), miners) as desk,
    ):
        renter = desk.tenant("alice")
        _, offers = await renter.call("GET", "/v1/offers")
        assert {offer["uid"] for offer in offers} == {1, 2}
        inquiry = {"requirement": {"gpus": 1, "gpu_model": "l4"}, "duration_s": 60}
        _, fitting = await renter.call("POST", "/v1/quotes", json=inquiry)
        assert [offer["uid"] for offer in fitting] == [2]
        status, rental = await renter.lease("first-one", requirement={"gpus": 1})
        assert (status, rental["state"], rental["miner"]) == (
            201,
            "active",
            miners[1].wallet.address,
        )
        bound = envelope.context(rental["lease"], rental["miner"], rental["validator"])
        opened = envelope.unseal(rental["credentials"], KEY, bound)
        assert Credentials.model_validate_json(opened).lease_id == rental["lease"]
        for action, arguments in (
            ("status", {}),
            ("extend", {"duration_s": 60}),
            ("pause", {}),
            ("unpause", {}),
            ("release", {}),
        ):
            status, reply = await renter.operate(rental, action, **arguments)
            assert (action, status) == (action, 200)
        assert reply["state"] == "ended"
        assert await renter.events(rental["id"]) == [
            "requested",
            "trying",
            "active",
            "extended",
            "paused",
            "unpaused",
            "ended",
        ]
        status, problem = await renter.lease("first-one", requirement={"gpus": 0})
        assert (status, problem["code"]) == (409, "idempotency")


async def test_repeat_gives_the_same_lease(host: DevHost, tmp_path: Path) -> None:
    """However often an order is sent, at once or after a restart, there is one lease."""
    validator = host.registered("//Validator", stake=10_000)
    run = run_of(host, tmp_path, "//Validator")
    async with miners_on(host, validator.address) as miners:
        miners[0].allocate_s = 0.3
        async with office(run, miners) as desk:
            renter = desk.tenant("alice")
            answers = await asyncio.gather(*(renter.lease("same-key-1") for _ in range(10)))
            assert len({rental["lease"] for _, rental in answers}) == 1
            status, _ = await renter.lease("interrupted", wait_s=0)
            assert status == 202
        async with office(run, miners) as desk:
            renter.http = desk.http
            rental = (await renter.lease("interrupted"))[1]
            assert rental["state"] == "active"
            assert (await renter.lease("same-key-1"))[1] == answers[0][1]
        leases = [lease for miner in miners for lease in miner.leases.values()]
        assert len(leases) == 2


async def test_tenants_see_nothing_of_each_other(host: DevHost, tmp_path: Path) -> None:
    """Another tenant's rental does not exist: not to read, operate, list, stream or repeat."""
    validator = host.registered("//Validator", stake=10_000)
    async with (
        miners_on(host, validator.address) as miners,
        office(run_of(host, tmp_path, "//Validator"), miners) as desk,
    ):
        alice, bob = desk.tenant("alice"), desk.tenant("bob")
        _, rental = await alice.lease("the-same-key")
        _, hook = await alice.call("POST", "/v1/webhooks", json={"url": "http://127.0.0.1:9/x"})
        path = f"/v1/leases/{rental['id']}"
        body = bob.proof(rental["lease"], LeaseAction.RELEASE)
        for method, target, content in (
            ("GET", path, None),
            ("POST", f"{path}/release", body),
            ("POST", f"{path}/status", body),
            ("DELETE", f"/v1/webhooks/{hook['webhook']['id']}", None),
        ):
            status, problem = await bob.call(method, target, json=content)
            assert (status, problem["code"]) == (404, "lease_unknown")
        for listing in ("/v1/leases", "/v1/events", "/v1/webhooks"):
            assert await bob.call("GET", listing) == (200, [])
        _, own = await bob.lease("the-same-key")
        assert own["lease"] != rental["lease"]
        assert [r["id"] for r in (await alice.call("GET", "/v1/leases"))[1]] == [rental["id"]]
        for token in ("", "ct_wrong", bob.token[:-1], bob.token + "0"):
            status, problem = await Renter(desk.http, token).call("GET", "/v1/leases")
            assert (status, problem["code"]) == (401, "unauthenticated")
        desk.service.office.tenants.remove("bob")  # type: ignore[union-attr]
        assert (await bob.call("GET", "/v1/leases"))[0] == 401


async def test_full_miners_are_passed_over(host: DevHost, tmp_path: Path) -> None:
    """An order goes to the next miner when one is full, and fails clearly when all are."""
    validator = host.registered("//Validator", stake=10_000)
    async with (
        miners_on(host, validator.address, places=1) as miners,
        office(run_of(host, tmp_path, "//Validator"), miners) as desk,
    ):
        renter = desk.tenant("alice", most_leases=3)
        rentals = [(await renter.lease(f"order-no-{index}"))[1] for index in range(3)]
        assert [rental["state"] for rental in rentals] == ["active", "active", "failed"]
        assert rentals[0]["miner"] != rentals[1]["miner"]
        assert rentals[2]["detail"].startswith("no_capacity")
        await renter.operate(rentals[0], "release")
        assert (await renter.lease("order-no-4"))[1]["state"] in ("active", "failed")
        small = desk.tenant("small", most_leases=0)
        status, problem = await small.lease("too-many-1")
        assert (status, problem["code"]) == (429, "rate_limited")
        status, problem = await renter.lease("bad-key-1", renter_public_key="x" * 300)
        assert (status, problem["code"]) == (422, "bad_key")


async def test_miner_that_finds_a_request_too_old_is_passed_over(
    host: DevHost, tmp_path: Path
) -> None:
    """A request that lay about for too long made no lease: the next miner is asked."""
    validator = host.registered("//Validator", stake=10_000)
    async with (
        miners_on(host, validator.address) as miners,
        office(run_of(host, tmp_path, "//Validator"), miners) as desk,
    ):
        ann = desk.tenant("ann")
        await until(lambda: len(desk.service.office.market.offers()) == 2)
        for slow, quick in (miners, reversed(miners)):
            slow.refuses, quick.refuses = Code.STALE, None
            status, rental = await ann.lease(f"order-{slow.wallet.address}")
            assert (status, rental["miner"]) == (201, quick.wallet.address)


async def test_named_manager_takes_over(host: DevHost, tmp_path: Path) -> None:
    """When the validator of a lease is gone, another that the lease names serves its tenant."""
    first = host.registered("//First", stake=10_000)
    second = host.registered("//Second", stake=10_000)
    third = host.registered("//Third", stake=10_000)
    addresses = [first.address, second.address, third.address]
    async with miners_on(host, *addresses) as miners:
        async with office(run_of(host, tmp_path, "//First"), miners) as desk:
            renter = desk.tenant("alice")
            _, rental = await renter.lease("to-be-adopted", managers=[second.address])
        for phrase, expected in (("//Second", 201), ("//Third", 404)):
            async with office(run_of(host, tmp_path, phrase), miners) as desk:
                renter.http, renter.token = desk.http, desk.tenant("alice").token
                body = renter.proof(rental["lease"], LeaseAction.STATUS) | {
                    "hotkey": rental["miner"],
                    "lease": rental["lease"],
                }
                headers = {"Idempotency-Key": "adopting-1"}
                status, adopted = await renter.call(
                    "POST", "/v1/leases/adopt", json=body, headers=headers
                )
                assert status == expected
                if expected == 201:
                    status, reply = await renter.operate(adopted, "extend", duration_s=60)
                    assert (status, reply["state"]) == (200, "active")


async def test_webhooks_are_signed_and_retried(host: DevHost, tmp_path: Path) -> None:
    """Each event arrives, in order, with a signature that holds, though the receiver stumbles."""
    got: list[tuple[str, dict[str, Any], bytes]] = []
    refuse = [500]

    async def receive(request: web.Request) -> web.Response:
        if refuse:
            return web.Response(status=refuse.pop())
        body = await request.read()
        got.append((request.headers["X-Compute-Signature"], dict(request.headers), body))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    validator = host.registered("//Validator", stake=10_000)
    async with (
        miners_on(host, validator.address) as miners,
        office(run_of(host, tmp_path, "//Validator"), miners) as desk,
    ):
        renter = desk.tenant("alice")
        _, made = await renter.call(
            "POST", "/v1/webhooks", json={"url": f"http://127.0.0.1:{port}/hook"}
        )
        await renter.lease("told-about-1")
        await until(lambda: len(got) == 3)
    await runner.cleanup()
    names = [json.loads(body)["event"] for _, _, body in got]
    assert names == ["requested", "trying", "active"]
    for signature, headers, body in got:
        signed = f"{headers['X-Compute-Timestamp']}.".encode() + body
        expected = hmac.new(made["secret"].encode(), signed, sha256).hexdigest()
        assert signature == f"v1={expected}"


async def test_stream_resumes_where_it_broke(
    host: DevHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events come as they happen, after a break from the last one on, and to tenants only."""
    monkeypatch.setattr(rentals, "HEARTBEAT_S", 0.1)
    validator = host.registered("//Validator", stake=10_000)
    async with (
        miners_on(host, validator.address) as miners,
        office(run_of(host, tmp_path, "//Validator"), miners) as desk,
    ):
        renter = desk.tenant("alice")
        headers = {"Authorization": f"Bearer {renter.token}"}

        async def read(count: int, **more: str) -> list[tuple[str, str]]:
            seen: list[tuple[str, str]] = []
            async with desk.http.get("/v1/events/stream", headers=headers | more) as answer:
                assert answer.headers["Content-Type"].startswith("text/event-stream")
                fields: dict[str, str] = {}
                async for line in answer.content:
                    name, _, value = line.decode().rstrip("\n").partition(": ")
                    if name in ("id", "event"):
                        fields[name] = value
                    elif not name and fields:
                        seen.append((fields["id"], fields["event"]))
                        fields = {}
                    if len(seen) == count:
                        return seen
            return seen

        live = asyncio.create_task(read(2))
        await asyncio.sleep(0.2)
        await renter.lease("streamed-1")
        async with asyncio.timeout(5):
            first = await live
            rest = await read(1, **{"Last-Event-ID": first[-1][0]})
            assert desk.service.office is not None
            endless = asyncio.create_task(read(99))
            await asyncio.sleep(0.2)
            desk.service.office.tenants.remove("alice")
            await endless
        assert [name for _, name in first + rest] == ["requested", "trying", "active"]


async def test_outage_is_noticed_recorded_and_credited(host: DevHost, tmp_path: Path) -> None:
    """A miner with rentals that falls silent is told to its tenants, put on record and charged."""
    validator = host.registered("//Validator", stake=10_000)
    async with (
        miners_on(host, validator.address) as miners,
        office(run_of(host, tmp_path, "//Validator"), miners) as desk,
    ):
        renter = desk.tenant("alice")
        _, rental = await renter.lease("watched-over")
        host.provision._state.change(
            lambda tx: tx.db.execute(
                "UPDATE axons SET port = 9 WHERE hotkey = ?", (rental["miner"],)
            )
        )

        async def credited() -> bool:
            events = await renter.events(rental["id"])
            return "credited" in events and events.index("unreachable") < events.index("credited")

        await until(credited)
        _, shown = await renter.call("GET", f"/v1/leases/{rental['id']}")
        log = list(desk.service.recorder.log.records())
    pings = [record for record in log if record.kind is EvidenceKind.PING]
    down = [record for record in pings if record.outcome is Outcome.FAILED]
    assert {record.reason for record in down} == {Reason.RENTAL_DOWN}
    owed = [
        each.credit_ms
        for record in down
        for each in PingContent.model_validate(record.content).credits
    ]
    assert 0 < shown["rental"]["credited_ms"] <= sum(owed)
    assert "alice" not in json.dumps([record.model_dump(mode="json") for record in pings])


async def test_many_renters_at_once(host: DevHost, tmp_path: Path) -> None:
    """Sixty renters at once: every order is answered, none lost, none doubled, none overbooked."""
    validator = host.registered("//Validator", stake=10_000)
    async with (
        miners_on(host, validator.address, places=25) as miners,
        office(run_of(host, tmp_path, "//Validator"), miners) as desk,
    ):
        renters = [desk.tenant(f"tenant-{index}") for index in range(60)]
        answers = await asyncio.gather(
            *(renter.lease(f"order-of-{index}") for index, renter in enumerate(renters))
        )
        states = [rental["state"] for _, rental in answers]
        assert states.count("active") == 50
        assert states.count("failed") == 10
        leases = [lease.id for miner in miners for lease in miner.leases.values()]
        assert sorted(leases) == sorted(r["lease"] for _, r in answers if r["state"] == "active")
