"""Renting from Python: a lease for the length of a `with` block, asynchronous or not.

::

    async with compute.rent(gpu="H100", ttl="2h") as box:
        print((await box.run("nvidia-smi")).stdout)

    with compute.rent(gpu="H100", ttl="2h") as box:
        print(box.run("nvidia-smi").stdout)

The lease is given back at the end of the block, whatever happened inside; should this process die,
it ends at its deadline.
"""

import asyncio
import inspect
import shlex
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import paramiko

from compute.adapters.ssh.session import CommandResult, SshSession
from compute.errors import Code, ComputeError, LeaseError, PeerError, UsageError
from compute.protocol.synapses import LeaseAction, LeaseArguments, LeaseReply
from compute.renter import parsing
from compute.renter.book import LeaseRecord
from compute.renter.leasing import lease
from compute.renter.session import RenterSession, open_session
from compute.renter.wishes import wish
from compute.renter.words import Words
from compute.settings.loading import load
from compute.settings.renter import RenterSettings, default_config

__all__ = ["AsyncBox", "Box", "CommandResult", "Rental", "rent"]

P = ParamSpec("P")
ResultT = TypeVar("ResultT")
Content = bytes | str | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms(Words):
    """A wish, and how to go about it: what `rent` takes.

    Attributes:
        miner: UID or hotkey of the only miner to ask; empty for the quickest that fits.
        name: of the lease in the book that `compute ps` shows.
        wait: how long to go on asking while nothing is free.
        keep: leave the lease to its deadline at the end of the block.
        settings: wallet, network and state; by default those of the `compute` command.
    """

    miner: str = ""
    name: str = ""
    wait: str = "0"
    keep: bool = False
    settings: RenterSettings | None = None


class Rental:
    """A lease to be: `async with` gives an `AsyncBox`, `with` a `Box`. Made by `rent`.

    Entering raises what leasing raises: `LeaseError` `NO_CAPACITY` when nobody has it free, the
    miner's refusal, `WalletError`, `ChainError`, `PeerError`.
    """

    def __init__(self, terms: Terms) -> None:
        self._wanted = wish(terms)
        self._wait_s = parsing.seconds(terms.wait)
        self._terms = terms
        self._box: AsyncBox | None = None
        self._stack = AsyncExitStack()
        self._loop: _Loop | None = None

    async def __aenter__(self) -> "AsyncBox":
        if self._box is not None:
            raise UsageError("this rental is in use already", hint="call rent() for another one")
        settings = self._terms.settings or load(
            RenterSettings, [], prog="compute", fallback=default_config()
        )
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(open_session(settings))
            record = await lease(
                session,
                self._wanted,
                miner=self._terms.miner,
                name=self._terms.name,
                wait_s=self._wait_s,
            )
            self._box = AsyncBox(session, record)
            self._stack = stack.pop_all()
        return self._box

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        box, self._box = self._box, None
        try:
            if box is not None:
                # A cancelled task gives its lease back too.
                await asyncio.shield(_leave(box, keep=self._terms.keep, quiet=error is not None))
        finally:
            await self._stack.aclose()

    def __enter__(self) -> "Box":
        loop = _Loop()
        try:
            box = Box(loop.run(self.__aenter__()), loop)
        except BaseException:
            loop.close()
            raise
        self._loop = loop
        return box

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            try:
                loop.run(self.__aexit__(kind, error, trace))
            finally:
                loop.close()


_RENT = """\
Describe a lease; it is made when the block is entered.

Args:
{}

Raises:
    UsageError: for a duration or a size that is none.
"""


def _described_by(terms: Callable[P, Terms]) -> Callable[P, Rental]:
    """A function that takes, by name, what describes a lease; help and editors show all of it."""

    def rent(*args: P.args, **kwargs: P.kwargs) -> Rental:
        return Rental(terms(*args, **kwargs))

    told = [(inspect.getdoc(each) or "").partition("Attributes:\n")[2] for each in (Words, terms)]
    rent.__doc__ = _RENT.format("\n".join(told))
    taken = inspect.signature(terms).replace(return_annotation=Rental)
    rent.__signature__ = taken  # type: ignore[attr-defined]
    return rent


