"""The dashboards of real neurons: a miner that leases and a validator that pays, in a browser."""

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compute.adapters.chain import SdkChain
from compute.domain.requirement import Requirement
from compute.protocol.dendrite import Dendrite
from compute.renter.book import LeaseBook, LeaseRecord
from compute.renter.client import Renter, Wish
from compute.renter.session import peer_of
from compute.testing.browser import Browser, browsing
from compute.testing.rig import Rig, RigPlan, free_port

pytestmark = pytest.mark.engine
AXE = (Path(__file__).parents[1] / "vendor" / "axe" / "axe.min.js").read_text()
# A machine's own words may be long: where its disk is mounted, what its driver says.
LENGTHEN = """
const within = document.querySelectorAll(".facts dt, .facts dd, .timeline small, .tile dd p");
for (const one of within) one.textContent = "unbreakable".repeat(9);
"""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class Neurons:
    """A miner and a validator, each with its dashboard, and a live rental on the miner."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.ports = {"miner": free_port("127.0.0.1"), "validator": free_port("127.0.0.1")}
        miner = rig.start_miner(dashboard__port=str(self.ports["miner"]))
        rig.wait_ready(miner)
        self.lease = asyncio.run(self._rent())
        rig.start_validator(
            dashboard__port=str(self.ports["validator"]),
            validation__cadence__specs="4",
            validation__cadence__proofs="8",
            validation__cadence__probes="8",
            validation__poll_s="0.25",
        )
        rig.wait("a paid miner", lambda: self.rig.weights() or None, 60)

    async def _rent(self) -> LeaseRecord:
        wallet = self.rig.wallet("validator")
        async with Dendrite(wallet, allow_private=True) as dendrite:
            chain = SdkChain(self.rig.network, self.rig.plan.netuid, wallet)
            metagraph = await chain.metagraph()
            await chain.close()
            neuron = metagraph.neuron(self.rig.wallet("miner").hotkey.ss58_address)
            assert neuron is not None
            book = LeaseBook(self.rig.root / "renter")
            renter = Renter(dendrite, book, hotkey=dendrite.hotkey, netuid=self.rig.plan.netuid)
            wish = Wish(600, Requirement(memory_mib=256))
            return await renter.up(peer_of(neuron), wish, name="shown")

    def url(self, role: str) -> str:
        """Address of a role's page."""
        return f"http://127.0.0.1:{self.ports[role]}"

    def fetch(self, role: str, path: str) -> str:
        """What a role answers."""
        with urllib.request.urlopen(f"{self.url(role)}{path}", timeout=20) as answer:  # noqa: S310
            return answer.read().decode()

    def read(self, role: str, path: str) -> Any:
        """A role's answer below `/api/`."""
        return json.loads(self.fetch(role, f"/api/{path}"))


@pytest.fixture(scope="module")
def neurons(tmp_path_factory, docker_host, base_image) -> Iterator[Neurons]:
    root = tmp_path_factory.mktemp("neurons") / "rig"
    with Rig(root, docker_host, RigPlan(block_s=0.25)) as rig:
        rig.register("miner")
        rig.register("validator", stake=10_000.0)
        rig.provision.advance(rig.plan.tempo + 1)
        started = Neurons(rig)
        yield started
        asyncio.run(release(started))


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as opened:
        opened.size(1360, 900)
        yield opened
        assert opened.complaints() == []


def violations(browser: Browser) -> list[str]:
    if not browser.run("return !!window.axe"):
        browser.run(AXE)
    found = browser.run("return axe.run(document, {runOnly: arguments[0]})", RULES)
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]]


