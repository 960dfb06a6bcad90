"""Renters' Dockerfile instructions, reduced to what a sandbox runs: a script and an environment.

Only instructions that make sense on top of a lease's image are taken: RUN, ENV, ARG and WORKDIR.
No file travels with a request and the entry point is the lease's own, so COPY, ADD, FROM, CMD and
the like are refused by name instead of being ignored.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from compute.errors import Code, LeaseError

_HERE_DOCUMENT = re.compile(r"<<-?['\"]?[A-Za-z_]")
# What the GPU runtime obeys: it reads a container's environment as root of its host. Its hooks are
# programs that the dynamic linker loads, under that same environment.
RESERVED_VARIABLES = ("NVIDIA_", "CUDA_VISIBLE_DEVICES", "LD_")
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_LONGEST_TITLE = 120


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is to be done on top of an image.

    Attributes:
        content: the instructions alone: the same for texts that differ in comments and layout.
        script: for `sh`; ends at the first instruction that fails, and says which.
        environment: what the finished image has in its environment.
    """

    content: str
    script: str
    environment: dict[str, str] = field(default_factory=dict)


def read_recipe(text: str, base: Mapping[str, str]) -> Recipe:
    """Read Dockerfile instructions.

    Args:
        text: one instruction a line, continued by a backslash.
        base: environment of the image below, for `$NAME` in values.

    Raises:
        LeaseError: `UNSUPPORTED` with the line of an instruction that is not offered, `MALFORMED`
            where one cannot be understood.
    """
    lines, content = ["set -eu"], []
    environment: dict[str, str] = {}
    known = dict(base)
    for number, instruction, rest in _instructions(text):
        content.append(f"{instruction} {rest}")
        match instruction:
            case "RUN":
                lines.append(_run(number, rest))
            case "ENV" | "ARG":
                for name, value in _assignments(number, instruction, rest):
                    known[name] = _expand(value, known)
                    lines.append(f"export {name}={shlex.quote(known[name])}")
                    if instruction == "ENV":
                        _check_free(number, name)
                        environment[name] = known[name]
            case "WORKDIR":
                folder = shlex.quote(_expand(rest, known))
                lines.append(f"mkdir -p {folder} && cd {folder}")
            case _:
                raise LeaseError(Code.UNSUPPORTED, f"line {number}: {instruction} is not offered")
    return Recipe("\n".join(content), "\n".join([*lines, ""]), environment)


def _instructions(text: str) -> Iterator[tuple[int, str, str]]:
    """Line number, instruction and the rest, continued lines joined and comments left out."""
    start, parts = 0, []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        start = start or number
        if line.rstrip().endswith("\\"):
            parts.append(line.rstrip()[:-1])
            continue
        parts.append(line)
        yield _split(start, " ".join(part.strip() for part in parts))
        start, parts = 0, []
    if parts:
        yield _split(start, " ".join(part.strip() for part in parts))


def _split(number: int, statement: str) -> tuple[int, str, str]:
    instruction, _, rest = statement.partition(" ")
    if instruction.upper() == "RUN" and _HERE_DOCUMENT.search(rest):
        raise LeaseError(Code.UNSUPPORTED, f"line {number}: here-documents are not offered")
    if not rest.strip():
        raise LeaseError(Code.MALFORMED, f"line {number}: {instruction[:40]} of nothing")
    return number, instruction.upper()[:40], rest.strip()


def _run(number: int, rest: str) -> str:
    command = _exec_form(number, rest) if rest.startswith("[") else f"sh -c {shlex.quote(rest)}"
    title = shlex.quote(f"line {number}: RUN {rest}"[:_LONGEST_TITLE])
    failed = f'echo "line {number} ended with $code"'
    return f"printf '%s\\n' {title}; {command} || {{ code=$?; {failed}; exit $code; }}"


def _exec_form(number: int, rest: str) -> str:
    try:
        words = json.loads(rest)
    except ValueError as error:
        raise LeaseError(Code.MALFORMED, f"line {number}: not a JSON list") from error
    if not isinstance(words, list) or not words or not all(isinstance(w, str) for w in words):
        raise LeaseError(Code.MALFORMED, f"line {number}: not a JSON list of strings")
    return shlex.join(words)


def _assignments(number: int, instruction: str, rest: str) -> Iterator[tuple[str, str]]:
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise LeaseError(Code.MALFORMED, f"line {number}: {error}") from error
    if instruction == "ENV" and "=" not in words[0]:
        words = [f"{words[0]}={rest.partition(words[0])[2].strip()}"]
    for word in words:
        name, _, value = word.partition("=")
        if not _NAME.match(name):
            raise LeaseError(Code.MALFORMED, f"line {number}: not a name: {name[:40]}")
        yield name, value


def _check_free(number: int, name: str) -> None:
    if name.startswith(RESERVED_VARIABLES):
        raise LeaseError(Code.UNSUPPORTED, f"line {number}: {name} is the host's to set")


def _expand(value: str, known: Mapping[str, str]) -> str:
    """Put in what `$NAME` and `${NAME}` stand for; an unknown name stands for nothing."""
    return _VARIABLE.sub(lambda found: known.get(found[1] or found[2], ""), value)
