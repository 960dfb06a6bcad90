"""The dashboard of a stage, served from a thread of its own until it is stopped."""

import asyncio
import json
import threading
import urllib.request
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from compute.dashboard.validator import validator_dashboard
from compute.domain.evidence import Observation, Record
from compute.settings.dashboard import DashboardSettings
from compute.testing.stage import Stage, StagePlan

FILL_S = 300.0
WAIT_S = 30.0
ValueT = TypeVar("ValueT")


class StagedDashboard:
    """A stage, filled and served.

    Args:
        folder: of its databases.
        plan: how large it is.

    Attributes:
        stage: what is shown.
        port: where.
    """

    def __init__(self, folder: Path, plan: StagePlan) -> None:
        self.stage = Stage(folder, plan)
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready, self._again, self._over = threading.Event(), asyncio.Event(), False
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        if not self._ready.wait(FILL_S):
            raise TimeoutError("the stage was not filled in time")

    async def _serve(self) -> None:
        await self.stage.fill()
        while not self._over:
            settings = DashboardSettings(port=self.port)
            page = validator_dashboard(self.stage.service, self.stage.identity, settings)
            async with page as self.port:
                self._ready.set()
                await self._again.wait()
            self._again.clear()

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://127.0.0.1:{self.port}"

    def do(self, work: Coroutine[Any, Any, ValueT]) -> ValueT:
        """Run something in the dashboard's event loop, and give what comes of it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def record(self, observation: Observation) -> Record:
        """Let the validator measure something."""
        record = self.do(self.stage.service.recorder.record(observation))
        if record is None:
            raise ValueError("this was measured already")
        return record

    def pass_block(self) -> int:
        """Let a block pass, and let the validator see it."""
        self.stage.chain.move(1)
        self.do(self.stage.service.view.look())
        return self.stage.chain.now.block

    def fetch(self, path: str) -> bytes:
        """Read a page or an answer."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=WAIT_S) as answer:  # noqa: S310
            return bytes(answer.read())

    def read(self, path: str) -> Any:
        """Read an answer below `/api/`."""
        return json.loads(self.fetch(f"/api/{path}"))

    def restart(self) -> None:
        """Serve anew, at the same port."""
        self._ready.clear()
        self._loop.call_soon_threadsafe(self._again.set)

    def stop(self) -> None:
        """Stop serving and let go of the databases."""
        self._over = True
        self.restart()
        self._thread.join(WAIT_S)
        self._loop.close()
        self.stage.close()