def texts(browser: Browser, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
    return browser.run(script, selector)


def test_a_miner_shows_its_machine(neurons, browser):
    """The lease that was made is on every page of the miner, with its timeline, for everybody."""
    lease = neurons.lease.opened.lease_id
    for path in ("/", "/leases", f"/leases/{lease}", "/images"):
        for scheme in ("light", "dark"):
            browser.prefer(scheme)
            browser.go(f"{neurons.url('miner')}/#{path}")
            assert violations(browser) == [], (path, scheme)
    browser.go(f"{neurons.url('miner')}/#/leases/{lease}")
    events = texts(browser, ".timeline .name")
    assert events[:3] == ["Requested", "Provisioning", "Created"]
    assert "Ready" in events
    for width in (390, 820):
        browser.size(width, 900)
        for path in ("/", "/leases", f"/leases/{lease}", "/images"):
            browser.go(f"{neurons.url('miner')}/#{path}")
            browser.run(LENGTHEN)
            assert browser.run("return document.documentElement.scrollWidth") <= width, path
    browser.size(1360, 900)


def test_a_validator_shows_what_it_measured_and_paid(neurons, browser):
    """The proven miner is on the map, its score is explained, and the vector is there."""
    rig = neurons.rig
    hotkey = rig.wallet("miner").hotkey.ss58_address
    browser.go(f"{neurons.url('validator')}/#/")
    browser.until(
        lambda: browser.run("return document.querySelectorAll('.map a').length") == 1, "miner"
    )
    row = rig.wait("a paid row", lambda: paid(neurons), 30)
    assert (row["hotkey"], row["state"], row["gpus"]) == (hotkey, "earning", "cpu-dev")
    browser.go(f"{neurons.url('validator')}/#/miners/{hotkey}")
    chips = texts(browser, ".product .name")
    assert chips[0] == "Capacity"
    assert chips[-1] == "Score"
    kept = rig.wait("a kept epoch", lambda: neurons.read("validator", "weights")["epochs"], 30)
    vector = neurons.read("validator", f"weights/{kept[0]['epoch_block']}")
    assert [(one["hotkey"], one["share_ppm"]) for one in vector["weights"]] == [(hotkey, 1_000_000)]


def paid(neurons: Neurons) -> Any:
    rows = neurons.read("validator", "miners")["rows"]
    return rows[0] if rows and rows[0]["share_ppm"] else None


def test_a_rental_that_ends_is_seen_to_end(neurons, browser):
    """An open page of a lease follows it to its end, down to the signed teardown."""
    lease = neurons.lease.opened.lease_id
    browser.go(f"{neurons.url('miner')}/#/leases/{lease}")
    assert browser.run("return document.querySelector('.badge').textContent") == "active"
    asyncio.run(release(neurons))
    browser.until(lambda: "Keys revoked" in texts(browser, ".checks li"), "teardown")


async def release(neurons: Neurons) -> None:
    async with Dendrite(neurons.rig.wallet("validator"), allow_private=True) as dendrite:
        book = LeaseBook(neurons.rig.root / "renter")
        renter = Renter(dendrite, book, hotkey=dendrite.hotkey, netuid=neurons.rig.plan.netuid)
        await renter.down(neurons.lease)


def test_metrics_tell_the_same(neurons):
    """Both roles serve their metrics, and these agree with what the pages show."""
    miner, validator = (neurons.fetch(role, "/metrics") for role in ("miner", "validator"))
    assert "compute_miner_engine_up 1.0" in miner
    assert 'compute_axon_answers_total{code="ok",synapse="Specs"}' in miner
    assert 'compute_validator_miner_share{uid="0"} 1.0' in validator
    assert 'compute_info{role="validator"' in validator


def test_no_secret_is_on_any_page(neurons):
    """Neither sealed credentials, nor keys, nor anything of a wallet leaves by the dashboard."""
    lease = neurons.lease.opened.lease_id
    pages = [
        neurons.fetch("miner", path)
        for path in ("/api/overview", "/api/leases", f"/api/leases/{lease}", "/metrics")
    ]
    keys = LeaseBook(neurons.rig.root / "renter").keys("shown")
    public = keys.ssh.public.split()[1]
    for text in pages:
        assert public not in text
        assert "PRIVATE" not in text
        assert "credentials" not in text
