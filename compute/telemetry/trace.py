"""One trace id from the renter's command to the container's labels and every log line."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


def new_trace() -> str:
    """A fresh trace id: 32 hex digits."""
    return secrets.token_hex(16)


@contextmanager
def bound(**ids: object) -> Iterator[None]:
    """Bind ids (trace, lease, hotkey) to every log line of this task or thread."""
    with structlog.contextvars.bound_contextvars(**ids):
        yield
