"""The validator's API against its own OpenAPI document, by generated requests."""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from compute.domain.book import Book
from compute.storage.database import Role, open_database
from compute.storage.evidence_weights import WeightsStore
from compute.storage.rentals import RentalStore, TenantStore
from compute.testing.axon import metagraph
from compute.validator.api.app import create_app
from compute.validator.api.rentals import RentalParts, mount_rentals
from compute.validator.api.server import serving
from compute.validator.api.weights import weights_router
from compute.validator.chainview import ChainView
from compute.validator.renting.desk import RentalDesk
from compute.validator.renting.hub import EventHub
from compute.validator.renting.market import Market
from compute.validator.renting.webhooks import WebhookStore
from compute.validator.shelf import WeightsShelf

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


class Chain:
    """A chain with nobody on it, as far as a market looks."""

    async def block(self) -> int:
        """Some block."""
        return 100

    async def metagraph(self) -> Any:
        """Nobody."""
        return metagraph()


class Nobody:
    """A caller that reaches nobody: there is nobody to call."""

    async def call(self, *_: Any, **__: Any) -> Any:
        """Never called."""
        raise AssertionError


def app_and_token(folder: Path) -> tuple[FastAPI, str]:
    engine = open_database(f"sqlite:///{folder / 'validator.sqlite'}", Role.VALIDATOR)
    view: Any = ChainView(Chain(), poll_s=1)  # type: ignore[arg-type]
    view._metagraph = metagraph()
    store = RentalStore(engine, "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM")
    desk = RentalDesk(store, Market(Book, view), Nobody(), EventHub(), wall=time.time)
    tenants = TenantStore(engine)
    app = create_app(weights_router(WeightsShelf(WeightsStore(engine))))
    mount_rentals(app, RentalParts(desk, tenants, WebhookStore(engine)))
    _, token = tenants.add("fuzzer", most_leases=1_000_000, now_ms=1)
    return app, token


@dataclass
class Api:
    """The API, served in a thread.

    Attributes:
        token: of a tenant that may do anything.
    """

    url: str
    token: str
    schema: Any


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    app, token = app_and_token(tmp_path_factory.mktemp("api"))
    app.state.tenant_gate._buckets._rate = 0  # the fuzzer is faster than any tenant may be
    ports: queue.Queue[int] = queue.Queue()
    stop = threading.Event()

    async def serve() -> None:
        async with serving(app, "127.0.0.1", 0) as port:
            ports.put(port)
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    url = f"http://127.0.0.1:{ports.get(timeout=20)}"
    yield Api(url, token, schemathesis.openapi.from_url(f"{url}/openapi.json"))
    stop.set()
    thread.join(20)


def operations(api: Api) -> list[Any]:
    found = [result.ok() for result in api.schema.get_all_operations()]
    return [each for each in found if not each.path.endswith("/stream")]


def test_every_answer_is_as_documented(api: Api) -> None:
    """Whatever is sent to a route, its answer is one that the document describes; never a 500."""
    assert len(operations(api)) > 10
    for operation in operations(api):
        for mode in GenerationMode:

            @settings(
                max_examples=30,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def send(case: Any) -> None:
                case.headers = {**(case.headers or {}), "Authorization": f"Bearer {api.token}"}
                answer = case.call_and_validate(base_url=api.url, checks=CHECKS)
                assert answer.status_code != 500

            with contextlib.suppress(Unsatisfiable):  # nothing about this route can be wrong
                send()


def test_nothing_of_tenants_without_a_token(api: Api) -> None:
    """Every route of tenants refuses who has no token, before it looks at anything else."""
    for operation in operations(api):
        if "/weights/" in operation.path:
            continue
        path = operation.path
        for name in ("{rental}", "{name}"):
            path = path.replace(name, "0" * 32)
        path = path.replace("{action}", "status")
        answer = requests.request(operation.method, api.url + path, json={}, timeout=10)
        assert (path, answer.status_code) == (path, 401)
        assert answer.json()["code"] == "unauthenticated"


def test_large_bodies_are_refused_unread(api: Api) -> None:
    """A body over the limit is refused with a problem, announced or not."""

    def chunks() -> Iterator[bytes]:
        for _ in range(64):
            yield bytes(65_536)

    headers = {"Authorization": f"Bearer {api.token}", "Idempotency-Key": "large-body"}
    for body in (bytes(1 << 20), chunks()):
        answer = requests.post(f"{api.url}/v1/leases", data=body, headers=headers, timeout=10)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
