"""One SSH session into a leased container, by paramiko.

The host key in the sealed credentials is the only one that is accepted. Each fault has an error of
its own, because a probe must tell a closed port from a wrong host key, a refused key and a hang.
"""

import io
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from types import TracebackType
from typing import Self

import paramiko

from compute.errors import Code, PeerError
from compute.protocol.synapses import Credentials

OUTPUT_LIMIT = 4 * 1024 * 1024  # bytes of each stream that `run` keeps; a tenant may print for ever
_CHUNK = 64 * 1024
_POLL_S = 0.005
Sink = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command left: its exit code and its output, cut at `OUTPUT_LIMIT`."""

    exit_code: int
    stdout: str
    stderr: str


class SshSession:
    """A logged-in session; synchronous, one thread at a time.

    Args:
        credentials: where to dial and which host key to accept.
        private_key: OpenSSH private key file content of an ed25519 key.
        timeout_s: limit of each step of connecting.

    Raises:
        PeerError: `SSH_CLOSED`, `SSH_SILENT`, `SSH_BROKEN`, `HOST_KEY` or `SSH_KEY_REFUSED`.
    """

    def __init__(
        self, credentials: Credentials, private_key: str, *, timeout_s: float = 10.0
    ) -> None:
        self._timeout_s = timeout_s
        self._transport = _open(credentials, timeout_s)
        try:
            _check_host_key(self._transport, credentials.host_key)
            key = paramiko.Ed25519Key.from_private_key(io.StringIO(private_key))
            self._transport.auth_publickey(credentials.user, key)
        except paramiko.AuthenticationException as error:
            self.close()
            raise PeerError(Code.SSH_KEY_REFUSED) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            self.close()
            raise PeerError(Code.SSH_BROKEN, f"the login broke off: {error}") from error
        except PeerError:
            self.close()
            raise
        self._transport.set_keepalive(15)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 30.0) -> CommandResult:
        """Run a shell command and wait for its end.

        Raises:
            PeerError: `SSH_BROKEN` when the connection breaks, `SSH_SILENT` when the time is up.
        """
        out, err = _Kept(), _Kept()
        given = iter((stdin,)) if stdin else None
        code = self.stream(command, out.add, err.add, stdin=given, timeout_s=timeout_s)
        return CommandResult(code, out.text, err.text)

    def stream(
        self,
        command: str,
        out: Sink,
        err: Sink,
        *,
        stdin: Iterator[bytes] | None = None,
        timeout_s: float,
    ) -> int:
        """Run a shell command, hand on what it writes as it comes, and give its exit code.

        Args:
            command: the shell line.
            out: is given each piece of its output.
            err: is given each piece of its errors.
            stdin: pieces of its input; asked for in a thread, and no longer than the command runs.
            timeout_s: limit for the whole.

        Raises:
            PeerError: `SSH_BROKEN` when the connection breaks, `SSH_SILENT` when the time is up.
            BrokenPipeError: from a sink whose reader has gone.
        """
        try:
            with self.channel(command, timeout_s=timeout_s) as channel:
                if stdin is None:
                    channel.shutdown_write()
                else:
                    Thread(target=_feed, args=(channel, stdin), daemon=True).start()
                _drain(channel, out, err, time.monotonic() + timeout_s)
                return channel.recv_exit_status()
        except TimeoutError as error:
            raise PeerError(
                Code.SSH_SILENT, f"no end of the command within {timeout_s:.0f} s"
            ) from error
        except BrokenPipeError:
            raise  # nobody reads what comes: the connection is sound
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise PeerError(Code.SSH_BROKEN, f"the connection broke: {error}") from error

    def channel(self, command: str, *, timeout_s: float) -> paramiko.Channel:
        """Start a command and give its channel: bytes to its input, bytes from its output."""
        channel = self._transport.open_session(timeout=self._timeout_s)
        channel.settimeout(timeout_s)
        channel.exec_command(command)
        return channel

    def put(self, content: bytes, path: str) -> None:
        """Write a file inside, readable by its owner only."""
        quoted = "'" + path.replace("'", "'\\''") + "'"
        result = self.run(f"umask 077 && cat > {quoted}", stdin=content)
        if result.exit_code != 0:
            raise PeerError(
                Code.SSH_BROKEN, f"a file could not be written inside: {result.stderr[:200]}"
            )

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        self._transport.close()


def _open(credentials: Credentials, timeout_s: float) -> paramiko.Transport:
    address = (credentials.host, credentials.port)
    try:
        connection = socket.create_connection(address, timeout=timeout_s)
    except ConnectionRefusedError as error:
        raise PeerError(Code.SSH_CLOSED, f"port {credentials.port} is closed") from error
    except TimeoutError as error:
        raise PeerError(Code.SSH_CLOSED, f"port {credentials.port} does not answer") from error
    except OSError as error:
        raise PeerError(
            Code.SSH_CLOSED, f"{credentials.host} cannot be reached: {error}"
        ) from error
    connection.settimeout(timeout_s)
    transport = paramiko.Transport(connection)
    transport.banner_timeout = timeout_s
    transport.handshake_timeout = timeout_s
    transport.auth_timeout = timeout_s
    kind = credentials.host_key.split()[0]
    transport.get_security_options().key_types = [kind]
    begun = time.monotonic()
    cause: Exception = TimeoutError()
    try:
        transport.start_client(timeout=timeout_s)
        if transport.initial_kex_done:
            return transport
    except (paramiko.SSHException, OSError, EOFError) as error:
        cause = error
    transport.close()
    raise _no_greeting(cause, kind, late=time.monotonic() - begun >= timeout_s) from cause


def _no_greeting(error: Exception, kind: str, *, late: bool) -> PeerError:
    """Tell a server with another host key from one that hangs and one that hangs up."""
    text = str(error).lower()
    if "no acceptable host key" in text or "incompatible" in text:
        return PeerError(Code.HOST_KEY, f"the server offers no {kind} key")
    if late or isinstance(error, TimeoutError):
        return PeerError(Code.SSH_SILENT, "the port is open, but nothing greets")
    return PeerError(Code.SSH_BROKEN, "the server hangs up before it greets")


def _check_host_key(transport: paramiko.Transport, pinned: str) -> None:
    offered = transport.get_remote_server_key().asbytes()
    if b64encode(offered).decode() != pinned.split()[1]:
        raise PeerError(Code.HOST_KEY)


class _Kept:
    """The first `OUTPUT_LIMIT` bytes of a stream."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, piece: bytes) -> None:
        """Keep what there is room for."""
        self._bytes += piece[: max(0, OUTPUT_LIMIT - len(self._bytes))]

    @property
    def text(self) -> str:
        """What was kept."""
        return self._bytes.decode(errors="replace")


def _feed(channel: paramiko.Channel, stdin: Iterator[bytes]) -> None:
    """Send a command's input; a command that ends without reading it is no fault."""
    with suppress(paramiko.SSHException, OSError, EOFError):
        for piece in stdin:
            channel.sendall(piece)
        channel.shutdown_write()


def _drain(channel: paramiko.Channel, out: Sink, err: Sink, until: float) -> None:
    """Hand on both streams to their end."""
    while True:
        ended = channel.exit_status_ready() and channel.eof_received
        if channel.recv_ready():
            out(channel.recv(_CHUNK))
        elif channel.recv_stderr_ready():
            err(channel.recv_stderr(_CHUNK))
        elif ended:
            return
        elif channel.closed:
            raise EOFError
        elif time.monotonic() > until:
            raise TimeoutError
        else:
            time.sleep(_POLL_S)
