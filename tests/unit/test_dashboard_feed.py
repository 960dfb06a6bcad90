"""Live events: gathered, bounded, ended at once."""

import asyncio
import json

from compute.dashboard.feed import MOST_ITEMS, MOST_PAGES, Feed


async def events(feed: Feed, count: int) -> list[tuple[str, dict]]:
    """So many events of a page's stream, the greeting left out."""
    found = []
    async for part in feed.listen():
        kind, _, data = part.decode().removeprefix("retry: 2000\n\n").partition("\n")
        if kind != "event: hello" and kind.startswith("event: "):
            found.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
        if len(found) == count:
            return found
    return found


async def listening(feed: Feed, pages: int) -> None:
    while feed.pages < pages:  # noqa: ASYNC110 - a page has no event for its having opened
        await asyncio.sleep(0)


async def test_events_that_come_together_go_together():
    """A round over a thousand miners is one event with its count and the newest items."""
    feed = Feed(gather_s=0)
    heard = asyncio.create_task(events(feed, 1))
    await listening(feed, 1)
    for number in range(1000):
        feed.put("measured", {"seq": number})
    [(kind, data)] = await heard
    assert (kind, data["count"], len(data["items"])) == ("measured", 1000, MOST_ITEMS)
    assert data["items"][-1] == {"seq": 999}


async def test_every_page_hears_everything():
    """One slow page keeps nothing from another."""
    feed = Feed(gather_s=0)
    slow = feed.listen()
    await anext(slow)
    heard = asyncio.create_task(events(feed, 2))
    await listening(feed, 2)
    feed.put("block", {"block": 7})
    feed.put("weights", {"epoch_block": 1})
    assert [kind for kind, _ in await heard] == ["block", "weights"]
    await slow.aclose()


async def test_kept_items_wait_for_pages_that_open_later():
    """What was measured before a page opened is told by the overview; plain events are not kept."""
    feed = Feed()
    feed.put("measured", {"seq": 1}, keep=True)
    feed.put("block", {"block": 1})
    assert feed.recent("measured") == [{"seq": 1}]
    assert feed.recent("block") == []


async def test_closing_ends_every_stream():
    """A stopping neuron does not wait for its pages."""
    feed = Feed(gather_s=60, beat_s=60)
    heard = [asyncio.create_task(events(feed, 1)) for _ in range(3)]
    await listening(feed, 3)
    feed.close()
    assert await asyncio.wait_for(asyncio.gather(*heard), 2) == [[], [], []]
    assert feed.pages == 0


async def test_a_silent_stream_beats():
    """A comment now and then keeps the connection and finds pages that are gone."""
    stream = Feed(beat_s=0.01).listen()
    await anext(stream)
    assert await anext(stream) == b": still here\n\n"
    await stream.aclose()


async def test_pages_are_bounded():
    """Beyond a limit no further page may listen; a closed one makes room."""
    feed = Feed()
    streams = [feed.listen() for _ in range(MOST_PAGES)]
    for stream in streams:
        await anext(stream)
    assert feed.full
    await streams[0].aclose()
    assert not feed.full
    for stream in streams[1:]:
        await stream.aclose()
