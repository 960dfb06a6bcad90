"""Structured logs: events with bound ids, for people on a terminal and as JSON elsewhere.

No secret is ever logged. Callers do not pass any; a processor masks fields whose names say that
they hold one, so that a slip stays a slip.
"""

import logging
import logging.config
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

_SECRET = re.compile(
    r"password|passphrase|private|secret|credential|mnemonic|seed|authorization|token|envelope",
    re.IGNORECASE,
)
_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
MASK = "[masked]"
# Libraries that tell every request at INFO; their warnings still count.
_CHATTY = (
    "paramiko",
    "apscheduler",
    "docker",
    "urllib3",
    "asyncio",
    "uvicorn",
    "alembic",
    "aiohttp.access",
    "websockets",
)


def mask_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace values of secret-looking fields, and private keys inside any text."""
    for name, value in event.items():
        if name != "event" and _SECRET.search(name):
            event[name] = MASK
        elif isinstance(value, str) and "PRIVATE KEY" in value:
            event[name] = _KEY_BLOCK.sub(MASK, value)
    return event


def configure(
    level: str = "info", form: Literal["auto", "text", "json"] = "auto", *, role: str = ""
) -> None:
    """Set up logging of the whole process, once, on standard error.

    Args:
        level: least level that is written.
        form: text, json, or auto by whether standard error is a terminal.
        role: bound to every line as `role`.
    """
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if text else "iso", utc=not text),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=32,
            # The default prints local variables, which may hold what must not be logged.
            exception_formatter=structlog.dev.plain_traceback,
        )
        if text
        else structlog.processors.JSONRenderer()
    )
    formatting = [] if text else [structlog.processors.format_exc_info]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *formatting,
                mask_secrets,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    if role:
        structlog.contextvars.bind_contextvars(role=role)


def get(name: str) -> Any:
    """A structured logger; `name` tells the part of the product that speaks."""
    return structlog.stdlib.get_logger(name, part=name)
