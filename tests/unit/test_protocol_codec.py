"""Message bodies: what JSON is accepted, and what is said of the rest."""

import json
import tracemalloc

import pytest

from compute.domain.lease import LeaseKind, LeaseState
from compute.domain.requirement import Requirement
from compute.errors import AdmissionError, Code
from compute.protocol.codec import decode, encode
from compute.protocol.synapses import (
    MAX_FRAME_BYTES,
    AllocateRequest,
    ChallengeReply,
    ChallengeRequest,
    LeaseReply,
    SpecsRequest,
)


def refusal(model: type, body: bytes) -> AdmissionError:
    with pytest.raises(AdmissionError) as caught:
        decode(model, body)
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b'{"version":1}x',
        b'{"version":1,"version":1}',
        b'{"version":true}',
        b'{"version":"one"}',
        b'{"version":NaN}',
        b'{"other":1}',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        '{"version":1}'.encode("utf-16"),
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"version":' + b"9" * 5000 + b"}",
        b'{"\\ud800":1}',
    ],
)
def test_what_is_no_such_message_is_refused(body: bytes) -> None:
    """Whatever is not exactly this message ends in a refusal, never in another exception."""
    assert refusal(SpecsRequest, body).code in {Code.MALFORMED, Code.VERSION}


def test_a_repeated_key_is_refused_at_any_depth() -> None:
    """Two parsers could read two things into it."""
    body = b'{"version":1,"step":"open","gpus":[],"data":"","wait_s":1,"wait_s":2}'
    assert refusal(ChallengeRequest, body).detail == "the body repeats a key"


@pytest.mark.parametrize("item", [b"[],", b'{"a":0},', b"0,", b'"",'])
@pytest.mark.parametrize("size", [900_000, 10_000_000])
def test_a_flood_of_values_is_refused_before_it_is_parsed(item: bytes, size: int) -> None:
    """Making millions of values would keep the event loop, and everybody else, waiting."""
    body = b'{"version":1,"x":[' + item * (size // len(item)) + b"0]}"
    tracemalloc.start()
    error = refusal(ChallengeReply, body)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (error.code, error.detail) == (Code.MALFORMED, "the body holds too many values")
    assert most < 3 * size


def test_text_may_hold_what_structure_may_not() -> None:
    """A log full of brackets and commas is text, and arrives; so does the largest frame."""
    log = '[{"a\\": [1,2]},' * 16_000
    reply = LeaseReply(
        lease_id="a" * 32,
        kind=LeaseKind.RENTAL,
        state=LeaseState.ACTIVE,
        created_at=0,
        expires_at=0,
        requirement=Requirement(),
        logs=log,
    )
    assert decode(LeaseReply, encode(reply)) == reply
    frame = ChallengeReply(session="a" * 32, data=bytes(MAX_FRAME_BYTES))
    assert decode(ChallengeReply, encode(frame)) == frame


def test_an_unknown_version_is_told_those_that_are_spoken() -> None:
    """The answer to a future client says what it may fall back to."""
    error = refusal(SpecsRequest, b'{"version":2,"something":"new"}')
    assert (error.code, error.data) == (Code.VERSION, {"versions": [1]})


def test_the_fields_at_fault_are_named_without_their_values() -> None:
    """A refusal helps to correct the request and repeats nothing of it."""
    body = json.dumps({"idempotency_key": "secret!!", "duration_s": -7, "extra": "hidden"})
    error = refusal(AllocateRequest, body.encode())
    named = {fault["field"] for fault in error.data["fields"]}
    assert {"idempotency_key", "duration_s", "extra"} & named
    assert "duration_s" in error.detail
    for told in (error.detail, json.dumps(error.data)):
        assert "secret" not in told
        assert "hidden" not in told


def test_a_strangers_key_is_told_in_printable_letters_only() -> None:
    """A field's name is the stranger's text and may hold terminal escapes."""
    body = json.dumps({"\x1b[31m" + "x" * 500: 1}).encode()
    field = refusal(SpecsRequest, body).data["fields"][0]["field"]
    assert field.isprintable()
    assert len(field) <= 80


def test_a_message_survives_the_wire() -> None:
    """Encoding and decoding give an equal message, binary fields included."""
    request = ChallengeRequest(step="exchange", session="0" * 32, data=bytes(range(256)), expect=9)
    assert decode(ChallengeRequest, encode(request)) == request
