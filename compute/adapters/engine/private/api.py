"""The few calls that starting and stopping an engine needs, over its Unix socket.

The Docker SDK is not used here: the scripts must be able to stop an engine even when the
virtual environment is half made.
"""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from compute.errors import Code, EngineError


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection to a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def call(path: Path, method: str, target: str, *, timeout_s: float = 30) -> Any:
    """Call the engine behind a socket and return the decoded JSON, or None for an empty answer.

    Raises:
        EngineError: `ENGINE_AWAY` if nobody answers, `ENGINE_FAILED` if the engine refuses.
    """
    connection = _UnixConnection(path, timeout_s)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise EngineError(Code.ENGINE_AWAY, type(error).__name__) from error
    finally:
        connection.close()
    if answer.status >= http.client.BAD_REQUEST:
        raise EngineError(Code.ENGINE_FAILED, _message(body))
    return json.loads(body) if body.strip().startswith((b"{", b"[")) else None


def answers(path: Path, *, timeout_s: float = 2) -> bool:
    """Whether an engine answers behind this socket."""
    if not path.exists():
        return False
    try:
        call(path, "GET", "/_ping", timeout_s=timeout_s)
    except EngineError:
        return False
    return True


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
