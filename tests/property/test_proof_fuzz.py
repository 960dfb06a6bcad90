"""Mutated messages: no crash, no hang, no accept, and no more memory than was asked for.

`PROOF_FUZZ=100000` sets the number of mutated messages; the default keeps the suite short.
"""

import copy
import os
import random
import resource
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from compute.errors import ProofError
from compute.proof.engine_numpy import NumpyEngine
from compute.proof.fleet import Claim, FleetSlot
from compute.proof.prover import ProverSession
from compute.proof.result import Reason
from compute.proof.transcript import Transcript, decode, verify_transcript
from compute.proof.verifier import Step, VerifierSession
from compute.proof.wire import HEADER_BYTES, Kind, Mode, WireError
from tests.adversary.proof_arena import arena_class, entropy
from tests.adversary.proof_arena import arena_class as make_class

COUNT = int(os.environ.get("PROOF_FUZZ", "3000"))
SIZES = make_class().sizes
UNITS = 3
MEMORY_GROWTH_KIB = 200 * 1024
"""What the whole fuzzing may add to the process: a hundredfold of what one session takes."""

Mutation = Callable[[bytes, random.Random], bytes]


def _flip(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]


def _overwrite(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    noise = dice.randbytes(dice.randrange(1, 64))[: len(data) - at]
    return data[:at] + noise + data[at + len(noise) :]


def _extreme_word(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(max(1, len(data) - 3))
    word = dice.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]).to_bytes(4, "little")
    return (data[:at] + word + data[at + 4 :])[: len(data)]


def _header(data: bytes, dice: random.Random) -> bytes:
    head = bytearray(data[:HEADER_BYTES])
    head[dice.randrange(HEADER_BYTES)] = dice.choice([0, 1, 2, 6, 127, 128, 255])
    return bytes(head) + data[HEADER_BYTES:]


def _cut(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data))]


def _grow(data: bytes, dice: random.Random) -> bytes:
    return data + dice.randbytes(dice.randrange(1, 100))


def _insert(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + dice.randbytes(1) + data[at:]


def _swap_halves(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(HEADER_BYTES, len(data))
    return data[:HEADER_BYTES] + data[at:] + data[HEADER_BYTES:at]


def _noise(data: bytes, dice: random.Random) -> bytes:
    return dice.randbytes(len(data))


def _zeros(data: bytes, dice: random.Random) -> bytes:
    return data[:HEADER_BYTES] + bytes([dice.choice([0, 255])]) * (len(data) - HEADER_BYTES)


MUTATIONS: list[Mutation] = [
    _flip,
    _flip,
    _overwrite,
    _extreme_word,
    _header,
    _cut,
    _grow,
    _insert,
    _swap_halves,
    _noise,
    _zeros,
]


class Recorded:
    """An honest session: the verifier before each message, and the messages."""

    def __init__(self, mode: Mode) -> None:
        slot = FleetSlot.prepare([arena_class()], entropy("fuzz"))
        self.requests: list[bytes] = []
        self.answers: list[bytes] = []
        self.before: list[VerifierSession] = []
        session = slot.session("hk", [Claim(arena_class())], entropy("s"), mode, UNITS)
        prover, step = ProverSession(lambda _: NumpyEngine()), session.begin(0.0)
        while not step.done:
            self.requests.append(step.send)
            self.answers.append(b"".join(feed(prover, step.send)))
            self.before.append(copy.deepcopy(session))
            step = session.receive(self.answers[-1], 0.0)
        self.result = session.finish()

    def replay(self, message: int, mutated: bytes) -> Reason:
        """Put a mutated message in place of one in the stream, and return the outcome."""
        session = copy.deepcopy(self.before[message])
        stream = mutated + b"".join(self.answers[message + 1 :])
        while len(stream) >= session.expects > 0:
            data, stream = stream[: session.expects], stream[session.expects :]
            session.receive(data, 0.0)
        return Reason.LATE if session.expects else session.finish().reason


class SmallEngine(NumpyEngine):
    """A device of 64 MiB, so that sizes that still make sense cannot cost much."""

    def __init__(self) -> None:
        super().__init__()
        self.memory_bytes = 400 << 20


def feed(prover: ProverSession, data: bytes) -> Iterator[bytes]:
    """Feed a prover piece by piece, as a channel would."""
    while len(data) >= prover.expects:
        part, data = data[: prover.expects], data[prover.expects :]
        yield from prover.receive(part)


def _without_times(transcript: bytes) -> Transcript:
    found = decode(transcript)
    entries = tuple(replace(entry, chain_s=0.0, sweep_s=0.0) for entry in found.entries)
    return replace(found, entries=entries)


@pytest.fixture(autouse=True)
def bounded_memory() -> Iterator[None]:
    """The process does not grow by more than a small multiple of one session."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY_GROWTH_KIB


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mode", Mode)
def test_a_verifier_accepts_no_mutated_message(mode: Mode) -> None:
    """Whatever byte of whatever message is changed, the session ends without an accept.

    Two things are not judged, and may change: what READY claims besides its status, and the root
    of the slower sweep.
    """
    recorded, dice = Recorded(mode), random.Random(mode)  # noqa: S311
    slower = max(at for at, answer in enumerate(recorded.answers) if answer[0] == Kind.ROOT_B)
    for message, honest in enumerate(recorded.answers):
        assert recorded.replay(message, honest) is Reason.PASSED
    for _ in range(COUNT // 2):
        message = dice.randrange(len(recorded.answers))
        honest = recorded.answers[message]
        mutated = dice.choice(MUTATIONS)(honest, dice)
        judged = {0: HEADER_BYTES + 1, slower: HEADER_BYTES}.get(message, len(honest))
        unchanged = len(mutated) >= len(honest) and mutated[:judged] == honest[:judged]
        assert recorded.replay(message, mutated) is not Reason.PASSED or unchanged


@pytest.mark.timeout(1800)
def test_a_prover_survives_mutated_messages() -> None:
    """A prover answers a mutated message or refuses it; nothing else ever happens."""
    recorded, dice = Recorded(Mode.FREIVALDS), random.Random(3)  # noqa: S311
    for _ in range(COUNT // 10):
        prover = ProverSession(lambda _: SmallEngine())
        message = dice.randrange(len(recorded.requests))
        try:
            for request in recorded.requests[:message]:
                list(feed(prover, request))
            mutated = dice.choice(MUTATIONS)(recorded.requests[message], dice)
            answers = b"".join(feed(prover, mutated))
        except WireError:
            continue
        assert len(answers) <= 2 * max(map(len, recorded.answers))


@pytest.mark.timeout(1800)
def test_a_mutated_transcript_never_passes() -> None:
    """A changed transcript is malformed or fails, unless only the told times were changed."""
    recorded, dice = Recorded(Mode.RECOMPUTE), random.Random(4)  # noqa: S311
    honest = recorded.result.transcript
    assert verify_transcript(honest).passed
    accepted = []
    for _ in range(COUNT // 10):
        mutated = dice.choice(MUTATIONS)(honest, dice)
        try:
            if verify_transcript(mutated).passed and mutated != honest:
                accepted.append(mutated)
        except ProofError:
            continue
    for mutated in accepted:
        assert _without_times(mutated) == _without_times(honest)


def test_lengths_are_known_before_anything_comes() -> None:
    """At every step the verifier's wish is exactly the length of the honest answer."""
    recorded = Recorded(Mode.RECOMPUTE)
    for session, answer in zip(recorded.before, recorded.answers, strict=True):
        assert session.expects == len(answer)
    assert recorded.result.passed
    assert Step().done
