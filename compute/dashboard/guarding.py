"""What holds for every answer of the dashboard: reading only, expected names only, strict headers.

A page on the internet can make a browser call a server on loopback, and can give its own name that
server's address. So the dashboard answers only to names that it expects, allows no cross-origin
reading, and changes nothing whatever it is sent.
"""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_READING = frozenset({"GET", "HEAD"})
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class Guard:
    """Wraps an application.

    Args:
        app: what answers.
        host: the address listened on.
        names: further host names under which it is reached, such as a proxy's.
    """

    def __init__(self, app: ASGIApp, host: str, names: Iterable[str] = ()) -> None:
        self._app = app
        self._names = frozenset(name.casefold() for name in (*LOCAL_NAMES, host, *names))
        # On all addresses any of the machine's may be meant; a name is still an expected one.
        self._any_address = host in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await (self._refusal(scope) or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        if scope["method"] not in _READING:
            return PlainTextResponse("read-only\n", 405, {"Allow": "GET, HEAD"})
        if not self._expected(Headers(scope=scope).get("host", "")):
            hint = "unexpected host name; allow it with --dashboard.names\n"
            return PlainTextResponse(hint, 421)
        return None

    def _expected(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or (self._any_address and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
