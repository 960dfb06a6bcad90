"""Environment files hold every setting, say what the code does, and load as they stand."""

import re

import pytest

from compute.settings.envfile import SHEETS, envfile
from compute.settings.loading import leaves, load, variable
from tests.command import ROOT

LINE = re.compile(r"^(#?)(COMPUTE_\w+)=(.*)$", re.MULTILINE)
ROLES = sorted(SHEETS)


def settings(role: str, *, commented: bool) -> dict[str, str]:
    found = LINE.findall(envfile(role))
    return {name: value for mark, name, value in found if bool(mark) is commented}


@pytest.mark.parametrize("role", ROLES)
def test_the_example_is_that_of_the_code(role):
    """Whoever changes a setting makes the files anew; each file's head says how."""
    assert (ROOT / "deploy" / "systemd" / f"{role}.env.example").read_text() == envfile(role)


@pytest.mark.parametrize("role", ROLES)
def test_every_setting_stands_in_the_file_once(role):
    """None is missing, none is made up, none is there twice."""
    names = [name for _, name, _ in LINE.findall(envfile(role))]
    assert sorted(names) == sorted(variable(path) for path, _ in leaves(SHEETS[role].model))


@pytest.mark.parametrize("role", ROLES)
def test_the_file_loads_as_it_stands(role):
    """What is not commented out is taken by the program, and gives what the sheet chose."""
    loaded = load(SHEETS[role].model, [], prog=role, environ=settings(role, commented=False))
    for name, wanted in SHEETS[role].given.items():
        value = loaded
        for part in name.split("."):
            value = getattr(value, part)
        assert str(value) in {wanted, f"{wanted}.0"}, name


@pytest.mark.parametrize("role", ROLES)
def test_a_line_in_comment_shows_the_default(role):
    """Taking all marks away changes nothing but where the state lies."""
    sheet = SHEETS[role]
    shown = settings(role, commented=True)
    for name in sheet.elsewhere:
        del shown[variable(tuple(name.split(".")))]
    given, default = (
        load(sheet.model, [], prog=role, environ=environ).model_dump(mode="json")
        for environ in (shown, {})
    )
    for dumped in (given, default):
        dumped.get("leases", {}).pop("state", None)
        del dumped["state"]
    assert given == default


def test_the_file_does_not_depend_on_the_machine(monkeypatch, tmp_path):
    """Neither the home folder nor the environment shows in it."""
    before = envfile("miner")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COMPUTE_NETUID", "99")
    assert envfile("miner") == before
