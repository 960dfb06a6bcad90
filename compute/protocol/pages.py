"""The pages of an axon that anybody may read: health, readiness, metrics, OpenAPI."""

import ipaddress
import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from compute.errors import AdmissionError, Code
from compute.protocol import meters, openapi
from compute.protocol.openapi import AnySynapse

JSON = "application/json"
Check = Callable[[], str | None]
"""Says in a few words why the neuron is not ready; None when it is."""


class Page(NamedTuple):
    """An answer."""

    status: int
    content_type: str
    body: bytes


class Pages:
    """Answers GET.

    Args:
        checks: readiness checks by name.
        metrics: the page of counters.
        synapses: what is served, for the OpenAPI document.
        title: of the OpenAPI document, with its `version`.
        open_metrics: whether others than this machine may read the metrics.
    """

    def __init__(
        self,
        *,
        checks: dict[str, Check],
        metrics: Callable[[], bytes],
        synapses: Callable[[], Iterable[AnySynapse]],
        title: str,
        version: str,
        open_metrics: bool,
    ) -> None:
        self._checks = checks
        self._metrics = metrics
        self._synapses = synapses
        self._title = title
        self._version = version
        self._open_metrics = open_metrics
        self._pages: dict[str, Callable[[], Page]] = {
            "/healthz": lambda: _json(200, {"status": "ok"}),
            "/readyz": self._ready,
            "/openapi.json": self._document,
        }

    def find(self, path: str, address: str) -> Callable[[], Page] | None:
        """The page at a path, or None; metrics show only to this machine unless they are open.

        Raises:
            AdmissionError: `DENIED` for metrics from elsewhere.
        """
        if path == "/metrics":
            if not (self._open_metrics or _is_this_machine(address)):
                raise AdmissionError(Code.DENIED, "metrics are for this machine only")
            return lambda: Page(200, meters.CONTENT_TYPE, self._metrics())
        return self._pages.get(path)

    def _ready(self) -> Page:
        reasons = {name: reason for name, check in self._checks.items() if (reason := check())}
        if reasons:
            return _json(503, {"status": "not ready", "reasons": reasons})
        return _json(200, {"status": "ready"})

    def _document(self) -> Page:
        content = openapi.document(self._synapses(), title=self._title, version=self._version)
        return _json(200, content)


def _json(status: int, content: Any) -> Page:
    return Page(status, JSON, json.dumps(content).encode())


def _is_this_machine(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return bool((mapped or ip).is_loopback)
