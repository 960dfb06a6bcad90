"""Writes the docs page of settings from the models that the programs read.

::

    python -m compute.settings.page > docs/settings.md
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from compute.settings.common import default_state
from compute.settings.loading import default_of, leaves, variable
from compute.settings.renter import CheckerSettings, RenterSettings
from compute.settings.roles import MinerSettings, ValidatorSettings

_INTRODUCTION = """\
# Settings

Made by `python -m compute.settings.page` from the settings' models; a test fails when the two
differ.

A setting is given as a flag (`--axon.port 8091`), as an environment variable
(`COMPUTE_AXON_PORT=8091`), or in a YAML file that `--config` or `COMPUTE_CONFIG` names. Flags win
over the environment, the environment over the file, the file over the defaults. In the file the
names are nested:

```yaml
netuid: 27
wallet: {name: cold, hotkey: miner}
axon: {port: 8091}
```

Lists are written with commas on the command line and in the environment. Names that are not known
are refused, so that a slip of the finger is never a silent default.
"""

ROLES: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("Miner", "`python neurons/miner.py`", MinerSettings),
    ("Validator", "`python neurons/validator.py`", ValidatorSettings),
    ("Checker", "`python neurons/miner_checker.py`", CheckerSettings),
    (
        "Renter",
        (
            "the `compute` command and `compute.rent`; the file is `~/.config/compute/config.yaml`"
            " unless another is named, and `compute config` changes it"
        ),
        RenterSettings,
    ),
)


def page() -> str:
    """The docs page as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _INTRODUCTION.rstrip()
    for title, program, model in ROLES:
        yield from ("", f"## {title}", "")
        yield f"For {program}."
        yield ""
        yield "| setting | environment variable | default | meaning |"
        yield "|---|---|---|---|"
        for path, field in leaves(model):
            meaning = (field.description or "").replace("|", "\\|")
            name = ".".join(path)
            yield f"| `{name}` | `{variable(path)}` | {_default(field)} | {meaning} |"


def _default(field: FieldInfo) -> str:
    """A default as the page shows it, the same on every machine."""
    if field.default_factory is default_state:
        return "`$XDG_STATE_HOME/compute`, else `~/.local/state/compute`"
    text = default_of(field).replace(str(Path.home()), "~")
    return text if text in {"unset", "none"} else f"`{text}`"


if __name__ == "__main__":
    sys.stdout.write(page())
