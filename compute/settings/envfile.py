"""Writes a role's environment file from the model that its program reads.

::

    python -m compute.settings.envfile miner > deploy/systemd/miner.env.example

systemd (`EnvironmentFile=`), compose (`env_file:`) and a shell read it alike. Every setting stands
in it with its help; what is commented out has the default that is shown.
"""

import argparse
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from compute.settings.common import default_state
from compute.settings.loading import Path_, default_of, leaves, variable
from compute.settings.renter import CheckerSettings
from compute.settings.roles import MinerSettings, ValidatorSettings

WIDTH = 98
STATE = "/var/lib/compute"
_NOTHING = frozenset({"unset", "none"})
_KEYS = {
    "netuid": "27",
    "subtensor.network": "finney",
    "wallet.path": f"{STATE}/wallets",
    "wallet.name": "default",
}


@dataclass(frozen=True, slots=True)
class Sheet:
    """One role's environment file.

    Attributes:
        program: what reads the settings.
        model: the settings.
        unit: name of the systemd unit, without its ending.
        given: dotted settings that stand in the file with a value, because an installation chooses.
        elsewhere: dotted settings that the unit or the compose file sets itself.
    """

    program: str
    model: type[BaseModel]
    unit: str
    given: Mapping[str, str]
    elsewhere: frozenset[str] = field(default_factory=lambda: frozenset({"state"}))


SHEETS = {
    "miner": Sheet(
        "neurons/miner.py",
        MinerSettings,
        "compute-miner",
        {
            **_KEYS,
            "wallet.hotkey": "miner",
            "axon.port": "8091",
            "axon.external_ip": "",
            "image.base": "",
            "leases.first_port": "20000",
            "leases.last_port": "20999",
        },
        frozenset({"state", "leases.state"}),
    ),
    "validator": Sheet(
        "neurons/validator.py",
        ValidatorSettings,
        "compute-validator",
        {**_KEYS, "wallet.hotkey": "validator"},
    ),
    "submitter": Sheet(
        "neurons/validator.py",
        ValidatorSettings,
        "compute-submitter",
        {
            **_KEYS,
            "wallet.hotkey": "validator",
            "role": "submitter",
            "master": "",
            "master_hotkey": "",
        },
    ),
    "checker": Sheet(
        "neurons/miner_checker.py",
        CheckerSettings,
        "compute-checker",
        {**_KEYS, "wallet.hotkey": "checker", "every": "600", "metrics_port": "8603"},
    ),
}


def envfile(role: str) -> str:
    """The environment file of a role: miner, validator, submitter or checker."""
    return "\n".join(_lines(role, SHEETS[role])) + "\n"


def _lines(role: str, sheet: Sheet) -> Iterator[str]:
    yield from _comment(
        f"/etc/compute/{role}.env: every setting of {sheet.program} (--help shows the same). "
        "What is commented out has the default that is shown. "
        f"Then: systemctl restart {sheet.unit}."
    )
    yield "#"
    made = f"python -m compute.settings.envfile {role}"
    yield f"# Made by `{made}`; a test fails when the two differ."
    groups: dict[str, list[tuple[Path_, FieldInfo]]] = {"": []}
    for path, setting in leaves(sheet.model):
        groups.setdefault(".".join(path[:-1]), []).append((path, setting))
    for group, members in groups.items():
        yield from ("", f"# --- {group or 'general'} ---")
        for path, setting in members:
            yield ""
            yield from _setting(role, sheet, path, setting)


def _setting(role: str, sheet: Sheet, path: Path_, setting: FieldInfo) -> Iterator[str]:
    name = ".".join(path)
    about = setting.description or name
    elsewhere = name in sheet.elsewhere
    yield from _comment(f"{about}; the unit sets it" if elsewhere else about)
    if name in sheet.given:
        yield f"{variable(path)}={sheet.given[name]}"
    else:
        yield f"#{variable(path)}={_default(role, setting)}"


def _default(role: str, setting: FieldInfo) -> str:
    """A default as the file shows it, the same on every machine."""
    if setting.default_factory is default_state:
        return f"{STATE}/{role}"
    shown = default_of(setting).replace(str(Path.home()), "~")
    return "" if shown in _NOTHING else shown


def _comment(text: str) -> Iterator[str]:
    for line in textwrap.wrap(text, WIDTH - 2, break_on_hyphens=False):
        yield f"# {line}"


def main(argv: Sequence[str]) -> int:
    """Print one role's file."""
    parser = argparse.ArgumentParser(prog="envfile", description="Prints an environment file.")
    parser.add_argument("role", choices=SHEETS, help="whose settings")
    sys.stdout.write(envfile(parser.parse_args(argv).role))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