rent = _described_by(Terms)


class AsyncBox:
    """A leased container that one may use. Made by `rent`.

    Several commands may run at the same time: each has an SSH connection of its own.
    """

    def __init__(self, session: RenterSession, record: LeaseRecord) -> None:
        self._session = session
        self._name = record.name
        self._key = session.book.keys(record.name).ssh.private
        self._idle: list[SshSession] = []

    @property
    def record(self) -> LeaseRecord:
        """What the lease book knows of it, credentials included."""
        return self._session.book.get(self._name)

    @property
    def name(self) -> str:
        """Its name, with which `compute ssh` and plain `ssh` find it too."""
        return self._name

    @property
    def lease_id(self) -> str:
        """The lease's id."""
        return self.record.lease_id

    @property
    def expires_at(self) -> float:
        """Its deadline, Unix seconds."""
        return self.record.opened.expires_at

    def address(self, port: int) -> tuple[str, int]:
        """Host and port at which a published container port is reached; 22 is SSH.

        Raises:
            UsageError: when the port was not asked to be published.
        """
        opened = self.record.opened
        if port == SSH_PORT:
            return opened.host, opened.port
        for published in opened.ports:
            if published.container == port:
                return opened.host, published.host
        raise UsageError(f"port {port} is not published", hint="name it in rent(ports=…)")

    async def run(
        self, command: str | Sequence[str], *, stdin: bytes | str = b"", timeout_s: float = 3600.0
    ) -> CommandResult:
        """Run a shell line, or a program with its arguments, and wait for its end.

        Its exit code is in the result and raises nothing; each stream is cut at 4 MiB.

        Raises:
            PeerError: when the login or the connection fails, or the time is up.
        """
        line = command if isinstance(command, str) else shlex.join(command)
        given = stdin.encode() if isinstance(stdin, str) else stdin
        return await self._use(lambda ssh: ssh.run(line, stdin=given, timeout_s=timeout_s))

    async def put(self, content: Content, path: str) -> None:
        """Write bytes, text or a local file to a path inside, readable by its owner only."""
        if isinstance(content, Path):
            data = await asyncio.to_thread(content.read_bytes)
        else:
            data = content.encode() if isinstance(content, str) else content
        await self._use(lambda ssh: ssh.put(data, path))

    async def get(self, path: str, timeout_s: float = 600.0) -> bytes:
        """Read a file inside, whole.

        Raises:
            LeaseError: `NOT_FOUND` when it cannot be read.
            PeerError: when the login or the connection fails, or the time is up.
        """
        return await self._use(lambda ssh: _read(ssh, path, timeout_s))

    async def status(self) -> LeaseReply:
        """The lease as its miner sees it, with everything that happened to it."""
        return await self._operate(LeaseAction.STATUS)

    async def extend(self, by: str) -> LeaseReply:
        """Move the deadline: `30m`, `2h`."""
        return await self._operate(LeaseAction.EXTEND, duration_s=parsing.seconds(by))

    async def restart(self) -> LeaseReply:
        """Restart the container; its disk is kept."""
        await self._disconnect()
        return await self._operate(LeaseAction.RESTART)

    async def pause(self) -> LeaseReply:
        """Freeze its processes; the deadline stays."""
        return await self._operate(LeaseAction.PAUSE)

    async def unpause(self) -> LeaseReply:
        """Let its processes go on."""
        return await self._operate(LeaseAction.UNPAUSE)

    async def logs(self, tail: int = 100) -> str:
        """The last lines that the container wrote."""
        return (await self._operate(LeaseAction.LOGS, tail=tail)).logs

    async def release(self) -> LeaseReply:
        """Give the lease back now; the end of the block does so too."""
        await self._disconnect()
        return await self._operate(LeaseAction.RELEASE)

    async def _operate(self, action: LeaseAction, **arguments: Any) -> LeaseReply:
        return await self._session.renter.operate(self.record, action, LeaseArguments(**arguments))

    async def _use(self, work: Callable[[SshSession], ResultT]) -> ResultT:
        """Work on a connection that nobody uses, or a new one; a broken one is not used again."""
        session = (
            self._idle.pop()
            if self._idle
            else await asyncio.to_thread(SshSession, self.record.opened, self._key)
        )
        try:
            result = await asyncio.to_thread(work, session)
        except BaseException:
            session.close()
            raise
        self._idle.append(session)
        return result

    async def _disconnect(self) -> None:
        idle, self._idle = self._idle, []
        for session in idle:
            await asyncio.to_thread(session.close)


