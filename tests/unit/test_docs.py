"""The docs say what the code does: pages, links, commands, settings and names of verbs."""

import ast
import os
import re
import shlex
from functools import partial
from importlib.util import find_spec
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
from compute.settings.loading import load
from compute.settings.renter import CheckerSettings, RenterSettings
from compute.settings.roles import MinerSettings, ValidatorSettings
from tests.command import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
NEURONS = {
    "neurons/miner.py": MinerSettings,
    "neurons/validator.py": ValidatorSettings,
    "neurons/miner_checker.py": CheckerSettings,
}
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def _document(name: str) -> str:
    return as_json(DOCUMENTS[name]())


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(kind: str) -> list[tuple[str, str]]:
    """Page and content of every fenced block of a kind."""
    return [
        (named(page), content)
        for page in PAGES
        for found, content in FENCE.findall(page.read_text())
        if found == kind
    ]


def commands() -> list[tuple[str, str]]:
    """Page and text of every command that a reader is told to type."""
    return [
        (page, re.sub(r"\s+#.*", "", line[2:]).strip())
        for page, content in blocks("console")
        for line in content.replace("\\\n", " ").splitlines()
        if line.startswith(("$ ", "# "))
    ]


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
    """Every relative link names a file that is there, and a heading that is on it."""
    text = FENCE.sub("", page.read_text())
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


COMMANDS = [(page, text) for page, text in commands() if text.startswith("compute ")]


@pytest.mark.parametrize(("page", "text"), COMMANDS)
def test_commands_of_the_docs_are_understood(page, text):
    """Every `compute …` parses: the verb is there, its options are, nothing is missing."""
    command, arguments = get_command(app), _json_first(shlex.split(text.split("|")[0])[1:])
    context = command.make_context("compute", list(arguments))
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize(
    ("page", "text"), [c for c in commands() if re.search(r"python\S* neurons/", c[1])]
)
def test_neurons_of_the_docs_are_started_rightly(page, text):
    """Every neuron's command line holds only settings that it has, with values that they take.

    An ellipsis stands for settings that were named before.
    """
    words = shlex.split(text.replace("…", ""))
    script = next(word for word in words if word.startswith("neurons/"))
    arguments = words[words.index(script) + 1 :]
    if "--help" not in arguments:
        load(NEURONS[script], [a for a in arguments if a != "--json"], prog=script, environ={})


@pytest.mark.parametrize(("page", "text"), commands())
def test_scripts_and_modules_of_the_docs_are_there(page, text):
    """Scripts are executable files, modules can be imported, test paths exist."""
    words = re.sub(r"^(\w+=\S+ )+", "", text).split()
    if words and words[0].startswith("./scripts/"):
        assert os.access(ROOT / words[0], os.X_OK), text
    if "-m" in words and words[0].endswith("python"):
        assert find_spec(words[words.index("-m") + 1]) is not None, text
    if words and words[0] == "pytest":
        assert all((ROOT / word).exists() for word in words[1:] if word.startswith("tests/")), text


@pytest.mark.parametrize(("page", "source"), blocks("python"))
def test_python_of_the_docs_is_python(page, source):
    """Every block compiles; those of docs/sdk.md are run as well, on a real miner.

    Pieces may await at their top, and leave out with an ellipsis what does not matter.
    """
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    compile(source.replace("…", "..."), page, "exec", flags=flags)


@pytest.mark.parametrize(("page", "content"), blocks("yaml"))
def test_yaml_of_the_docs_is_settings(page, content):
    """Every block of settings is taken by at least one program as it stands."""
    value = yaml.safe_load(content)
    if "netuid" not in value:
        return
    refusals = []
    for model in (RenterSettings, MinerSettings, ValidatorSettings):
        try:
            model.model_validate(value)
        except ValidationError as error:
            refusals.append(error)
    assert len(refusals) < 3, refusals


SPOKEN = re.compile(r"[`']compute ([a-z-]+)(?: ([a-z-]+))?")


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
