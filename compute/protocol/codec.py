"""Message bodies: JSON bytes to models, strictly, and back.

What is refused besides what the models refuse: bytes that are not UTF-8, a repeated key, numbers
that JSON does not know, nesting deeper than the interpreter takes, more values than any message
has, and unknown versions. Nothing is converted: the text "1" is no number, and `true` is no 1.
"""

import json
import re
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from compute.errors import AdmissionError, Code

ModelT = TypeVar("ModelT", bound=BaseModel)
# What a MiB of the longest honest message, a claim of thousands of GPUs, is made of. So many values
# are parsed in tens of milliseconds; a frame of a proof filled with empty lists took seconds.
_MOST_MARKS = 50_000
_MOST_TEXT = 1 << 20  # bytes up to which text may hold marks; what is larger carries one base64
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_MOST_FAULTS = 5
_LONGEST_PATH = 80


def encode(message: BaseModel) -> bytes:
    """A model as the bytes that are sent and signed."""
    return message.model_dump_json().encode()


def decode(model: type[ModelT], body: bytes) -> ModelT:
    """Bytes as a model.

    Raises:
        AdmissionError: `MALFORMED` with the fields at fault, or `VERSION` with those spoken.
    """
    _check_version(model, _parse(body))
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        faults = [_fault(item) for item in error.errors(include_url=False, include_input=False)]
        shown = faults[:_MOST_FAULTS]
        detail = "; ".join(f"{fault['field']}: {fault['message']}" for fault in shown)
        raise AdmissionError(Code.MALFORMED, detail, data={"fields": shown}) from error


def versions(model: type[BaseModel]) -> tuple[int, ...]:
    """Versions that a model speaks; empty when it has none."""
    field = model.model_fields.get("version")
    return get_args(field.annotation) if field else ()


def _parse(body: bytes) -> Any:
    _refuse_flood(body)
    try:
        return json.loads(
            body.decode(), object_pairs_hook=_unrepeated, parse_constant=_refuse_constant
        )
    except RecursionError:
        raise AdmissionError(Code.MALFORMED, "the body is nested too deeply") from None
    except UnicodeDecodeError:
        raise AdmissionError(Code.MALFORMED, "the body is not UTF-8") from None
    except ValueError as error:
        reason = str(error) if isinstance(error, _RepeatedKeyError) else "the body is not JSON"
        raise AdmissionError(Code.MALFORMED, reason) from None


def _refuse_flood(body: bytes) -> None:
    """Refuse a body of very many values before any of them is made: that would block the loop."""
    if _marks(body) <= _MOST_MARKS:
        return
    strings = (body.count(b'"') - body.count(b'\\"')) // 2
    too_many = len(body) > _MOST_TEXT or strings > 2 * _MOST_MARKS
    if too_many or _marks(_STRING.sub(b"", body)) > _MOST_MARKS:
        raise AdmissionError(Code.MALFORMED, "the body holds too many values")


def _marks(body: bytes) -> int:
    """How many values JSON text holds, at most."""
    return body.count(b"[") + body.count(b"{") + body.count(b",")


class _RepeatedKeyError(ValueError):
    """A JSON object says something twice."""


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _RepeatedKeyError("the body repeats a key")
    return fields


def _refuse_constant(_name: str) -> Any:
    raise ValueError("not a JSON number")


def _check_version(model: type[BaseModel], content: Any) -> None:
    spoken = versions(model)
    if not spoken or not isinstance(content, dict) or "version" not in content:
        return
    version = content["version"]
    if isinstance(version, bool):  # equals 1 for a literal
        raise AdmissionError(Code.MALFORMED, "version: not a number")
    if isinstance(version, int) and version not in spoken:
        known = ", ".join(map(str, spoken))
        raise AdmissionError(
            Code.VERSION, f"versions spoken here: {known}", data={"versions": list(spoken)}
        )


def _fault(item: ErrorDetails) -> dict[str, str]:
    path = ".".join(str(part) for part in item["loc"]) or "body"
    printable = "".join(letter if letter.isprintable() else "?" for letter in path[:_LONGEST_PATH])
    return {"field": printable, "message": item["msg"][:200]}