class Box:
    """The same for code that is not asynchronous. Made by `rent`; used from any thread."""

    def __init__(self, box: AsyncBox, loop: "_Loop") -> None:
        self._box = box
        self._loop = loop

    @property
    def record(self) -> LeaseRecord:
        """What the lease book knows of it, credentials included."""
        return self._box.record

    @property
    def name(self) -> str:
        """Its name, with which `compute ssh` and plain `ssh` find it too."""
        return self._box.name

    @property
    def lease_id(self) -> str:
        """The lease's id."""
        return self._box.lease_id

    @property
    def expires_at(self) -> float:
        """Its deadline, Unix seconds."""
        return self._box.expires_at

    def address(self, port: int) -> tuple[str, int]:
        """See `AsyncBox.address`."""
        return self._box.address(port)

    def run(
        self, command: str | Sequence[str], *, stdin: bytes | str = b"", timeout_s: float = 3600.0
    ) -> CommandResult:
        """See `AsyncBox.run`."""
        return self._loop.run(self._box.run(command, stdin=stdin, timeout_s=timeout_s))

    def put(self, content: Content, path: str) -> None:
        """See `AsyncBox.put`."""
        self._loop.run(self._box.put(content, path))

    def get(self, path: str, timeout_s: float = 600.0) -> bytes:
        """See `AsyncBox.get`."""
        return self._loop.run(self._box.get(path, timeout_s))

    def status(self) -> LeaseReply:
        """See `AsyncBox.status`."""
        return self._loop.run(self._box.status())

    def extend(self, by: str) -> LeaseReply:
        """See `AsyncBox.extend`."""
        return self._loop.run(self._box.extend(by))

    def restart(self) -> LeaseReply:
        """See `AsyncBox.restart`."""
        return self._loop.run(self._box.restart())

    def pause(self) -> LeaseReply:
        """See `AsyncBox.pause`."""
        return self._loop.run(self._box.pause())

    def unpause(self) -> LeaseReply:
        """See `AsyncBox.unpause`."""
        return self._loop.run(self._box.unpause())

    def logs(self, tail: int = 100) -> str:
        """See `AsyncBox.logs`."""
        return self._loop.run(self._box.logs(tail))

    def release(self) -> LeaseReply:
        """See `AsyncBox.release`."""
        return self._loop.run(self._box.release())


SSH_PORT = 22
_CHUNK = 64 * 1024


class _Loop:
    """An event loop in a thread of its own, for callers without one."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="compute-rent", daemon=True
        )
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run work there and wait for it; an interrupt cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _leave(box: AsyncBox, *, keep: bool, quiet: bool) -> None:
    """Close connections and give the lease back, unless it is to be kept or is over."""
    await box._disconnect()  # noqa: SLF001 - the rental ends what the box has opened
    if keep or box.record.ended:
        return
    try:
        await box.release()
    except ComputeError as failure:
        # Gone already, or ends by itself: what happened in the block matters more.
        if not quiet and failure.code is not Code.LEASE_UNKNOWN:
            raise


def _read(session: SshSession, path: str, timeout_s: float) -> bytes:
    try:
        with session.channel(f"cat -- {shlex.quote(path)}", timeout_s=timeout_s) as channel:
            pieces = []
            while piece := channel.recv(_CHUNK):
                pieces.append(piece)
            if channel.recv_exit_status() != 0:
                said = channel.recv_stderr(_CHUNK).decode(errors="replace").strip()
                raise LeaseError(Code.NOT_FOUND, said[-200:] or path, hint="check the path inside")
    except TimeoutError as error:
        raise PeerError(Code.SSH_SILENT, f"{path} does not come") from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise PeerError(Code.SSH_BROKEN, f"the connection broke: {error}") from error
    return b"".join(pieces)
