"""Errors on the wire: `application/problem+json` from the catalogue, and back.

What a peer writes into a problem is a stranger's text. Coming back, the title and the hint are
those of our own catalogue; the peer's detail is shortened, cleaned of control characters, and the
error says whose it is.
"""

import math
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from compute.errors import (
    AdmissionError,
    ChainError,
    Code,
    ComputeError,
    EngineError,
    LeaseError,
    PeerError,
    ProbeError,
    ProofError,
    WalletError,
)

CONTENT_TYPE = "application/problem+json"
MAX_BYTES = 64 * 1024
_LONGEST_DETAIL = 1000
_LONGEST_WAIT_S = 86_400

# The catalogue's bands of exit codes; see `compute.errors.Code`.
_BANDS: tuple[tuple[range, type[ComputeError]], ...] = (
    (range(30, 32), WalletError),
    (range(32, 40), ChainError),
    (range(40, 50), EngineError),
    (range(50, 60), LeaseError),
    (range(60, 70), AdmissionError),
    (range(70, 80), PeerError),
    (range(80, 90), ProofError),
    (range(90, 100), ProbeError),
)


class Problem(BaseModel):
    """The body of every answer that is not a success (RFC 9457).

    Attributes:
        type: `urn:compute:error:` and the code.
        title: what happened, in one line.
        status: HTTP status.
        code: stable identifier, see docs/errors.md.
        detail: what happened this time.
        hint: what to do about it.
        trace: id to look for in the neuron's log.
        retry_after: seconds after which a retry makes sense.
        data: small facts for programs.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Annotated[str, Field(max_length=200)]
    title: Annotated[str, Field(max_length=500)]
    status: Annotated[int, Field(ge=400, le=599)]
    code: Annotated[str, Field(max_length=64)]
    detail: Annotated[str, Field(max_length=16_384)] = ""
    hint: Annotated[str, Field(max_length=2000)] = ""
    trace: Annotated[str, Field(max_length=64)] = ""
    retry_after: Annotated[float, Field(ge=0, le=_LONGEST_WAIT_S)] | None = None
    data: dict[str, JsonValue] = {}


def problem_of(error: ComputeError, trace: str, *, status: int | None = None) -> Problem:
    """An error as it is sent."""
    spec = error.code.spec
    return Problem(
        type=f"urn:compute:error:{spec.slug}",
        title=spec.title,
        status=status or spec.http_status,
        code=spec.slug,
        detail=error.detail[:_LONGEST_DETAIL],
        hint=error.hint,
        trace=trace,
        retry_after=_wait(error.retry_after_s),
        data=error.data,
    )


def _wait(seconds: float | None) -> float | None:
    if seconds is None or not math.isfinite(seconds):
        return None
    return round(min(max(seconds, 0.0), _LONGEST_WAIT_S), 3)


def error_of(body: bytes, status: int, peer: str) -> ComputeError:
    """A peer's problem as the error that it stands for.

    The class follows the code; `data["peer"]` says whose error it is, `data["trace"]` where its
    log tells more. A peer's own inner fault, an unknown code and a body that is no problem become
    `PEER_INVALID`.
    """
    try:
        problem = Problem.model_validate_json(body)
    except ValidationError:
        return PeerError(Code.PEER_INVALID, f"status {status} without a problem", data=_mark(peer))
    code = Code.of(problem.code)
    facts = {**problem.data, **_mark(peer, clean(problem.trace, 64))}
    detail = clean(problem.detail, _LONGEST_DETAIL)
    if problem.status != status or code is Code.INTERNAL:
        reason = f"status {status}, code {clean(problem.code, 64)}: {detail}"
        return PeerError(Code.PEER_INVALID, reason, data=facts)
    kind = next((kind for band, kind in _BANDS if code.spec.exit_code in band), ComputeError)
    return kind(code, detail, retry_after_s=problem.retry_after, data=facts)


def _mark(peer: str, trace: str = "") -> dict[str, Any]:
    return {"peer": peer, "trace": trace} if trace else {"peer": peer}


def clean(text: str, longest: int) -> str:
    """A stranger's text, safe to print: one line, no control characters, no longer than said."""
    text = text[:longest].strip()
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
