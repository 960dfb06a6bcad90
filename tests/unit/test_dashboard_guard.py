"""What holds for every answer of the dashboard, over real HTTP."""

import http.client
from collections.abc import Iterator

import pytest

from compute.dashboard.guarding import HEADERS
from compute.testing.stage import StagePlan
from compute.testing.staged import StagedDashboard


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StagedDashboard]:
    made = StagedDashboard(tmp_path_factory.mktemp("stage"), StagePlan(8, 24, (300,)))
    yield made
    made.stop()


def ask(served: StagedDashboard, method: str, path: str, **headers: str):
    link = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    try:
        link.request(method, path, headers=headers)
        answer = link.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        link.close()


PATHS = ("/", "/static/app.js", "/api/overview", "/api/nothing", "/metrics", "/healthz")


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_carries_the_strict_headers(served, path):
    """Pages, files, readings, metrics and errors alike are under the same policy."""
    _, headers, _ = ask(served, "GET", path)
    lower = {name.lower(): value for name, value in headers.items()}
    assert {name: lower.get(name.lower()) for name in HEADERS} == HEADERS
    assert "access-control-allow-origin" not in lower


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(served, method):
    """Every method but reading is refused, on every path."""
    assert {ask(served, method, path)[0] for path in PATHS} == {405}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:80", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("127.0.0.2", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_only_expected_names_are_answered(served, host, status):
    """A name that a stranger points at this machine opens nothing to the stranger's page."""
    assert ask(served, "GET", "/api/overview", Host=host)[0] == status


def test_files_are_asked_for_once(served):
    """An unchanged file is not sent again, and no path leads out of the folder."""
    _, headers, _ = ask(served, "GET", "/static/app.js")
    tag = {name.lower(): value for name, value in headers.items()}["etag"]
    assert ask(served, "GET", "/static/app.js", **{"If-None-Match": tag})[::2] == (304, b"")
    for path in ("/static/..%2fapp.py", "/static/../app.py", "/static/%2e%2e/app.py"):
        assert ask(served, "GET", path)[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/api/miners?size=100000",
        "/api/miners?page=-1",
        "/api/miners?sort=secret",
        "/api/measures?kind=weights",
        "/api/plots/subnet?range=10y",
        "/api/miners?text=" + "x" * 1000,
    ],
)
def test_odd_questions_are_refused_in_words(served, path):
    """Whatever is out of bounds gets a problem that names the field, and no more."""
    status, _, body = ask(served, "GET", path)
    assert status == 422
    assert b'"code":"malformed"' in body.replace(b" ", b"")
    assert b"Traceback" not in body


def test_nothing_that_opens_anything_is_shown(served):
    """No answer holds a tenant's token, order or sealed credentials."""
    rental = served.read("rentals")["rows"][0]
    shown = {*rental, *served.read(f"rentals/{rental['id']}")["row"]}
    assert not shown & {"credentials", "order_json", "token_sha256", "idempotency_key"}
