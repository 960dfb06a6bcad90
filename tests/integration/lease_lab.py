"""A small internet beside the host: a network namespace with listeners that leases try to reach."""

import contextlib
import fcntl
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

METADATA = "169.254.169.254"
PUBLIC = "198.18.7.7"  # RFC 2544: benchmarks; nobody's, and not private either
PRIVATE = "10.213.7.7"
PORT = 8099
START_S = 15


def run(*command: str) -> None:
    """Run a tool, and fail loudly."""
    subprocess.run(command, check=True, capture_output=True, text=True)


@dataclass(frozen=True)
class Internet:
    """Addresses outside the host at which something answers on `PORT`."""

    public: str = PUBLIC
    private: str = PRIVATE
    metadata: str = METADATA
    port: int = PORT


@contextlib.contextmanager
def internet() -> Iterator[Internet]:
    """Make it, and take it away again; one at a time on a machine, because it takes addresses."""
    with Path("/run/compute-lease-lab.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _made() as made:
            yield made


@contextlib.contextmanager
def _made() -> Iterator[Internet]:
    name = f"lab{secrets.token_hex(3)}"
    outer, inner = f"{name}o", f"{name}i"
    run("ip", "netns", "add", name)
    server = None
    try:
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
        run("ip", "addr", "add", "198.18.7.1/30", "dev", outer)
        run("ip", "link", "set", outer, "up")
        for address in (PUBLIC, PRIVATE, METADATA):
            run("ip", "-n", name, "addr", "add", f"{address}/32", "dev", inner)
            run("ip", "route", "add", f"{address}/32", "dev", outer)
        run("ip", "-n", name, "link", "set", inner, "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", name, "route", "add", "198.18.7.1/32", "dev", inner)
        run("ip", "-n", name, "route", "add", "default", "via", "198.18.7.1")
        serve = (
            f"import socketserver as s; s.ThreadingTCPServer(('', {PORT}), type('H', ("
            "s.BaseRequestHandler,), {'handle': lambda h: h.request.sendall(b'here')}))"
            ".serve_forever()"
        )
        server = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{name}", "python3", "-c", serve],
        )
        _await_answer((PUBLIC, PORT))
        yield Internet()
    finally:
        if server is not None:
            server.kill()
            server.wait()
        run("ip", "netns", "del", name)
        with contextlib.suppress(subprocess.CalledProcessError):
            run("ip", "link", "del", outer)


def _await_answer(address: tuple[str, int]) -> None:
    """Wait until the listener in the namespace listens; an interpreter takes a moment to start."""
    until = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(address, 1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


@contextlib.contextmanager
def listener(address: str = "0.0.0.0") -> Iterator[int]:  # noqa: S104 - reached by mistake is the test
    """A service of the host's own; yields its port."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, 0))
        server.listen(16)
        threading.Thread(target=_answer, args=(server,), daemon=True).start()
        yield server.getsockname()[1]


def _answer(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"here")


def try_to_reach(address: str, port: int) -> str:
    """A shell command that says `reached` or `not reached`."""
    code = (
        "import socket,sys\n"
        "try:\n"
        f'  s=socket.create_connection(("{address}",{port}),2.5); s.settimeout(2.5)\n'
        '  print("reached" if s.recv(4) else "not reached")\n'
        'except OSError: print("not reached")'
    )
    return f"python3 -c '{code}'"
