"""The dashboard in a real browser: a validator with 1,024 miners and a year of hourly scores."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute.domain.evidence import EvidenceKind, Observation, Outcome, Reason
from compute.domain.measurement import ClaimedGpu, SpecsContent
from compute.testing.browser import Browser, browsing
from compute.testing.stage import BLOCK, StagePlan
from compute.testing.staged import StagedDashboard

AXE = (Path(__file__).parents[1] / "vendor" / "axe" / "axe.min.js").read_text()
PLAN = StagePlan(miners=1024, hours=365 * 24, rounds=(800, 300), now_ms=int(time.time() * 1000))
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
MARKUP = "<img src=x onerror=window.broken=1><script>window.broken=1</script>"

INTRUDE = """
const seen = [];
const see = (event) => seen.push(event.effectiveDirective);
document.addEventListener("securitypolicyviolation", see);
const script = document.createElement("script");
try { script.text = "broken = 1"; document.head.append(script); } catch { seen.push("text"); }
try { document.body.innerHTML += "<b>x</b>"; } catch { seen.push("innerHTML"); }
const later = () => new Promise((done) => setTimeout(() => done(seen), 50));
return fetch("http://127.0.0.2:9/").catch(() => null).then(later);
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StagedDashboard]:
    made = StagedDashboard(tmp_path_factory.mktemp("stage"), PLAN)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(window: Browser) -> Iterator[Browser]:
    window.size(1360, 900)
    window.prefer("light")
    window.driver.get("about:blank")
    window.complaints()
    yield window
    assert window.complaints() == []


@pytest.fixture(scope="module")
def pages(served: StagedDashboard) -> list[str]:
    failing = served.read("miners?state=failing&size=1")["rows"][0]["hotkey"]
    best = served.read("miners?size=1")["rows"][0]["hotkey"]
    probe = served.read("measures?kind=probe&outcome=failed&size=1")["rows"][0]["seq"]
    proof = served.read("measures?kind=proof&size=1")["rows"][0]["seq"]
    epoch = served.read("weights")["epochs"][0]["epoch_block"]
    rental = served.read("rentals")["rows"][0]["id"]
    details = [
        f"/rentals/{rental}",
        f"/miners/{failing}",
        f"/miners/{best}",
        f"/measures/{probe}",
        f"/measures/{proof}",
    ]
    return ["/", "/miners", "/proofs", "/weights", "/leases", *details, f"/weights/{epoch}"]


def violations(browser: Browser) -> list[str]:
    if not browser.run("return !!window.axe"):
        browser.run(AXE)
    found = browser.run(
        "return axe.run(document, {runOnly: arguments[0], resultTypes: ['violations']})", RULES
    )
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for one in found["violations"]
        for node in one["nodes"][:3]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_used_by_everybody(served, browser, pages, scheme):
    """Axe finds nothing on any page, in either scheme: names, contrast, structure."""
    browser.prefer(scheme)
    for path in pages:
        browser.go(f"{served.url}/#{path}")
        assert violations(browser) == [], path


@pytest.mark.parametrize("width", [390, 820, 1360])
def test_every_page_fits_its_window(served, browser, pages, width):
    """Nothing is wider than the window: on a phone, a tablet and a desk."""
    browser.size(width, 900)
    for path in pages:
        browser.go(f"{served.url}/#{path}")
        assert browser.run("return document.documentElement.scrollWidth") <= width, path


def test_a_large_subnet_stays_light(served, browser, pages):
    """With 1,024 miners and a year of scores no page is heavy, and no answer is."""
    hotkey = served.read("miners?size=1")["rows"][0]["hotkey"]
    for path in (
        "overview", "standings", "miners?size=50", "plots/subnet?range=1y", "weights?range=1y",
        f"miners/{hotkey}", f"miners/{hotkey}/scores?range=1y", "plots/throughput?range=1y",
    ):  # fmt: skip
        assert len(served.fetch(f"/api/{path}")) < 200_000, path
    year = served.read(f"miners/{hotkey}/scores?range=1y")
    assert len(year["times_ms"]) == 180
    # The last point may have begun so lately that there is no score in it yet.
    assert None not in year["series"][0]["values"][:-1]
    for path in pages:
        browser.go(f"{served.url}/#{path}")
        assert browser.run("return document.querySelectorAll('*').length") < 8000, path


def test_an_outage_of_an_hour_shows_in_a_year(served):
    """However far back a plot goes, its envelope holds the worst hour of each point."""
    hotkey = served.read("miners?size=1")["rows"][0]["hotkey"]
    score = served.read(f"miners/{hotkey}/scores?range=1y")["series"][0]
    assert min(value for value in score["least"] if value is not None) == 0
    assert min(value for value in score["values"] if value is not None) > 0


