"""Every path gives the roots and messages that were written down once."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compute.proof import engine_numpy, engine_torch, known_answer, wire
from compute.proof.classes import known_classes
from compute.proof.engine import Engine, EngineUnfit
from compute.proof.engine_numpy import NumpyEngine
from compute.proof.engine_torch import TorchEngine, best_engine, load_torch
from compute.proof.exact import product
from compute.proof.holder import Holder
from compute.proof.program import prover_program
from compute.proof.prover import ProverSession
from compute.proof.roots import roots
from compute.proof.sizes import Sizes
from compute.proof.torch_paths import candidates
from compute.proof.wire import Kind, Mode, Opening, Unit
from tests.vectors import reference

VECTORS: list[dict[str, Any]] = json.loads(
    Path(__file__).parents[1].joinpath("vectors", "proof.json").read_text()
)
SESSIONS = [vector for vector in VECTORS if vector["messages"]]
TORCH = load_torch()
CUDA = TORCH is not None and TORCH.cuda.is_available()


def _engines() -> Iterator[Any]:
    yield pytest.param(NumpyEngine, id="numpy")
    if TORCH is None:
        return
    for name in candidates(TORCH, cuda=False):
        yield pytest.param(lambda name=name: TorchEngine(TORCH, "cpu", name), id=name)
    for name in candidates(TORCH, cuda=True) if CUDA else ():
        for fused in (False, True):
            yield pytest.param(
                lambda name=name, fused=fused: TorchEngine(TORCH, "cuda:0", name, fused=fused),
                id=f"{name}-{fused}",
            )


ENGINES = list(_engines())


def _name(vector: dict[str, Any]) -> str:
    return f"n{vector['n']}-m{vector['m']}-ns{vector['ns']}"


def _sizes(vector: dict[str, Any]) -> Sizes:
    return Sizes(vector["n"], vector["m"], vector["ns"])


def _seeds(vector: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    slot, sub, kappa = (bytes.fromhex(vector[name]) for name in ("slot", "sub", "kappa"))
    return slot, sub, kappa


def _requests(vector: dict[str, Any]) -> dict[str, bytes]:
    """Return a verifier's frames of one session, by the name of the frame that answers each."""
    slot, sub, kappa = _seeds(vector)
    units = tuple(Unit(*unit) for unit in vector["units"])
    return {
        "ready": wire.setup([_sizes(vector)]),
        "root_a": wire.start(slot, [sub]),
        "root_b": wire.frame(Kind.SWEEP, 0, kappa),
        "units_r": wire.opening(0, Opening(Mode.RECOMPUTE, 0, units)),
        "units_f": wire.opening(0, Opening(Mode.FREIVALDS, 0, units)),
    }


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _feed(session: ProverSession, frame: bytes) -> bytes:
    head, body = frame[: wire.HEADER_BYTES], frame[wire.HEADER_BYTES :]
    return b"".join([*session.receive(head), *session.receive(body)])


@pytest.mark.parametrize("vector", VECTORS, ids=_name)
@pytest.mark.parametrize("make", ENGINES)
def test_every_path_gives_the_roots(make: Any, vector: dict[str, Any]) -> None:
    """Each engine's roots are the vectors' roots."""
    slot, sub, kappa = _seeds(vector)
    engine: Engine = make()
    found = roots(engine, slot, sub, kappa, _sizes(vector))
    assert (found["root_a"], found["root_b"]) == (vector["root_a"], vector["root_b"])
    assert found["path"] == engine.path


@pytest.mark.parametrize("vector", SESSIONS, ids=_name)
@pytest.mark.parametrize("make", ENGINES)
def test_every_path_gives_the_messages(make: Any, vector: dict[str, Any]) -> None:
    """Each engine's session consists of the vectors' messages, byte for byte."""
    session = ProverSession(lambda _: make())
    answers = {name: _feed(session, frame) for name, frame in _requests(vector).items()}
    del answers["ready"]
    expected = {name: vector["messages"][name] for name in answers}
    assert {name: _hash(answer) for name, answer in answers.items()} == expected


