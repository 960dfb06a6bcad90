"""The prover as a program: frames on standard input and output.

One process serves one GPU. For a node of several it starts itself once for each GPU and passes
their frames on, so that no GPU waits for another's host work.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from enum import IntEnum
from typing import TYPE_CHECKING, BinaryIO

from compute.proof import wire
from compute.proof.engines import DEVICES, opener
from compute.proof.prover import ProverSession
from compute.proof.wire import Kind, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compute.proof.engine import Engine


class Exit(IntEnum):
    """How the program ends."""

    DONE = 0
    USAGE = 2
    """Set by argparse."""
    MALFORMED = 65
    """A frame that may not come here."""
    TRUNCATED = 66
    """The input ended inside a frame."""
    FAILED = 70
    """The device or its memory failed."""


class _TruncatedError(EOFError):
    """The input ended inside a frame."""


def main(arguments: Sequence[str], command: Sequence[str]) -> int:
    """Serve one session.

    Args:
        arguments: the command line without the program's name.
        command: starts this program again, for one process a GPU.

    Returns:
        The exit status, one of `Exit`.
    """
    options = _parser().parse_args(arguments)
    source, sink = sys.stdin.buffer, _private_output()
    try:
        if options.gpu is None:
            return _Node(source, sink, options.device, command).serve()
        return serve(source, sink, ProverSession(opener(options.device), {options.gpu}))
    except WireError as error:
        return _complain(Exit.MALFORMED, error)
    except _TruncatedError as error:
        return _complain(Exit.TRUNCATED, error)
    except (MemoryError, RuntimeError) as error:
        return _complain(Exit.FAILED, error)
    except BrokenPipeError:
        return Exit.DONE


def serve(source: BinaryIO, sink: BinaryIO, session: ProverSession) -> int:
    """Run a session until its input ends.

    Raises:
        WireError: a frame that may not come here.
    """
    inside = False
    while True:
        data = _read(source, session.expects, inside=inside)
        if data is None:
            return Exit.DONE
        for frame in session.receive(data):
            sink.write(frame)
            sink.flush()
        inside = not inside


class _Node:
    """A node's front: one session here for one GPU, child processes for more."""

    def __init__(
        self, source: BinaryIO, sink: BinaryIO, device: str, command: Sequence[str]
    ) -> None:
        self._source = source
        self._sink = sink
        self._device = device
        self._command = command
        self._writing = threading.Lock()
        self._children: list[subprocess.Popen[bytes]] = []
        self._readers: list[threading.Thread] = []

    def serve(self) -> int:
        first = self._next_frame(0)
        if first is None:
            return Exit.DONE
        header, data = first
        if header.gpu == 1:
            return self._serve_here(opener(self._device), data)
        try:
            self._serve_children(header.gpu, data)
        except (WireError, EOFError, OSError):
            for child in self._children:
                child.kill()
            raise
        self._finish_children()
        return Exit.DONE

    def _serve_here(self, make: Callable[[int], Engine], data: bytes) -> int:
        session = ProverSession(make)
        for part in (data[: wire.HEADER_BYTES], data[wire.HEADER_BYTES :]):
            for frame in session.receive(part):
                self._sink.write(frame)
        self._sink.flush()
        return serve(self._source, self._sink, session)

    def _serve_children(self, gpus: int, data: bytes) -> None:
        for gpu in range(gpus):
            self._start_child(gpu)
        frame: tuple[wire.Header, bytes] | None = (wire.Header(Kind.SETUP, gpus, 0), data)
        while frame is not None:
            header, data = frame
            for_all = header.kind in (Kind.SETUP, Kind.START)
            for child in self._children if for_all else [self._children[header.gpu]]:
                if child.stdin:
                    child.stdin.write(data)
                    child.stdin.flush()
            frame = self._next_frame(gpus)

    def _start_child(self, gpu: int) -> None:
        child = subprocess.Popen(
            [*self._command, "--device", self._device, "--gpu", str(gpu)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._children.append(child)
        reader = threading.Thread(target=self._pass_on, args=(child,), daemon=True)
        self._readers.append(reader)
        reader.start()

    def _pass_on(self, child: subprocess.Popen[bytes]) -> None:
        """Copy a child's frames, whole, to the output; its failure ends the program."""
        while child.stdout:
            head = child.stdout.read(wire.HEADER_BYTES)
            if len(head) < wire.HEADER_BYTES:
                break
            body = child.stdout.read(wire.parse_header(head).length)
            with self._writing:
                self._sink.write(head + body)
                self._sink.flush()
        status = child.wait()
        if status != Exit.DONE:
            os._exit(status if status > 0 else Exit.FAILED)

    def _finish_children(self) -> None:
        """Let the children answer what they were asked, and end."""
        for child in self._children:
            if child.stdin:
                child.stdin.close()
        for reader in self._readers:
            reader.join()

    def _next_frame(self, gpus: int) -> tuple[wire.Header, bytes] | None:
        head = _read(self._source, wire.HEADER_BYTES, inside=False)
        if head is None:
            return None
        header = wire.parse_header(head)
        wire.check_prover_header(header, gpus)
        return header, head + (_read(self._source, header.length, inside=True) or b"")


def _read(source: BinaryIO, count: int, *, inside: bool) -> bytes | None:
    """Read exactly `count` bytes; None at a clean end."""
    data = source.read(count)
    if len(data) == count:
        return data
    if data or inside:
        raise _TruncatedError("the input ended inside a frame")
    return None


def _private_output() -> BinaryIO:
    """Take standard output for frames alone: what libraries print goes to standard error."""
    sys.stdout.flush()
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return output


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prover",
        description="Prove the GPUs of this machine to whoever drives standard input.",
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="what to compute on")
    parser.add_argument("--gpu", type=int, default=None, help=argparse.SUPPRESS)
    return parser


def _complain(status: Exit, error: BaseException) -> int:
    sys.stderr.write(f"prover: {error}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], [sys.executable, "-m", "compute.proof.service"]))
