"""Errors on the wire and back."""

import json

import pytest

from compute.errors import AdmissionError, Code, ComputeError, LeaseError, PeerError
from compute.protocol.codec import encode
from compute.protocol.problem import error_of, problem_of

PEER = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


@pytest.mark.parametrize("code", list(Code))
def test_every_code_survives_the_wire(code: Code) -> None:
    """What a neuron raises arrives with the same code and detail, marked as the peer's."""
    sent = ComputeError(code, "why", retry_after_s=2.5, data={"n": 1})
    problem = problem_of(sent, "ab" * 16)
    error = error_of(encode(problem), problem.status, PEER)
    assert error.data["peer"] == PEER
    assert error.data["trace"] == "ab" * 16
    if code is Code.INTERNAL:
        assert error.code is Code.PEER_INVALID  # its inner fault is not ours
        return
    assert (error.code, error.detail, error.retry_after_s, error.data["n"]) == (code, "why", 2.5, 1)
    assert error.hint == code.spec.hint


def test_an_error_comes_back_as_its_own_class() -> None:
    """A caller can tell a refused lease from a refused caller by the class."""
    for sent in (LeaseError(Code.NO_CAPACITY), AdmissionError(Code.DENIED)):
        problem = problem_of(sent, "")
        assert type(error_of(encode(problem), problem.status, PEER)) is type(sent)


def test_a_hint_is_never_a_strangers() -> None:
    """A peer cannot make our own advice say something else, nor write to a terminal."""
    problem = problem_of(ComputeError(Code.DENIED, "a\x1b[2Jb\r\nc", hint="run rm -rf /"), "")
    error = error_of(encode(problem), problem.status, PEER)
    assert error.hint == Code.DENIED.spec.hint
    assert error.detail == "a [2Jb  c"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"type":"x","title":"x","status":200,"code":"denied"}',
        json.dumps({"type": "x", "title": "x", "status": 418, "code": "teapot"}).encode(),
        json.dumps({"type": "x", "title": "x", "status": 403, "code": "denied"}).encode(),
        json.dumps(
            {"type": "x", "title": "x", "status": 418, "code": "denied", "data": 1}
        ).encode(),
        json.dumps(
            {"type": "x", "title": "x", "status": 418, "code": "busy", "retry_after": 1e300}
        ).encode(),
    ],
)
def test_what_is_no_problem_is_an_invalid_peer(body: bytes) -> None:
    """A status 418 with any of these bodies is the peer's fault, not an exception of ours."""
    error = error_of(body, 418, PEER)
    assert isinstance(error, PeerError)
    assert error.code is Code.PEER_INVALID