@pytest.mark.parametrize("vector", SESSIONS, ids=_name)
def test_requests_are_the_written_ones(vector: dict[str, Any]) -> None:
    """A verifier's own messages are the vectors' too."""
    names = {"setup": "ready", "start": "root_a", "sweep": "root_b"}
    names |= {"open_r": "units_r", "open_f": "units_f"}
    requests = _requests(vector)
    for name, answer in names.items():
        assert _hash(requests[answer]) == vector["messages"][name]


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_the_program_gives_the_messages(device: str, tmp_path: Path) -> None:
    """The one-file program, run on its own, answers with the vectors' messages and exits 0."""
    program = tmp_path / "prover.pyz"
    program.write_bytes(prover_program())
    vector = SESSIONS[1]
    requests = _requests(vector)
    done = subprocess.run(
        [sys.executable, "-I", program, "--device", device],
        input=b"".join(requests.values()),
        capture_output=True,
        check=False,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    output = done.stdout
    for name in requests:
        length = wire.HEADER_BYTES + wire.parse_header(output[: wire.HEADER_BYTES]).length
        answer, output = output[:length], output[length:]
        assert name == "ready" or _hash(answer) == vector["messages"][name]
    assert output == b""


def test_the_program_is_the_same_each_time() -> None:
    """Packing twice gives the same bytes, so that a published hash can be compared."""
    assert prover_program() == prover_program.__wrapped__()


def test_the_reference_agrees_on_random_runs() -> None:
    """The product agrees with an implementation that shares no code with it."""
    for n, m, ns in ((32, 5, 32), (64, 4, 8), (160, 3, 36)):
        seeds = [bytes([n, index] * 16) for index in range(3)]
        engine = NumpyEngine()
        found = roots(engine, seeds[0], seeds[1], seeds[2], Sizes(n, m, ns))
        root_a, root_b = reference.roots(seeds[0], seeds[1], n, m, ns, seeds[2])
        assert (found["root_a"], found["root_b"]) == (root_a.hex(), root_b.hex())


def test_roots_command_prints_json() -> None:
    """`python -m compute.proof.roots` prints the roots and the path as one JSON object."""
    vector = VECTORS[1]
    options = [f"--{name}={vector[name]}" for name in ("slot", "sub", "n", "m", "ns", "kappa")]
    done = subprocess.run(
        [sys.executable, "-m", "compute.proof.roots", "--device", "numpy", *options],
        capture_output=True,
        check=True,
        timeout=60,
    )
    expected = {"root_a": vector["root_a"], "root_b": vector["root_b"], "path": "numpy-f32"}
    assert json.loads(done.stdout) == expected


def test_a_path_that_rounds_is_dropped() -> None:
    """Sums longer than float32 holds exactly fail the known answer; chunked ones do not."""

    def unchunked(left: Any, right_t: Any) -> Any:
        return (left.astype("f4") @ right_t.astype("f4").T).astype("i4")

    def chunked(left: Any, right_t: Any) -> Any:
        return product(left.astype("f4"), right_t.astype("f4"))

    assert not known_answer.product_matches(unchunked)
    assert known_answer.product_matches(chunked)


@pytest.mark.parametrize("make", ENGINES)
def test_development_sizes_fit_a_small_container(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The development class runs where 64 MiB are left, and does not where 8 are."""
    sizes = known_classes().named("cpu-dev").sizes
    for mebibytes, fits in ((64, True), (8, False)):
        for module in (engine_numpy, engine_torch):
            monkeypatch.setattr(module, "available_memory", lambda: mebibytes << 20)  # noqa: B023
        engine = make()
        if fits:
            engine.allocate(sizes)
        elif not engine.path.startswith("cuda"):
            with pytest.raises(EngineUnfit):
                engine.allocate(sizes)


@pytest.mark.skipif(TORCH is None, reason="torch is not installed")
def test_the_best_engine_passes_the_known_answer() -> None:
    """Choosing a path leaves one that gives the known answer."""
    assert known_answer.run_matches(best_engine(TORCH, "cpu"))


def test_more_memory_than_there_is_is_refused() -> None:
    """Sizes that do not fit are refused before anything is allocated."""
    engine = NumpyEngine()
    with pytest.raises(EngineUnfit):
        engine.allocate(Sizes(32768, 1 << 16, 1024))


def test_a_holder_starts_afresh() -> None:
    """A second run on the same holder forgets the first one's commitments."""
    engine = NumpyEngine()
    engine.allocate(known_answer.KNOWN.sizes)
    holder = Holder(engine, known_answer.KNOWN.sizes)
    holder.run(bytes(32), bytes(32))
    holder.sweep(bytes(32))
    assert holder.run(known_answer.SLOT, known_answer.SUB) == known_answer.KNOWN.root_a
    assert holder.sweep(known_answer.KAPPA) == known_answer.KNOWN.root_b
    assert len(holder.sweeps) == 1
