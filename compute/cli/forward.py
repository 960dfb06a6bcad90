"""`compute port-forward`: a lease's ports on this machine, by the system's own ssh."""

import signal
import socket
import subprocess
import time
from typing import Annotated, Any

import typer

from compute.cli.context import context
from compute.cli.names import Name, reachable
from compute.cli.programs import program
from compute.domain.hardware import Value
from compute.errors import Code, PeerError, UsageError

LOCAL = "127.0.0.1"
READY_S = 15.0
_POLL_S = 0.05
MOST_PORTS = 65535


class Forward(Value):
    """One port of a lease, and where it is on this machine."""

    local: int
    remote: int


class Forwarded(Value):
    """What is forwarded until the command is interrupted."""

    name: str
    forwards: tuple[Forward, ...]


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"port-forward": Forwarded}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("port-forward")(port_forward)


def port_forward(
    ctx: typer.Context,
    name: Name,
    ports: Annotated[list[str], typer.Argument(help="PORT, or LOCAL:PORT; LOCAL 0 takes any.")],
) -> None:
    """Forward ports of a lease to this machine, until interrupted.

    The services need not be published, nor listen on anything but localhost inside.
    """
    here = context(ctx)
    record = reachable(here, name)
    forwards = tuple(_parse(text) for text in ports)
    config = here.book.folder(record.name) / "ssh_config"
    tunnels = [f"-L{LOCAL}:{each.local}:{LOCAL}:{each.remote}" for each in forwards]
    command = [program("ssh"), "-F", str(config), "-N", "-oExitOnForwardFailure=yes", *tunnels]
    with subprocess.Popen(
        [*command, record.name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as ssh:
        try:
            _wait(ssh, forwards)
            where = (f"{LOCAL}:{each.local} is {record.name}:{each.remote}" for each in forwards)
            here.output.line(
                Forwarded(name=record.name, forwards=forwards),
                "\n".join(where) + "\n",
            )
            ssh.wait()
            raise _broken(ssh)
        finally:
            ssh.send_signal(signal.SIGTERM)


def _parse(text: str) -> Forward:
    local, separator, remote = text.rpartition(":")
    if not remote.isdecimal() or (separator and not local.isdecimal()):
        raise UsageError(f"'{text}' is no port", hint="write 8888, 9000:8888 or 0:8888")
    wanted = int(remote) if not separator else int(local)
    if not 1 <= int(remote) <= MOST_PORTS or wanted > MOST_PORTS:
        raise UsageError(f"'{text}' is no port", hint=f"ports go from 1 to {MOST_PORTS}")
    return Forward(local=_free(wanted), remote=int(remote))


def _free(wanted: int) -> int:
    """The wanted port of this machine, or any when it is 0.

    Raises:
        UsageError: `PORT_TAKEN`.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCAL, wanted))
        except OSError as error:
            raise UsageError(
                f"{LOCAL}:{wanted}: {error.strerror}",
                code=Code.PORT_TAKEN,
                hint=f"choose another local port, or any: 0:{wanted}",
            ) from None
        return int(probe.getsockname()[1])


def _wait(ssh: subprocess.Popen[str], forwards: tuple[Forward, ...]) -> None:
    """Wait until every forward listens."""
    until = time.monotonic() + READY_S
    waiting = list(forwards)
    while waiting:
        if ssh.poll() is not None:
            raise _broken(ssh)
        if time.monotonic() > until:
            raise PeerError(Code.SSH_SILENT, f"no forward within {READY_S:.0f} s")
        with socket.socket() as probe:
            if probe.connect_ex((LOCAL, waiting[0].local)) == 0:
                waiting.pop(0)
            else:
                time.sleep(_POLL_S)


def _broken(ssh: subprocess.Popen[str]) -> PeerError:
    said = (ssh.stderr.read() if ssh.stderr else "").strip().splitlines()
    return PeerError(Code.SSH_BROKEN, said[-1] if said else "ssh ended")