def test_the_keyboard_reaches_everything(served, browser):
    """Skip link, tabs, search, sorting, a plot's values and the map all work without a mouse."""
    browser.go(f"{served.url}/#/")
    browser.keys("tab")
    assert browser.run("return document.activeElement.className") == "skip"
    browser.run("document.querySelector('.map a[tabindex=\"0\"]').focus()")
    browser.keys("right", "right", "down")
    assert browser.run("return document.activeElement.getAttribute('aria-label')").startswith("UID")
    address = browser.run("return document.activeElement.getAttribute('href')")
    browser.keys("enter")
    browser.until(lambda: browser.run("return location.hash") == address, "miner's page")
    browser.settle()
    browser.run("document.querySelector('.canvas').focus()")
    browser.keys("end", "left")
    said = browser.run("return document.querySelector('.plot [aria-live]').textContent")
    assert "score" in said
    browser.go(f"{served.url}/#/miners")
    first = "return document.querySelector('tbody th').textContent"
    browser.run("document.querySelector('[data-key=\"sort uid\"]').focus()")
    browser.keys("enter")
    browser.until(lambda: browser.run(first).startswith("0 "), "list by UID")
    assert browser.run("return document.activeElement.dataset.key") == "sort uid"


def test_searching_and_paging(served, browser):
    """A search cuts the list to what matches, and says how many; pages follow each other."""
    browser.go(f"{served.url}/#/miners")
    count = "return document.querySelector('.pager span').textContent"
    assert browser.run(count) == "1–50 of 1,024"
    browser.run("document.querySelector('[data-key=\"page Next\"]').click()")
    browser.until(lambda: browser.run(count) == "51–100 of 1,024", "second page")
    set_text = (
        "const box = document.querySelector('.search'); box.value = arguments[0];"
        "box.dispatchEvent(new Event('input'))"
    )
    browser.run(set_text, "cool-down")
    browser.until(lambda: browser.run(count) != "51–100 of 1,024", "found miners")
    standing = "return [...document.querySelectorAll('tbody small')].map((s) => s.textContent)"
    browser.until(
        lambda: any("Cool-down" in text for text in browser.run(standing)), "miners that cool down"
    )
    browser.run(set_text, "nothing is like this")
    browser.until(lambda: "No miner is like that" in browser.run("return main.innerText"), "word")


def test_what_happens_shows_by_itself(served, browser):
    """A new block and a new proof appear on an open page, without a reload."""
    browser.go(f"{served.url}/#/")
    assert browser.run("return document.querySelector('#pulse').dataset.state") == "live"
    block = f"{served.pass_block():,}"
    record = served.record(served.stage.once_more(7))
    browser.until(lambda: block in browser.run("return pulse.textContent"), "new block")
    link = f"#/measures/{record.seq}"
    browser.until(
        lambda: browser.run("return !!document.querySelector(`a[href='${arguments[0]}']`)", link),
        "new proof",
    )


def test_what_miners_say_is_never_markup(served, browser):
    """Markup in what a miner claims is shown as it is written, and nothing of it runs."""
    miner = served.stage.miners[3]
    gpu = ClaimedGpu(uuid="GPU-1", model=MARKUP, memory_mib=1)
    said = Observation(
        kind=EvidenceKind.SPECS, round="specs-markup", miner=miner.hotkey, block=BLOCK + 1,
        at_ms=int(time.time() * 1000), outcome=Outcome.FAILED, reason=Reason.REFUSED, detail=MARKUP,
        content=SpecsContent(gpus=(gpu,), software=MARKUP).model_dump(mode="json"),
    )  # fmt: skip
    record = served.record(said)
    for path in (f"/measures/{record.seq}", f"/miners/{miner.hotkey}"):
        browser.go(f"{served.url}/#{path}")
        assert MARKUP in browser.run("return main.innerText"), path
        assert browser.run("return window.broken ?? null") is None


def test_nothing_foreign_runs(browser, served):
    """The content security policy refuses inline scripts, markup sinks and other origins."""
    browser.go(f"{served.url}/#/")
    refused = browser.run(INTRUDE)
    assert browser.run("return window.broken ?? null") is None
    assert {"innerHTML", "connect-src"} <= set(refused)
    assert {"text", "script-src-elem"} & set(refused)
    assert browser.complaints()  # the browser says so, and nothing else is left to be said


def test_the_theme_is_kept(served, browser):
    """The chosen scheme wins over the system's, and outlives a reload."""
    ground = "return getComputedStyle(document.body).backgroundColor"
    browser.go(f"{served.url}/#/weights")
    light = browser.run(ground)
    browser.run("document.querySelector('#theme').click()")
    dark = browser.run(ground)
    assert dark != light
    browser.driver.refresh()
    browser.settle()
    assert browser.run(ground) == dark
    browser.run("localStorage.clear(); delete document.documentElement.dataset.theme")


def test_a_restart_of_the_neuron_is_told(served, browser):
    """A page whose neuron goes away says so, keeps what it shows, and finds it again."""
    browser.go(f"{served.url}/#/")
    states = "window.states = []; new MutationObserver(() => states.push(pulse.dataset.state))"
    browser.run(f"{states}.observe(pulse, {{attributes: true}})")
    served.restart()
    browser.until(lambda: "lost" in browser.run("return states"), "word of the loss")
    assert browser.run("return document.querySelectorAll('.tile').length") == 5
    browser.until(lambda: browser.run("return states").count("live"), "connection")
    browser.complaints()
