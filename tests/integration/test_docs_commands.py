"""Every command of the docs is run as it stands there, against a running subnet.

What a test may not do to the machine that it runs on is checked in another form; `CHECKED` says
which commands these are, why, and how.
"""

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from typer.main import get_command

from compute.settings.loading import load
from compute.settings.renter import CheckerSettings
from compute.settings.roles import MinerSettings, ValidatorSettings
from tests.command import ROOT
from tests.documents import Command, commands
from tests.integration.docs_world import REPLACED, Done, World

pytestmark = pytest.mark.engine
AT_ONCE = 3
LEASE = "train"  # what every page calls its lease


# --- what is checked and not run -----------------------------------------------------------------


def bash_reads(text: str) -> None:
    """It is whole and well-formed, and what it names of the checkout is there."""
    subprocess.run(["bash", "-n", "-c", text], check=True)
    for path in re.findall(r"(?<![\w/])(?:deploy|scripts|docs|tests)/[\w./*-]+", text):
        # A reader makes his own environment file.
        assert path.endswith(".env") or list(ROOT.glob(path.rstrip("."))), path
    units = re.findall(r"\bcompute-[a-z]+\b", text) if "ctl" in text.split(maxsplit=1)[0] else ()
    for unit in units:
        assert (ROOT / "deploy" / "systemd" / f"{unit}.service").exists(), unit


def has_options(text: str) -> None:
    """The script is there, bash reads it, and its help names every option that is given to it."""
    bash_reads(text)
    script = ROOT / re.findall(r"\./(scripts/[\w/-]+)", text)[0]
    assert script.stat().st_mode & 0o100, script
    source = script.read_text() + "".join(
        part.read_text() for part in (ROOT / "scripts" / "lib").glob("*") if part.is_file()
    )
    for option in re.findall(r"(?<=\s)--[\w-]+", text.partition(script.name)[2]):
        assert re.search(rf"{option}(?![\w-])", source), f"{script.name} has no {option}"


def settings_load(text: str) -> None:
    """The program takes these settings; an ellipsis stands for those that were named before."""
    models = {
        "neurons/miner.py": MinerSettings,
        "neurons/validator.py": ValidatorSettings,
        "neurons/miner_checker.py": CheckerSettings,
    }
    words = shlex.split(text.replace("…", ""))
    script = next(word for word in words if word in models)
    load(models[script], words[words.index(script) + 1 :], prog=script, environ={})


def btcli_takes(text: str) -> None:
    """The verb is there, has every option, and nothing that it needs is missing."""
    command, words = _btcli(), shlex.split(text)[1:]
    context = command.make_context("btcli", words, resilient_parsing=True)
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        group = hasattr(command, "resolve_command")
        context = command.make_context(name, rest, parent=context, resilient_parsing=group)


@cache
def _btcli() -> Any:
    from bittensor.cli.main import app  # noqa: PLC0415 - two seconds that collecting need not spend

    return get_command(app)


def ssh_reads(text: str) -> None:
    """The client understands it, and would connect."""
    words = shlex.split(text)
    subprocess.run([words[0], "-G", *words[1:]], check=True, capture_output=True)


def factory_is_taken(text: str) -> None:
    """The suite is there and takes a chain of another's making in this way."""
    bash_reads(text)
    source = (ROOT / "tests" / "contract" / "conftest.py").read_text()
    (way,) = re.findall(r"--chain-factory|COMPUTE_CHAIN_FACTORY", text)
    assert way in source


@dataclass(frozen=True, slots=True)
class Checked:
    """Commands that are not run: those that match, why, and what is done instead."""

    pattern: str
    why: str
    check: Callable[[str], None]


CHECKED = (
    Checked(r"\./scripts/(demo|test|soak|bench\b).*", "takes minutes; CI runs it", has_options),
    Checked(
        r".*\./scripts/(bootstrap|engine|install-miner)\b.*",
        "installs packages, units and engines; tests of its own run it",
        has_options,
    ),
    Checked(
        r"(git|cd|useradd|install|systemctl|journalctl|docker|apt-get|cp|chown|chmod|nano) .*",
        "changes the machine that the tests run on",
        bash_reads,
    ),
    Checked(r"ls /var/lib/.*", "is where the installer was; its tests look there", bash_reads),
    Checked(
        r"python neurons/(miner|validator)\.py .*",
        "runs for ever; those of docs/miner.md and docs/validator.md are the neurons of this test",
        settings_load,
    ),
    Checked(r"btcli .*", "acts on a real network, with money", btcli_takes),
    Checked(r"ssh .*", "logs in to another machine", ssh_reads),
    Checked(
        r"(COMPUTE_CHAIN_FACTORY=\S+ )?pytest .*", "the suite runs by itself", factory_is_taken
    ),
)


