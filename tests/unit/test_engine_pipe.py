"""The pipe into an attached container, over a real pair of sockets."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from compute.adapters.engine.pipe import HEADER, STDOUT, AttachedPipe
from compute.errors import Code, EngineError

STDERR = 2
LONG_S = 30.0


@pytest.fixture
def ends() -> Iterator[tuple[AttachedPipe, socket.socket]]:
    ours, theirs = socket.socketpair()
    pipe = AttachedPipe(ours)
    yield pipe, theirs
    pipe.close()
    theirs.close()


def frame(stream: int, data: bytes) -> bytes:
    return HEADER.pack(stream, len(data)) + data


def test_bytes_arrive_however_they_were_cut(ends):
    """Frames may come in any pieces, and complaints between them are not output."""
    pipe, theirs = ends
    sent = frame(STDOUT, b"one") + frame(STDERR, b"oh no") + frame(STDOUT, b"two")
    for at in range(len(sent)):
        theirs.send(sent[at : at + 1])
    assert pipe.receive(6, LONG_S) == b"onetwo"


def test_an_end_is_told_with_the_last_complaint(ends):
    """Who dies in mid-answer is quoted."""
    pipe, theirs = ends
    theirs.send(frame(STDOUT, b"on") + frame(STDERR, b"out of memory"))
    theirs.close()
    with pytest.raises(EngineError, match="ended early; it said: out of memory") as told:
        pipe.receive(3, LONG_S)
    assert told.value.code is Code.PROVER_FAILED


@pytest.mark.parametrize(
    "work",
    [lambda pipe: pipe.receive(1, LONG_S), lambda pipe: pipe.send(bytes(64 << 20), LONG_S)],
    ids=["receive", "send"],
)
def test_closing_wakes_whoever_waits(ends, work: Callable[[AttachedPipe], object]):
    """A miner that stops must not wait for a prover that says nothing or takes nothing in."""
    pipe, _ = ends
    caught: list[EngineError] = []

    def wait() -> None:
        try:
            work(pipe)
        except EngineError as error:
            caught.append(error)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    time.sleep(0.1)
    threading.Thread(target=pipe.close, daemon=True).start()
    waiting.join(5)
    assert [error.code for error in caught] == [Code.PROVER_FAILED]
