"""Lanes: bounded work, told waits, and slots that come back."""

import asyncio
import threading
from typing import Any

import pytest

from compute.errors import AdmissionError, Code
from compute.protocol.context import RequestContext
from compute.protocol.lanes import Lane
from compute.protocol.synapses import SpecsRequest
from compute.testing.axon import ManualTime

CONTEXT = RequestContext(hotkey="5x", trace="ab" * 8, received_at=0)
REQUEST = SpecsRequest()


def lane(handler: Any, *, workers: int = 1, queue: int = 1, timeout_s: float = 5) -> Lane:
    return Lane(
        "Test", handler, workers=workers, queue=queue, timeout_s=timeout_s, clock=ManualTime()
    )


async def test_a_plain_handler_never_blocks_the_loop() -> None:
    """The loop goes on while a thread waits."""
    gate = threading.Event()
    work = lane(lambda _request, _context: gate.wait(5))
    running = asyncio.create_task(work.run(REQUEST, CONTEXT))
    await asyncio.sleep(0)
    gate.set()
    assert await running is True
    work.close()


async def test_a_full_lane_says_when_to_come_back() -> None:
    """One works, one waits, the third is told at once; afterwards there is room again."""
    gate = threading.Event()
    work = lane(lambda _request, _context: gate.wait(5))
    held = [asyncio.create_task(work.run(REQUEST, CONTEXT)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(AdmissionError) as caught:
        await work.run(REQUEST, CONTEXT)
    assert caught.value.code is Code.BUSY
    assert 0.5 <= (caught.value.retry_after_s or 0) <= 30
    gate.set()
    assert await asyncio.gather(*held) == [True, True]
    await asyncio.sleep(0)
    assert await work.run(REQUEST, CONTEXT) is True
    work.close()


async def test_async_handlers_take_turns() -> None:
    """Never more at a time than there are workers."""
    inside = most = 0

    async def handler(_request: object, _context: object) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1

    work = lane(handler, workers=2, queue=8)
    await asyncio.gather(*(work.run(REQUEST, CONTEXT) for _ in range(10)))
    assert most == 2


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_handler_that_takes_too_long_is_answered_for(kind: str) -> None:
    """The caller gets an answer in time; a thread keeps its slot until it really ends."""
    gate = threading.Event()

    async def hang(_request: object, _context: object) -> None:
        await asyncio.Event().wait()

    work = lane(
        hang if kind == "async" else lambda _request, _context: gate.wait(5),
        queue=0,
        timeout_s=0.01,
    )
    with pytest.raises(AdmissionError) as caught:
        await work.run(REQUEST, CONTEXT)
    assert caught.value.code is Code.BUSY
    await asyncio.sleep(0)
    assert work.held == (0 if kind == "async" else 1)
    gate.set()
    for _ in range(1000):
        if not work.held:
            break
        await asyncio.sleep(0.001)
    assert work.held == 0
    work.close()


async def test_a_handlers_own_timeout_is_not_mistaken_for_ours() -> None:
    """A TimeoutError from inside is a fault of the handler, and goes up as it is."""

    async def handler(_request: object, _context: object) -> None:
        raise TimeoutError("inner")

    with pytest.raises(TimeoutError, match="inner"):
        await lane(handler).run(REQUEST, CONTEXT)


async def test_an_object_with_an_async_call_is_async() -> None:
    """Handlers may be objects."""

    class Handler:
        async def __call__(self, _request: object, _context: object) -> str:
            return threading.current_thread().name

    assert await lane(Handler()).run(REQUEST, CONTEXT) == threading.current_thread().name
