"""The docs say what the code does: pages, links, commands, settings and names of verbs."""

import re
import shlex
from functools import partial
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError
from typer.main import get_command

from compute.cli import page as cli_page
from compute.cli.main import Verbs, _json_first, app
from compute.cli.reference import page as api_page
from compute.cli.reference.documents import DOCUMENTS, as_json
from compute.errors import Code
from compute.probes.doctor import CHECKS
from compute.settings import page as settings_page
from compute.settings.renter import RenterSettings
from compute.settings.roles import MinerSettings, ValidatorSettings
from tests.command import ROOT
from tests.documents import DOCS, FENCE, PAGES, blocks, commands, named

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


def _document(name: str) -> str:
    return as_json(DOCUMENTS[name]())


MADE = {
    "settings.md": settings_page.page,
    "cli.md": cli_page.page,
    "api.md": api_page.page,
    **{f"openapi-{name}.json": partial(_document, name) for name in DOCUMENTS},
}


@pytest.mark.parametrize("name", MADE)
def test_generated_pages_are_those_of_the_code(name):
    """Whoever changes a setting, a verb or a field makes the page anew; its head says how."""
    assert (DOCS / name).read_text() == MADE[name]()


def test_every_field_of_the_reference_has_its_meaning():
    """No row of a message's or a route's field is left without words."""
    text = (DOCS / "api.md").read_text()
    assert len(re.findall(r"^\| `\w+` \|", text, re.MULTILINE)) > 150
    assert re.findall(r"^\| `\w+` \|.*\|\s*\|$", text, re.MULTILINE) == []


def test_published_documents_are_openapi():
    """A client can be made from them: every reference in them leads somewhere."""
    for make in DOCUMENTS.values():
        document = make()
        assert document["openapi"].startswith("3.1")
        known = {
            f"#/components/{kind}/{name}"
            for kind, names in document["components"].items()
            for name in names
        }
        assert set(re.findall(r'"\$ref": "([^"]+)"', as_json(document))) <= known


def test_generated_pages_do_not_depend_on_the_machine(monkeypatch, tmp_path):
    """Neither the home folder nor the environment shows on them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COMPUTE_NETUID", "99")
    assert settings_page.page() == (DOCS / "settings.md").read_text()


def anchors(page: Path) -> set[str]:
    """What a link may name on a page: its headings, as GitHub spells them."""
    text = FENCE.sub("", page.read_text())
    headings = re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    """Every relative link names a file that is there, and a heading that is on it.

    A picture is there, and says in words what it shows.
    """
    text = FENCE.sub("", page.read_text())
    for words, picture in IMAGE.findall(text):
        assert len(words) > 20
        assert (page.parent / picture).exists(), picture
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


@pytest.mark.parametrize(
    "text", dict.fromkeys(c.text for c in commands() if c.text.startswith("compute "))
)
def test_commands_of_the_docs_are_understood(text):
    """Every `compute …` parses: the verb is there, its options are, nothing is missing.

    All of them are run as well, by tests/integration/test_docs_commands.py.
    """
    command, arguments = get_command(app), _json_first(shlex.split(text.split("|")[0])[1:])
    context = command.make_context("compute", list(arguments))
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


RUN_OR_READ = {"console", "python", "yaml", "", "mermaid"}


def test_every_block_is_of_a_kind_that_is_tested():
    """Commands and Python are run, settings are loaded; what is bare is a picture or an output."""
    kinds = {kind for page in PAGES for _, kind, _ in FENCE.findall(page.read_text())}
    assert kinds <= RUN_OR_READ
    typed = re.compile(r"^(\$ |compute |python3? |\./)", re.MULTILINE)
    bare = [block for block in blocks("") if typed.search(block.content)]
    assert bare == []


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.page)
def test_yaml_of_the_docs_is_settings(block):
    """Every block of settings is taken by at least one program as it stands."""
    value = yaml.safe_load(block.content)
    if "netuid" not in value:
        return
    refusals = []
    for model in (RenterSettings, MinerSettings, ValidatorSettings):
        try:
            model.model_validate(value)
        except ValidationError as error:
            refusals.append(error)
    assert len(refusals) < 3, refusals


SPOKEN = re.compile(r"[`']compute ([a-z][a-z-]*)(?: ([a-z-]+))?")


def spoken() -> list[tuple[str, str, str]]:
    """Where, and which verb: in the docs and in the hints of errors."""
    texts = [(named(page), page.read_text()) for page in PAGES]
    texts += [(code.spec.slug, f"{code.spec.hint} ") for code in Code]
    return [(where, *found) for where, text in texts for found in SPOKEN.findall(text)]


@pytest.mark.parametrize(("where", "verb", "second"), sorted(set(spoken())))
def test_verbs_that_are_spoken_of_exist(where, verb, second):
    """No page and no hint names a verb that is not there."""
    assert verb in Verbs.verbs, f"{where}: compute {verb}"
    inner = Verbs(name="compute").loaded(verb)
    if hasattr(inner, "commands") and second:
        assert second in inner.commands, f"{where}: compute {verb} {second}"


def test_troubleshooting_knows_every_check_and_names_real_codes():
    """Each check of the doctor has its row; each code on the page is in the catalogue."""
    text = (DOCS / "troubleshooting.md").read_text()
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert set(CHECKS) <= rows
    slugs = {code.spec.slug for code in Code}
    cells = re.findall(r"^\| `\w+` \| ((?:`\w+`(?:, )?)+) \|", text, re.MULTILINE)
    mentioned = {slug for cell in cells for slug in re.findall(r"`(\w+)`", cell)}
    assert len(mentioned) > 15
    assert mentioned <= slugs
    exits = re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.MULTILINE)
    assert len(exits) > 5
    assert all(Code.of(slug).spec.exit_code == int(number) for number, slug in exits)


def test_tests_that_are_spoken_of_exist():
    """What a page says is shown by a test names one that is there."""
    defined = {
        name
        for file in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"def (test_\w+)\(", file.read_text())
    }
    spoken_of = {
        (named(page), name)
        for page in PAGES
        for name in re.findall(r"`(test_\w+)`", page.read_text())
    }
    assert len(spoken_of) > 50
    assert {(page, name) for page, name in spoken_of if name not in defined} == set()


def test_the_index_leads_to_every_page():
    """Whoever starts at docs/README.md finds each page, decisions by their folder."""
    linked = set(LINK.findall((DOCS / "README.md").read_text()))
    pages = {str(page.relative_to(DOCS)) for page in PAGES if page.is_relative_to(DOCS)}
    assert {page for page in pages if not page.startswith("adr/")} <= linked | {"README.md"}
    assert "adr" in linked
