"""Runs a verb's asynchronous work in a renter's session of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from compute.cli.context import Context

if TYPE_CHECKING:
    from compute.renter.session import RenterSession

ResultT = TypeVar("ResultT")


def run(ctx: Context, work: "Callable[[RenterSession], Awaitable[ResultT]]") -> ResultT:
    """Open a session with the context's settings, do the work, and close it."""
    from compute.renter.session import open_session
    from compute.telemetry import logs

    logs.configure("warning", ctx.settings.logging.format)

    async def whole() -> ResultT:
        async with open_session(ctx.settings, ctx.trace) as session:
            return await work(session)

    return asyncio.run(whole())
