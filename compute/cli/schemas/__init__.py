"""Published JSON schemas of what the verbs print with `--json`, one file a verb.

The files are made by `python -m compute.cli.schemas` from the verbs' own models; a test fails when
they drift, and the tests of the verbs check real output against them.
"""

import json
import re
from importlib.resources import files
from typing import Any

ERROR = "error"


def names() -> list[str]:
    """Verbs that have a schema, as they are typed; `error` is the envelope of every error."""
    return sorted(
        json.loads(file.read_text())["title"]
        for file in files(__name__).iterdir()
        if file.name.endswith(".json")
    )


def published(verb: str) -> dict[str, Any]:
    """The published schema of a verb's output; raises `KeyError` when it has none."""
    file = files(__name__).joinpath(file_name(verb))
    if not file.is_file():
        raise KeyError(verb)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def file_name(verb: str) -> str:
    """Name of a verb's file: `receipt verify` is in `receipt-verify.json`."""
    return re.sub(r"[^a-z]+", "-", verb).strip("-") + ".json"
