"""Units for systemd: they start what is there, with settings that exist, and are held in."""

import re
import shutil
import subprocess
import sys
from collections import defaultdict

import pytest

from compute.settings.envfile import SHEETS
from compute.settings.loading import leaves, variable
from tests.command import ROOT

UNITS = ROOT / "deploy" / "systemd"
NAMES = sorted(path.stem for path in UNITS.glob("*.service"))
NEURONS = {sheet.unit: sheet for sheet in SHEETS.values()}
OPEN_TO_FEW = {"compute-miner": "CAP_NET_ADMIN CAP_NET_RAW CAP_DAC_READ_SEARCH"}
HELD_IN = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "RestrictNamespaces": "yes",
    "SystemCallFilter": "@system-service",
    "User": "compute",
    "UMask": "0077",
    "Restart": "always",
}
NEEDS_SYSTEMD = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine"
)


def options(name: str) -> dict[str, list[str]]:
    """Every option of a unit, with its values in order."""
    found = defaultdict(list)
    for line in (UNITS / f"{name}.service").read_text().splitlines():
        key, mark, value = line.partition("=")
        if mark and not key.startswith("#"):
            found[key].append(value)
    return found


def test_every_role_has_its_unit():
    """A role with an environment file has a unit that reads it."""
    assert set(NEURONS) | {"compute-guard"} == set(NAMES)
    for role, sheet in SHEETS.items():
        assert options(sheet.unit)["EnvironmentFile"] == [f"/etc/compute/{role}.env"]


@pytest.mark.parametrize("name", NAMES)
def test_units_start_what_is_there(name):
    """Programs and docs that a unit names are in the checkout; modules can be found."""
    found = options(name)
    for text in found["ExecStart"] + found["ExecStartPre"] + found["Documentation"]:
        for path in re.findall(r"/opt/compute/((?:docs|neurons|scripts)/\S+)", text):
            assert (ROOT / path).is_file(), path
        for module in re.findall(r" -m (\S+)", text):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


@pytest.mark.parametrize("name", sorted(NEURONS))
def test_neurons_tell_systemd_and_are_given_settings_that_exist(name):
    """Ready and alive are told by the neuron; each variable of ours is a setting of its role."""
    found = options(name)
    assert (found["Type"], found["NotifyAccess"]) == (["notify"], ["main"])
    assert int(found["WatchdogSec"][0]) >= 60
    known = {variable(path) for path, _ in leaves(NEURONS[name].model)} | {"HOME"}
    given = [word.split("=")[0] for line in found["Environment"] for word in line.split()]
    assert set(given) <= known


@pytest.mark.parametrize("name", NAMES)
def test_units_are_held_in(name):
    """No unit runs as root, writes outside its state, or has more capabilities than it says."""
    found = options(name)
    for key, value in HELD_IN.items():
        assert found[key] == [value], key
    for key in ("CapabilityBoundingSet", "AmbientCapabilities"):
        assert found[key] == [OPEN_TO_FEW.get(name, "")], key


@NEEDS_SYSTEMD
def test_systemd_understands_the_units(tmp_path):
    """No unknown option, no wrong value; programs are replaced by ones that are there."""
    (tmp_path / "docker.service").write_text("[Service]\nExecStart=/bin/true\n")
    units = []
    for name in NAMES:
        text = (UNITS / f"{name}.service").read_text()
        text = text.replace("/opt/compute/.venv/bin/python", sys.executable)
        units.append(tmp_path / f"{name}.service")
        units[-1].write_text(text.replace("/opt/compute", str(ROOT)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "compute-" in line]
    assert (done.returncode, said) == (0, [])
