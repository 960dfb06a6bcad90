"""Makes the schemas from the verbs' own models."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from compute.cli.lazy import VerbGroup
from compute.cli.main import Verbs
from compute.cli.output import Envelope
from compute.cli.schemas import ERROR, file_name

FOLDER = Path(__file__).parent
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def shapes(group: type[VerbGroup] = Verbs) -> dict[str, Any]:
    """Verb, as it is typed, to the type of what it prints."""
    found: dict[str, Any] = {ERROR: Envelope} if group is Verbs else {}
    for verb in group.verbs.values():
        module = verb.load()
        if hasattr(module, "shapes"):
            found |= module.shapes()
    return found


def schemas() -> Iterator[tuple[str, str]]:
    """File name and text of every schema."""
    for verb, kind in sorted(shapes().items()):
        made = TypeAdapter(kind).json_schema(mode="serialization")
        whole = {"$schema": DIALECT, **made, "title": verb}
        yield file_name(verb), json.dumps(whole, indent=1, sort_keys=True) + "\n"


def write() -> list[Path]:
    """Write every schema; returns the files that changed, removed ones too."""
    changed = []
    wanted = dict(schemas())
    for name, text in wanted.items():
        file = FOLDER / name
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
            changed.append(file)
    for file in FOLDER.glob("*.json"):
        if file.name not in wanted:
            file.unlink()
            changed.append(file)
    return changed
