"""Where each of a renter's settings comes from, and how the file of them is changed."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from compute.errors import Code, ComputeError, UsageError
from compute.settings.loading import PREFIX, leaves, load, read_yaml, shown, variable
from compute.settings.renter import RenterSettings, default_config


def known(name: str) -> None:
    """Raise `UsageError` unless a renter has a setting of this dotted name; empty is fine."""
    names = {".".join(place) for place, _ in leaves(RenterSettings)}
    if name and name not in names:
        raise UsageError(f"there is no setting '{name}'", hint="'compute config get' lists them")


def file_of(flags: Mapping[str, str], environ: Mapping[str, str] | None = None) -> Path:
    """The YAML file that is read: by flag, by environment, or the default one."""
    environ = os.environ if environ is None else environ
    named = flags.get("config") or environ.get(f"{PREFIX}_CONFIG")
    return Path(named).expanduser() if named else default_config()


def sources(flags: Mapping[str, str], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Dotted name of each setting to where it comes from.

    Returns:
        `flag`, `environment`, `file` or `default` for each.

    Raises:
        UsageError: when the file cannot be read.
    """
    environ = os.environ if environ is None else environ
    file = file_of(flags, environ)
    content = read_yaml(file) if file.exists() else {}
    found = {}
    for place, _ in leaves(RenterSettings):
        name = ".".join(place)
        if name in flags:
            found[name] = "flag"
        elif variable(place) in environ:
            found[name] = "environment"
        else:
            found[name] = "file" if _at(content, place) is not None else "default"
    return found


def text_of(settings: BaseModel, name: str) -> str:
    """A setting's value as a person reads it."""
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return shown(value)


def write_setting(file: Path, name: str, value: str | None) -> None:
    """Set a setting in a file, or take it out; the file must be good afterwards.

    Raises:
        UsageError: when the setting or its value is none.
        ComputeError: `STORAGE_FAILED` when the file cannot be written.
    """
    known(name)
    content = read_yaml(file) if file.exists() else {}
    place = name.split(".")
    _remove(content, place)
    if value is not None:
        checked = load(RenterSettings, [f"--{name}", value], prog="compute", environ={})
        inner = content
        for part in place[:-1]:
            inner = inner.setdefault(part, {})
        inner[place[-1]] = _at(checked.model_dump(mode="json"), tuple(place))
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = file.with_name(f".{file.name}.new")
        fresh.write_text(yaml.safe_dump(content, sort_keys=True, allow_unicode=True))
        fresh.replace(file)
    except OSError as error:
        raise ComputeError(Code.STORAGE_FAILED, f"{file}: {error.strerror}") from error


def _at(content: Any, place: tuple[str, ...]) -> Any:
    for part in place:
        content = content.get(part) if isinstance(content, dict) else None
    return content


def _remove(content: dict[str, Any], place: list[str]) -> None:
    inner: Any = content.get(place[0])
    if len(place) > 1 and isinstance(inner, dict):
        _remove(inner, place[1:])
        if not inner:
            del content[place[0]]
    elif len(place) == 1:
        content.pop(place[0], None)
