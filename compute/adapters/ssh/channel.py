"""Carries a proof session to a program inside a lease, over an SSH channel's standard streams."""

import asyncio
import time
from types import TracebackType
from typing import Self

import paramiko

from compute.adapters.ssh.session import SshSession
from compute.errors import Code, PeerError

PROVER_PATH = "/tmp/.compute-prover.pyz"  # noqa: S108 - inside the renter's own container
PROVER_COMMAND = f"exec python3 -I {PROVER_PATH}"


class SshProverChannel:
    """A `compute.proof.channel.ProverChannel` over SSH.

    Args:
        session: logged in already; it is not closed with this channel.
        program: the self-contained prover, copied in before it runs.
    """

    def __init__(self, session: SshSession, program: bytes) -> None:
        self._session = session
        self._program = program
        self._channel: paramiko.Channel | None = None

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._session.put, self._program, PROVER_PATH)
        self._channel = await asyncio.to_thread(
            self._session.channel, PROVER_COMMAND, timeout_s=60.0
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def send(self, data: bytes) -> None:
        """Write bytes to the prover's standard input."""
        await asyncio.to_thread(self._send, data)

    async def receive(self, n: int, timeout_s: float) -> bytes:
        """Read exactly n bytes of the prover's standard output.

        Raises:
            TimeoutError: they did not come within `timeout_s`.
            PeerError: `PEER_INVALID` when the prover ends first.
        """
        return await asyncio.to_thread(self._receive, n, timeout_s)

    async def close(self) -> None:
        """End the prover."""
        if self._channel is not None:
            await asyncio.to_thread(self._channel.close)
            self._channel = None

    def _open(self) -> paramiko.Channel:
        if self._channel is None:
            raise PeerError(Code.SSH_BROKEN, "the prover's channel is closed")
        return self._channel

    def _send(self, data: bytes) -> None:
        try:
            self._open().sendall(data)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise PeerError(Code.PEER_INVALID, "the prover ended early") from error

    def _receive(self, n: int, timeout_s: float) -> bytes:
        channel = self._open()
        until = time.monotonic() + timeout_s
        got = bytearray()
        while len(got) < n:
            channel.settimeout(max(0.001, until - time.monotonic()))
            chunk = channel.recv(n - len(got))
            if not chunk:
                raise PeerError(
                    Code.PEER_INVALID, f"the prover ended early: {_last_words(channel)}"
                )
            got += chunk
        return bytes(got)


def _last_words(channel: paramiko.Channel) -> str:
    """What the prover wrote to standard error, if anything."""
    channel.settimeout(1.0)
    try:
        return channel.recv_stderr(500).decode(errors="replace").strip()
    except TimeoutError:
        return ""
