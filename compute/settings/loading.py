"""Reads a role's settings: flags over environment over YAML over defaults.

One frozen pydantic model describes each role. Flags are dotted paths into it (`--axon.port`),
environment variables are the same in capitals (`COMPUTE_AXON_PORT`), the YAML file nests them, and
whatever nobody set is the model's default. Unknown flags and unknown keys are refused.
"""

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from compute.errors import UsageError
from compute.version import __version__

PREFIX = "COMPUTE"
SettingsT = TypeVar("SettingsT", bound=BaseModel)
Path_ = tuple[str, ...]


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises our own error instead of ending the process."""

    def error(self, message: str) -> Any:
        raise UsageError(message, hint=f"see '{self.prog} --help' for what is accepted")


def load(
    model: type[SettingsT],
    argv: Sequence[str],
    *,
    prog: str,
    environ: Mapping[str, str] | None = None,
    fallback: Path | None = None,
) -> SettingsT:
    """Read settings for one role.

    Args:
        model: frozen pydantic model; nested models become dotted flags.
        argv: arguments without the program's name.
        prog: name shown in help and errors.
        environ: environment; the process's own when None.
        fallback: YAML file that is read when no other was named and it exists.

    Raises:
        UsageError: for an unknown flag or key, an unreadable file, or a value out of bounds.
    """
    environ = os.environ if environ is None else environ
    flags = vars(_parser(model, prog).parse_args(list(argv)))
    config = flags.pop("config", None) or environ.get(f"{PREFIX}_CONFIG")
    if not config and fallback is not None and fallback.exists():
        config = str(fallback)
    merged: dict[str, Any] = read_yaml(Path(config).expanduser()) if config else {}
    for path, _ in leaves(model):
        if (value := environ.get(variable(path))) is not None:
            _put(merged, path, value)
    for name, value in flags.items():
        if value is not None:
            _put(merged, tuple(name.split(".")), value)
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise UsageError(_explain(error)) from None


def leaves(model: type[BaseModel], prefix: Path_ = ()) -> Iterator[tuple[Path_, FieldInfo]]:
    """Every setting of a model, as its path and its field."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, (*prefix, name))
        else:
            yield (*prefix, name), field


def variable(path: Path_) -> str:
    """Name of the environment variable of a setting."""
    return "_".join((PREFIX, *path)).upper()


def default_of(field: FieldInfo) -> str:
    """A field's default, as it is shown to a person."""
    return shown(field.get_default(call_default_factory=True, validated_data={}))


def shown(value: Any) -> str:
    """A setting's value, as it is shown to a person; never a secret."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, SecretStr):
        return "unset" if not value.get_secret_value() else "set"
    if isinstance(value, tuple | list | frozenset):
        return ",".join(str(item) for item in value) or "none"
    return "unset" if value is None or value == "" else str(value)


def _parser(model: type[BaseModel], prog: str) -> _Parser:
    parser = _Parser(
        prog=prog,
        description=(model.__doc__ or "").split("\n\n")[0],
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{prog} {__version__}")
    parser.add_argument(
        "--config", metavar="FILE", help=f"YAML file of settings [env {PREFIX}_CONFIG]"
    )
    for path, field in leaves(model):
        name = ".".join(path)
        text = f"{field.description or ''} [default {default_of(field)}; env {variable(path)}]"
        options: dict[str, Any] = {"dest": name, "help": text.replace("%", "%%")}
        if field.annotation is bool:
            options |= {"nargs": "?", "const": "true", "metavar": "true|false"}
        else:
            options["metavar"] = _metavar(field.annotation)
        parser.add_argument(f"--{name}", **options)
    return parser


def _metavar(annotation: Any) -> str:
    if get_origin(annotation) in (tuple, list, frozenset):
        return "A,B,…"
    members = [item for item in get_args(annotation) if item is not type(None)]
    kind = members[0] if members else annotation
    return {int: "N", float: "X", Path: "PATH"}.get(kind, "TEXT")


def read_yaml(path: Path) -> dict[str, Any]:
    """The content of a file of settings; raises `UsageError` when it is not one."""
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UsageError(f"the settings file {path} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"the settings file {path} is not YAML{_where(error)}") from None
    except UnicodeDecodeError:
        raise UsageError(f"the settings file {path} is not text") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"the settings file {path} is not a mapping")
    return content


def _where(error: yaml.YAMLError) -> str:
    """Line and column of a fault, and what it is."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", "") or ""
    return f" at line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else ""


def _put(target: dict[str, Any], path: Path_, value: Any) -> None:
    for name in path[:-1]:
        target = target.setdefault(name, {})
        if not isinstance(target, dict):
            raise UsageError(f"'{name}' in the settings file is not a mapping")
    target[path[-1]] = value


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"there is no setting '{name}'")
        else:
            lines.append(f"--{name}: {problem['msg'][:1].lower()}{problem['msg'][1:]}")
    return "; ".join(lines)
