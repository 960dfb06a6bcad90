"""Schemathesis against the OpenAPI document that an axon publishes: ten thousand requests."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import schemathesis
from bittensor import http_auth
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from compute.testing.wallets import DevWallet, dev_wallet

ME, CALLER, STRANGER = dev_wallet("Me"), dev_wallet("Caller"), dev_wallet("Stranger")
CALLER_ED = dev_wallet("CallerEd", crypto_type=0)
PATHS = ("/Specs", "/Allocate", "/Lease", "/Challenge")
CASES_EACH = 80  # by path and mode, each sent in 16 ways: 10,240 requests
CHECKED_EACH = 50  # answers by path and code whose form is compared with the document
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MIB = 1024 * 1024


class Fuzzed:
    """A served axon, and the ways in which each generated case is sent to it."""

    def __init__(self, process: subprocess.Popen[bytes], stderr: Path) -> None:
        assert process.stdout
        self.url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        self.schema = schemathesis.openapi.from_url(f"{self.url}/openapi.json")
        self.codes: Counter[str] = Counter()
        self._checked: Counter[tuple[str, str]] = Counter()
        self._session = requests.Session()
        self._process = psutil.Process(process.pid)
        self._stderr = stderr

    @property
    def rss(self) -> int:
        """Resident memory in bytes."""
        return int(self._process.memory_info().rss)

    @property
    def errors(self) -> str:
        """What the axon has logged as errors."""
        return self._stderr.read_text()

    def send_all_ways(self, case: Case) -> None:
        """Send a case as it is, signed by friends and strangers, and bent in many ways."""
        sent = self._prepared(case)
        body = _bytes(sent.body)
        self._send(case, sent, body, {})
        for signer in (CALLER, CALLER_ED, STRANGER):
            signed = _signed(signer, case.path, body)
            for _ in range(2):  # the second is a replay
                self._send(case, sent, body, signed)
        for bent in (
            body[: len(body) // 2],
            b"[" + body + b"]",
            body + body,
            body[::-1],
            b"\xff" + body,
        ):
            self._send(case, sent, bent, _signed(CALLER, case.path, bent))
        for header in ({"Content-Encoding": "gzip"}, {"Content-Type": "text/xml"}, {"Expect": "x"}):
            self._send(case, sent, body, {**_signed(CALLER, case.path, body), **header})
        self._send(case, sent, body + b" ", _signed(CALLER, case.path, body))

    def _prepared(self, case: Case) -> requests.PreparedRequest:
        arguments = case.as_transport_kwargs(base_url=self.url)
        arguments.pop("cookies", None)
        return requests.Request(**arguments).prepare()

    def _send(
        self, case: Case, base: requests.PreparedRequest, body: bytes, headers: dict[str, str]
    ) -> None:
        request = base.copy()
        if headers:
            kept = {n: v for n, v in request.headers.items() if not n.startswith("X-Bittensor")}
            kept.pop("Transfer-Encoding", None)
            request.headers.clear()
            request.headers.update(
                {
                    **kept,
                    "Content-Type": "application/json",
                    **headers,
                    "Content-Length": str(len(body)),
                }
            )
            request.body = body
            request.url = self.url + case.path
        answer = self._session.send(request, timeout=10, allow_redirects=False)
        code = "ok" if answer.status_code == 200 else answer.json()["code"]
        self.codes[code] += 1
        assert answer.status_code < 500, answer.text
        assert answer.headers["X-Compute-Receipt"]
        for word in ("Traceback", ".py", "/root", "pydantic"):
            assert word not in answer.text
        self._checked[case.path, code] += 1
        if self._checked[case.path, code] <= CHECKED_EACH:
            case.validate_response(answer, checks=CHECKS)


def _bytes(body: Any) -> bytes:
    if body is None:
        return b""
    return body.encode() if isinstance(body, str) else bytes(body)


def _signed(signer: DevWallet, path: str, body: bytes) -> dict[str, str]:
    return http_auth.sign(signer, method="POST", path=path, body=body, receiver_ss58=ME.address)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    """One axon for the whole module, so that its memory can be watched."""
    stderr = tmp_path_factory.mktemp("axon") / "stderr"
    with (
        stderr.open("wb") as errors,
        subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("axon_process.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={"PYTHONPATH": str(Path(__file__).parents[2])},
        ) as process,
    ):
        try:
            yield Fuzzed(process, stderr)
        finally:
            process.terminate()


@pytest.mark.slow
def test_ten_thousand_generated_requests(fuzzed: Fuzzed) -> None:
    """No server error, no traceback, every answer as documented, and no growth in memory."""
    before = 0
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        for path in PATHS:
            _exercise(fuzzed, path, mode)
            before = before or fuzzed.rss  # the first round has loaded and cached what there is
    assert fuzzed.codes.total() >= 10_000
    assert {"ok", "malformed", "unauthenticated", "not_registered"} <= set(fuzzed.codes)
    assert fuzzed.errors == ""
    assert fuzzed.rss - before < 8 * MIB, json.dumps(fuzzed.codes)


def _exercise(fuzzed: Fuzzed, path: str, mode: GenerationMode) -> None:
    @seed(4)
    @settings(
        max_examples=CASES_EACH,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(fuzzed.schema[path]["POST"].as_strategy(generation_mode=mode))
    def send(case: Case) -> None:
        fuzzed.send_all_ways(case)

    send()