def checked(text: str) -> Checked | None:
    """The row of the table for a command; none says that it is run."""
    return next((row for row in CHECKED if re.fullmatch(row.pattern, text)), None)


SPOKEN = commands()


def run_once() -> list[Command]:
    """What is run: a command that says the same on several pages, and names no lease, once."""
    seen: set[str] = set()
    kept = []
    for command in SPOKEN:
        again = command.text in seen and LEASE not in command.text.split()
        if checked(command.text) is None and not again:
            kept.append(command)
            seen.add(command.text)
    return kept


RUN = run_once()
PAGES = list(dict.fromkeys(command.page for command in RUN))


@pytest.mark.parametrize(
    "text", dict.fromkeys(c.text for c in SPOKEN if checked(c.text) is not None)
)
def test_what_cannot_be_run_is_understood(text):
    """Its form is checked as far as this machine may go."""
    row = checked(text)
    assert row is not None
    row.check(text)


def test_the_tables_hold_nothing_that_no_page_says():
    """A row that no command needs any more is taken out."""
    texts = [command.text for command in SPOKEN]
    idle = [row.pattern for row in CHECKED if not any(checked(text) is row for text in texts)]
    texts += [text for command in RUN for text in command.before]
    idle += [row[0] for row in REPLACED if not any(re.search(row[0], text) for text in texts)]
    assert idle == []


# --- what is run ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory, docker_host, base_image) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("docs"), docker_host) as made:
        yield made


def first_of(page: str, script: str) -> str:
    return next(c.text for c in SPOKEN if c.page == page and f"neurons/{script}.py" in c.text)


Walked = list[tuple[Command, Done]]
# A drained miner takes no rentals: its page waits until renters have had theirs.
DRAINING = "docs/miner.md"
NEEDS_WEIGHTS = ("docs/scoring.md", "docs/validator.md")
LATE = (*NEEDS_WEIGHTS, DRAINING)


@pytest.fixture(scope="module")
def walks(world: World) -> Iterator[dict[str, "Future[Walked]"]]:
    """Every page's commands in their order; pages side by side."""
    world.start(first_of("docs/miner.md", "miner"), "miner")
    world.start(first_of("docs/validator.md", "validator"), "validator")
    world.wait_ready()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        renting = {page: pool.submit(walk, world, page) for page in PAGES if page not in LATE}
        yield renting | {
            page: pool.submit(after, list(renting.values()), world, page) for page in LATE
        }


def alive(world: World) -> bool:
    assert world.running(), world.said("miner")[-2000:] + world.said("validator")[-2000:]
    return True


def after(others: "list[Future[Walked]]", world: World, page: str) -> Walked:
    if page == DRAINING:
        for other in others:
            other.result()
    else:
        world.rig.wait("weights", lambda: alive(world) and world.rig.weights(), 60)
    return walk(world, page)


def walk(world: World, page: str) -> Walked:
    """Type a page's commands; stops at the first that fails. A lease that is left is given back."""
    folder = world.folder(page)
    walked: Walked = []
    try:
        for command in (command for command in RUN if command.page == page):
            for typed in (*(Command(page, text) for text in command.before), command):
                walked.append((typed, world.run(folder, typed.text)))
                if walked[-1][1].code != 0:
                    return walked
    finally:
        if world.holds(folder, LEASE):
            world.run(folder, f"compute down {LEASE} --yes")
    return walked


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(walks, page):
    """One after the other, as a reader types them; each ends well and shows what the page shows."""
    walked = walks[page].result()
    for command, done in walked:
        assert done.code == 0, f"{command.text}\n{done.out[-1500:]}\n{done.err[-1500:]}"
        assert "Traceback" not in done.err
        if command.shown:
            said = (done.out or done.err).strip()
            assert re.fullmatch(pattern(command.shown), said, re.DOTALL), said
    assert [c for c, _ in walked if c in RUN] == [c for c in RUN if c.page == page]


def pattern(shown: str) -> str:
    """What a page shows, with anything for an ellipsis."""
    return ".*?".join(map(re.escape, shown.split("…")))


def test_the_neurons_of_the_pages_work(world, walks):
    """After all of it the miner and the validator that two pages have started still run."""
    for walked in walks.values():
        walked.result()
    assert world.running()
    for role in ("miner", "validator"):
        assert "Traceback" not in world.said(role)
