"""Reads request bodies within their limits, before and while they arrive."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from compute.errors import AdmissionError, Code
from compute.protocol.auth import Headers

Receive = Callable[[], Awaitable[Any]]
_JSON = (b"", b"application/json")
_LONGEST_LENGTH = 10  # digits of a content-length that is worth reading


class ClientGoneError(Exception):
    """The caller hung up before its request was whole."""


def announced_length(headers: Headers) -> int | None:
    """The body's announced length in bytes; None when it comes in chunks of unknown number.

    Raises:
        AdmissionError: `MALFORMED` for a body that is compressed or not JSON; `TOO_LARGE`.
    """
    length: int | None = 0
    for raw_name, value in headers:
        name = raw_name.lower()
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise AdmissionError(Code.MALFORMED, "compressed bodies are not accepted")
        if name == b"content-type" and value.split(b";")[0].strip().lower() not in _JSON:
            raise AdmissionError(Code.MALFORMED, "the body is not application/json")
        if name == b"transfer-encoding":
            length = None
        elif name == b"content-length" and length is not None:
            if not value.isdigit():
                raise AdmissionError(Code.MALFORMED, "content-length is not a number")
            if len(value) > _LONGEST_LENGTH:
                raise AdmissionError(Code.TOO_LARGE)
            length = int(value)
    return length


class BodyReader:
    """Reads bodies, all of them together within a budget.

    Args:
        budget_bytes: held at a time, from the first byte to the answer.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._held = 0

    @asynccontextmanager
    async def body(self, receive: Receive, length: int | None, limit: int) -> AsyncIterator[bytes]:
        """Read one body; it counts against the budget until the context ends.

        Args:
            receive: of ASGI.
            length: as announced, see `announced_length`.
            limit: largest body in bytes.

        Raises:
            AdmissionError: `TOO_LARGE` past the limit, `BUSY` past the budget.
            ClientGoneError: the caller hung up.
        """
        if length is not None and length > limit:
            raise _too_large(limit)
        pieces: list[bytes] = []
        size = 0
        try:
            more = True
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGoneError
                piece: bytes = message.get("body", b"")
                size += len(piece)
                self._held += len(piece)
                if size > limit:
                    raise _too_large(limit)
                if self._held > self._budget:
                    raise AdmissionError(
                        Code.BUSY, "too many large requests at a time", retry_after_s=1
                    )
                pieces.append(piece)
                more = message.get("more_body", False)
            yield pieces[0] if len(pieces) == 1 else b"".join(pieces)
        finally:
            self._held -= size


def _too_large(limit: int) -> AdmissionError:
    return AdmissionError(Code.TOO_LARGE, f"the limit is {limit} bytes", data={"limit": limit})
