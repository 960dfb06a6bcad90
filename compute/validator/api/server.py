"""Serves the application beside the validator, in the same event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp

from compute.errors import Code, UsageError

STOP_S = 2  # running requests get so long when the validator stops
READY_POLL_S = 0.01


class _Server(uvicorn.Server):
    """A server that leaves signals to the program that it is part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, host: str, port: int) -> AsyncIterator[int]:
    """Serve while the context lasts; gives the port, which is the system's choice for port 0.

    Raises:
        UsageError: `PORT_TAKEN`.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_S,
        timeout_keep_alive=30,
        limit_concurrency=2048,
        h11_max_incomplete_event_size=16_384,
    )
    server = _Server(config)
    try:
        listening = config.bind_socket()
    except SystemExit:
        raise UsageError(f"{host}:{port}", code=Code.PORT_TAKEN) from None
    running = asyncio.create_task(server.serve(sockets=[listening]), name="api")
    try:
        while not server.started and not running.done():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(READY_POLL_S)
        yield int(listening.getsockname()[1])
    finally:
        server.should_exit = True
        await running
        listening.close()
