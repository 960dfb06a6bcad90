"""Things that go wrong between a miner and its engine, and between a renter and a lease.

`FaultyEngine` stands in front of a real engine and `FaultyNetwork` in front of real SSH servers;
both pass everything on unchanged until a fault is switched on.
"""

import asyncio
import contextlib
import io
import json
import re
import selectors
import socket
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Self

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from compute.crypto import sshkeys

LIMITS = ("Memory", "MemorySwap", "CpuQuota", "CpuPeriod", "CpusetCpus", "PidsLimit", "NanoCpus")


class EngineFault(Enum):
    """What an engine does wrong."""

    NONE = auto()
    DOWN = auto()
    NO_IMAGE = auto()
    DISK_FULL = auto()
    NO_LIMITS = auto()
    NO_GPUS = auto()
    OTHER_KEY = auto()
    NO_REMOVAL = auto()


def _said(message: str) -> str:
    return json.dumps({"message": message})


CREATING = {
    EngineFault.NO_IMAGE: (404, _said("No such image: gone")),
    EngineFault.DISK_FULL: (500, _said("mkdir /var/lib/x: no space left on device")),
}


class FaultyEngine:
    """A Unix socket that is a container engine with a fault.

    Args:
        path: of the socket.
        target: the real engine's socket.
    """

    def __init__(self, path: Path, target: str) -> None:
        self.url = f"unix://{path}"
        self.fault = EngineFault.NONE
        self._path = path
        self._target = target.removeprefix("unix://")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        server = asyncio.start_unix_server(self._serve, str(self._path), limit=2**20)
        asyncio.run_coroutine_threadsafe(server, self._loop).result(10)
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @contextmanager
    def with_fault(self, fault: EngineFault) -> Iterator[None]:
        """Switch a fault on for a while."""
        self.fault = fault
        try:
            yield
        finally:
            self.fault = EngineFault.NONE

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            if self.fault is not EngineFault.DOWN:
                await self._answer(head, body, reader, writer)
        writer.close()

    async def _answer(
        self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        method, path = head.decode().split(" ", 2)[:2]
        refusal = self._refusal(method, path)
        if refusal is not None:
            status, text = refusal
            answer = f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\n"
            answer += f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}"
            writer.write(answer.encode())
            await writer.drain()
            return
        body = self._changed(method, path, body)
        hijacked = b"Upgrade:" in head
        there, back = await asyncio.open_unix_connection(self._target)
        back.write(_headed(head, len(body), close=not hijacked) + body)
        ways = [_pipe(there, writer)]
        if hijacked:
            ways.append(_pipe(reader, back))
        await asyncio.gather(*ways)
        back.close()

    def _refusal(self, method: str, path: str) -> tuple[int, str] | None:
        """What is answered instead of asking the real engine."""
        if method == "POST" and "/containers/create" in path:
            return CREATING.get(self.fault)
        if self.fault is not EngineFault.NO_REMOVAL or "/containers/" not in path:
            return None
        if method == "DELETE" or re.search(r"/(stop|kill)\b", path):
            return 204, ""
        if method != "GET":
            return None
        return (200, "[]") if "/containers/json" in path else (404, _said("No such container"))

    def _changed(self, method: str, path: str, body: bytes) -> bytes:
        """What the real engine is asked instead."""
        if method == "POST" and "/containers/create" in path:
            asked = json.loads(body)
            host = asked["HostConfig"]
            if self.fault is EngineFault.NO_LIMITS:
                asked["HostConfig"] = {k: v for k, v in host.items() if k not in LIMITS}
            host = asked["HostConfig"]
            if self.fault is EngineFault.NO_GPUS:
                host.pop("DeviceRequests", None)
            return json.dumps(asked).encode()
        if method == "PUT" and "/archive" in path and self.fault is EngineFault.OTHER_KEY:
            return _with_another_key(body)
        return body


def _headed(head: bytes, length: int, *, close: bool) -> bytes:
    head = re.sub(rb"(?i)content-length: \d+", b"Content-Length: %d" % length, head)
    if close:
        head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head)
        head = head[:-2] + b"Connection: close\r\n\r\n"
    return head


def _with_another_key(archive: bytes) -> bytes:
    """The same files, but with somebody else's key in the list of who may log in."""
    target = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive)) as old,
        tarfile.open(fileobj=target, mode="w") as new,
    ):
        for member in old:
            file = old.extractfile(member)
            content = file.read() if file else b""
            if member.name.endswith("authorized_keys"):
                content = f"{sshkeys.generate().public}\n".encode()
                member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    return target.getvalue()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.write_eof()


class NetworkFault(Enum):
    """What becomes of connections to a lease."""

    NONE = auto()
    CLOSED = auto()
    SILENT = auto()
    IMPOSTOR = auto()


class FaultyNetwork:
    """The way from outside to a miner's ports, which somebody may sit on.

    Args:
        outside: address that renters dial.
        inside: address that the leases' ports are bound to.
        ports: of the leases.
    """

    def __init__(self, outside: str, inside: str, ports: range) -> None:
        self.fault = NetworkFault.NONE
        self._outside, self._inside, self._ports = outside, inside, ports
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        pem = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
        )
        self._key = paramiko.Ed25519Key.from_private_key(io.StringIO(pem.decode()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join(10)

    @contextmanager
    def with_fault(self, fault: NetworkFault) -> Iterator[None]:
        """Switch a fault on for a while."""
        self.fault = fault
        try:
            yield
        finally:
            self.fault = NetworkFault.NONE

    def _accept(self) -> None:
        listeners: list[socket.socket] = []
        with selectors.DefaultSelector() as selector:
            while not self._stop.is_set():
                closed = self.fault is NetworkFault.CLOSED
                if closed and listeners:
                    for listener in listeners:
                        selector.unregister(listener)
                        listener.close()
                    listeners = []
                elif not closed and not listeners:
                    listeners = [self._listener(port) for port in self._ports]
                    for listener in listeners:
                        selector.register(listener, selectors.EVENT_READ)
                for key, _ in selector.select(0.05) if listeners else ():
                    connection, _ = key.fileobj.accept()
                    port = key.fileobj.getsockname()[1]
                    threading.Thread(
                        target=self._serve, args=(connection, port), daemon=True
                    ).start()
                if not listeners:
                    self._stop.wait(0.05)
        for listener in listeners:
            listener.close()

    def _listener(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self._outside, port))
        listener.listen()
        return listener

    def _serve(self, connection: socket.socket, port: int) -> None:
        with connection:
            if self.fault is NetworkFault.SILENT:
                self._stop.wait(20)
            elif self.fault is NetworkFault.IMPOSTOR:
                with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                    transport = paramiko.Transport(connection)
                    transport.add_server_key(self._key)
                    transport.start_server(server=paramiko.ServerInterface())
                    transport.join(10)
            else:
                with contextlib.suppress(OSError):
                    _relay(connection, (self._inside, port))


def _relay(here: socket.socket, address: tuple[str, int]) -> None:
    with socket.create_connection(address, 5) as there, selectors.DefaultSelector() as selector:
        others = {here: there, there: here}
        for side in others:
            selector.register(side, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(60) or [(None, 0)]:
                data = key.fileobj.recv(65536) if key else b""
                if not data:
                    return
                others[key.fileobj].sendall(data)
