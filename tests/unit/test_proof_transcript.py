"""Transcripts: anyone can check a session of mode R again."""

import json
from pathlib import Path
from typing import Any

import pytest

from compute.errors import Code, ProofError
from compute.proof.result import Reason
from compute.proof.transcript import MAGIC, decode, verify_transcript
from compute.proof.wire import Mode
from tests.adversary import proof_cheats as cheats
from tests.adversary.proof_arena import Miner, challenge


@pytest.fixture
async def transcript() -> bytes:
    """Return the transcript of an honest session of two GPUs."""
    result, _ = await challenge(Miner(), mode=Mode.RECOMPUTE, gpus=2, units=6)
    return result.transcript


def _edit(data: bytes, change: Any) -> bytes:
    """Change a transcript's head."""
    start = len(MAGIC) + 4
    length = int.from_bytes(data[len(MAGIC) : start], "little")
    head = json.loads(data[start : start + length])
    change(head)
    text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    return MAGIC + len(text).to_bytes(4, "little") + text + data[start + length :]


def test_an_honest_transcript_holds(transcript: bytes) -> None:
    """An honest session's transcript is checked again without any secret of the verifier."""
    report = verify_transcript(transcript)
    assert report.passed
    assert report.bound == (True, True)
    assert report.transcript.hotkey == "5Miner"
    assert [entry.claim for entry in report.transcript.entries] == ["arena/GPU-0", "arena/GPU-1"]
    assert [entry.chain_s for entry in report.transcript.entries] == [2.0, 2.0]


def test_an_edit_without_a_change_is_the_same(transcript: bytes) -> None:
    """The encoding is canonical."""
    assert _edit(transcript, lambda _: None) == transcript


async def test_a_false_session_fails_again() -> None:
    """A transcript of a false session shows the falsehood to anyone."""
    miner = Miner(engine=lambda _: cheats.skipping(0.5)())
    result, _ = await challenge(miner, mode=Mode.RECOMPUTE)
    report = verify_transcript(result.transcript)
    assert not report.passed
    assert report.verdicts[0].reason is Reason.ROUND


def test_a_changed_reply_fails(transcript: bytes) -> None:
    """Changing any byte of a reply is found."""
    changed = bytearray(transcript)
    changed[-1] ^= 1
    report = verify_transcript(bytes(changed))
    assert [verdict.reason for verdict in report.verdicts] == [Reason.PASSED, Reason.SWEEP_PATH]


@pytest.mark.parametrize("field", ["hotkey", "claim", "sub", "secret"])
def test_a_borrowed_proof_is_not_bound(transcript: bytes, field: str) -> None:
    """A transcript cannot be passed off as another miner's, or as another claim."""

    def borrow(head: dict[str, Any]) -> None:
        if field in ("hotkey", "secret"):
            head[field] = "00" * 32
        else:
            head["gpus"][0][field] = "11" * 32

    report = verify_transcript(_edit(transcript, borrow))
    assert not report.passed
    assert not report.bound[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head.pop("slot"),
        lambda head: head.update(gpus=[]),
        lambda head: head.update(gpus=head["gpus"] * 40),
        lambda head: head.update(slot="zz"),
        lambda head: head.update(hotkey=5),
        lambda head: head["gpus"][0].update(sizes=[1 << 40, 2, 4]),
        lambda head: head["gpus"][0].update(sizes=[128, 2.0, 64]),
        lambda head: head["gpus"][0].update(sizes=[128, True, 64]),
        lambda head: head["gpus"][0].update(units=[[1, -1]]),
        lambda head: head["gpus"][0].update(units=[[0, 1]] * 6),
        lambda head: head["gpus"][0].update(units=[[1, 1]] * 5),
        lambda head: head["gpus"][0].update(units=[[1, 1]] * 300),
        lambda head: head["gpus"][0].update(units=7),
    ],
)
def test_a_head_that_makes_no_sense_is_malformed(transcript: bytes, change: Any) -> None:
    """A head that breaks a limit or a type is refused as malformed, and nothing is computed."""
    with pytest.raises(ProofError) as caught:
        decode(_edit(transcript, change))
    assert caught.value.code is Code.MALFORMED


@pytest.mark.parametrize("data", [b"", MAGIC, MAGIC + b"\xff" * 4, MAGIC + bytes(4), b"x" * 99])
def test_what_is_no_transcript_is_malformed(data: bytes) -> None:
    """Files of another kind are refused with a readable error."""
    with pytest.raises(ProofError):
        verify_transcript(data)


def test_the_bytes_can_be_kept_in_a_file(transcript: bytes, tmp_path: Path) -> None:
    """A transcript is one file's content."""
    file = tmp_path / "t.mgx"
    file.write_bytes(transcript)
    assert decode(file.read_bytes()) == decode(transcript)
