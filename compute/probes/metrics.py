"""What the checker shows to Prometheus: how each miner's checks ended and how long they took."""

from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, start_http_server, write_to_textfile

from compute.errors import Code, UsageError
from compute.probes.report import Outcome, ProbeReport

# Alerts compare numbers; an inconclusive check says nothing about the miner, so it is no failure.
VALUES = {
    Outcome.PASS: 1.0,
    Outcome.WARN: 0.5,
    Outcome.FAIL: 0.0,
    Outcome.INCONCLUSIVE: -1.0,
    Outcome.SKIPPED: -1.0,
}


class ProbeMetrics:
    """Gauges of the newest round.

    Args:
        registry: they are made in.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"compute_checker_{name}", text, labels, registry=registry)

        self._registry = registry
        self._check = gauge(
            "check", "1 passed, 0.5 warned, 0 failed, -1 not known.", "uid", "hotkey", "check"
        )
        self._seconds = gauge("check_seconds", "Time that a check took.", "uid", "check")
        self._ok = gauge("miner_ok", "1 when every check passed or warned.", "uid", "hotkey")
        self._fault = gauge("fault", "1 for each error code that was met.", "uid", "code")
        self._round = gauge("last_round_timestamp_seconds", "When the newest round ended.")

    def show(self, reports: Sequence[ProbeReport], now: float) -> None:
        """Put a round in the place of the one before; `now` in Unix seconds."""
        for each in (self._check, self._seconds, self._ok, self._fault):
            each.clear()
        for report in reports:
            uid = str(report.uid)
            self._ok.labels(uid, report.hotkey).set(report.ok)
            for check in report.checks:
                self._check.labels(uid, report.hotkey, check.name).set(VALUES[check.outcome])
                self._seconds.labels(uid, check.name).set(check.seconds)
                if check.code:
                    self._fault.labels(uid, check.code).set(1)
        self._round.set(now)

    def serve(self, host: str, port: int) -> None:
        """Serve them at `/metrics`, from a thread of its own.

        Raises:
            UsageError: `PORT_TAKEN`.
        """
        try:
            start_http_server(port, host, registry=self._registry)
        except OSError as error:
            raise UsageError(
                f"{host}:{port}: {error.strerror}",
                code=Code.PORT_TAKEN,
                hint="choose another with --metrics_port",
            ) from None

    def write(self, path: Path) -> None:
        """Write them for the node exporter's textfile collector, in one step."""
        write_to_textfile(str(path), self._registry)
