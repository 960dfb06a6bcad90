"""The one-file prover, run as a program of its own, and what it is made of."""

import ast
import asyncio
import io
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from compute.proof import wire
from compute.proof.channel import run_verifier
from compute.proof.fleet import Claim, FleetSlot
from compute.proof.program import MODULES, prover_program
from compute.proof.result import Reason
from compute.proof.service import Exit
from compute.proof.sizes import Sizes
from compute.proof.wire import Kind, Mode
from tests.adversary.proof_arena import arena_class, entropy

ALLOWED = {"numpy", *sys.stdlib_module_names}
SETUP = wire.setup([Sizes(128, 2, 64)])


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """Return the command that runs the program with NumPy."""
    file = tmp_path / "prover.pyz"
    file.write_bytes(prover_program())
    return [sys.executable, "-I", str(file), "--device", "numpy"]


class PipeChannel:
    """A `ProverChannel` to a program's standard input and output."""

    def __init__(self, process: Any) -> None:
        self.process = process

    async def send(self, data: bytes) -> None:
        """See `ProverChannel`."""
        self.process.stdin.write(data)
        await self.process.stdin.drain()

    async def receive(self, n: int, timeout_s: float) -> bytes:
        """See `ProverChannel`."""
        data: bytes = await asyncio.wait_for(self.process.stdout.readexactly(n), timeout_s)
        return data

    async def close(self) -> None:
        """See `ProverChannel`."""
        self.process.stdin.close()
        await self.process.wait()


def _modules() -> dict[str, ast.Module]:
    archive = zipfile.ZipFile(io.BytesIO(prover_program()))
    return {
        name: ast.parse(archive.read(name), feature_version=(3, 9)) for name in archive.namelist()
    }


def _imports(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module}
            if node.module == "compute.proof":
                found |= {f"compute.proof.{alias.name}" for alias in node.names}
    return found


def test_the_program_is_whole() -> None:
    """It parses as Python 3.9, and imports nothing that it does not hold but NumPy."""
    held = {f"compute.proof.{module}" for module in MODULES} | {"compute.proof"}
    for name, tree in _modules().items():
        outside = {each for each in _imports(tree) if each.split(".")[0] not in ALLOWED}
        assert outside <= held, name


def test_the_verifier_never_loads_torch() -> None:
    """Nothing that a verifier imports loads torch, whatever it has installed."""
    code = (
        "import sys, compute.proof.channel, compute.proof.fleet, compute.proof.grade,"
        " compute.proof.transcript; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("gpus", [1, 2])
async def test_a_session_over_pipes(program: list[str], gpus: int) -> None:
    """A whole session passes over standard input and output, also with a process a GPU."""
    process = await asyncio.create_subprocess_exec(
        *program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    slot = FleetSlot.prepare([arena_class()], entropy("slot"))
    claims = [Claim(arena_class(), str(gpu)) for gpu in range(gpus)]
    session = slot.session("hk", claims, entropy("s"), Mode.FREIVALDS)
    result = await run_verifier(session, PipeChannel(process), time.monotonic)
    assert (result.reason, len(result.gpus)) == (Reason.PASSED, gpus)
    assert {gpu.path for gpu in result.gpus} == {"numpy-f32"}
    assert process.returncode == Exit.DONE


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", Exit.DONE),
        (SETUP, Exit.DONE),
        (b"GET / HTTP/1.1\r\n\r\n", Exit.MALFORMED),
        (SETUP[:5], Exit.TRUNCATED),
        (SETUP[:-1], Exit.TRUNCATED),
        (SETUP + SETUP, Exit.MALFORMED),
        (SETUP + wire.frame(Kind.SWEEP, 0, bytes(32)), Exit.MALFORMED),
        (SETUP + wire.start(bytes(32), [bytes(32)])[:40], Exit.TRUNCATED),
        (wire.frame(Kind.SETUP, 2, bytes(12)), Exit.MALFORMED),
        (b"\x01\x01\x01\x00\xff\xff\xff\xff", Exit.MALFORMED),
    ],
)
def test_what_it_cannot_understand_ends_it(program: list[str], data: bytes, status: Exit) -> None:
    """Each kind of bad input has its own exit status, and a line on standard error."""
    done = subprocess.run(program, input=data, capture_output=True, check=False, timeout=60)
    assert done.returncode == status
    assert bool(done.stderr) == (status is not Exit.DONE)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("gpus", [1, 2])
def test_sizes_beyond_the_memory_are_refused(program: list[str], gpus: int) -> None:
    """Sizes that the machine cannot hold are answered by a status, without allocating them."""
    data = wire.setup([Sizes(32768, 60000, 1024)] * gpus)
    done = subprocess.run(program, input=data, capture_output=True, check=False, timeout=60)
    assert done.returncode == Exit.DONE
    answers = [done.stdout[at : at + 72] for at in range(0, len(done.stdout), 72)]
    statuses = [wire.parse_ready(answer[8:]).status for answer in answers]
    assert statuses == [wire.Status.NO_MEMORY] * gpus


def test_a_child_that_fails_ends_the_node(program: list[str]) -> None:
    """With a process a GPU, one that refuses its frame ends the whole program."""
    units = wire.Opening(Mode.RECOMPUTE, 0, (wire.Unit(1, 0),))
    data = wire.setup([Sizes(128, 2, 64)] * 2) + wire.opening(1, units)
    done = subprocess.run(program, input=data, capture_output=True, check=False, timeout=60)
    assert done.returncode == Exit.MALFORMED


def test_wrong_options_are_a_usage_error(program: list[str]) -> None:
    """The program's own command line is checked."""
    done = subprocess.run([*program, "--wrong"], capture_output=True, check=False, timeout=60)
    assert done.returncode == Exit.USAGE
