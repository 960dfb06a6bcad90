"""One validator, one whole round: specs, proofs, score, weights on chain; writes what it took.

Reads one line of JSON: a `ValidatorRun`. Writes one line of figures.
"""

import asyncio
import json
import os
import sys
import threading
import time
from typing import Any, Self

import psutil
import structlog
import uvloop

from compute.domain.evidence import EvidenceKind
from compute.settings.validation import ValidationSettings
from compute.storage.evidence_weights import SubmissionState
from compute.testing.validating import ValidatorRun, validating
from compute.validator.pool import CheckPool

SAMPLE_S = 0.2
POLL_S = 0.05
MIB = 1 << 20


class Meter:
    """Samples memory and sockets of this process and its children."""

    def __init__(self) -> None:
        self.rss_mib = 0.0
        self.sockets = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._me = psutil.Process()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            family = [self._me, *self._me.children(recursive=True)]
            used = 0
            for process in family:
                try:
                    used += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.rss_mib = max(self.rss_mib, used / MIB)
            self.sockets = max(self.sockets, self._me.num_fds())

    def cpu_s(self) -> float:
        """Processor seconds so far, children included."""
        own = sum(os.times()[:2])
        for child in self._me.children(recursive=True):
            own += sum(child.cpu_times()[:2])
        return own


async def one_round(run: ValidatorRun) -> dict[str, Any]:
    """Run until the weights are confirmed."""
    pool = CheckPool()
    with Meter() as meter:
        async with validating(run, pool=pool) as service:
            await service.view.wait_beyond(0)
            begun, cpu = time.monotonic(), meter.cpu_s()
            marks: dict[str, float] = {}

            def note(record: Any) -> None:
                marks[record.kind.value] = time.monotonic() - begun

            service.recorder.listen(note)
            while True:
                entry = service.weights.latest_submission()
                if entry is not None and entry.state is SubmissionState.CONFIRMED:
                    break
                await asyncio.sleep(POLL_S)
            figures = {
                "wall_s": time.monotonic() - begun,
                "cpu_s": meter.cpu_s() - cpu,
                "specs_s": marks[EvidenceKind.SPECS.value],
                "proofs_s": marks[EvidenceKind.PROOF.value],
                "weights_s": marks[EvidenceKind.WEIGHTS.value],
                "vector": json.loads(service.weights.latest_document() or "{}")["vector"],
                "records": service.recorder.book.head,
            }
    pool.shutdown(wait=False)
    return figures | {"rss_mib": meter.rss_mib, "fds": meter.sockets}


def main() -> None:
    """Run the round that standard input describes."""
    level = int(os.environ.get("BENCH_LEVEL", "40"))
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    fields = json.loads(sys.stdin.readline())
    settings = ValidationSettings.model_validate(fields.pop("settings"))
    figures = uvloop.run(one_round(ValidatorRun(**fields, settings=settings)))
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
