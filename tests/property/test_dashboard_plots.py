"""What plots are made of: spans of time, and how busy a host was."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute.dashboard.occupancy import busy, lanes
from compute.domain.capacity import Assignment
from compute.domain.history import Range, Span
from compute.domain.lease import Lease, LeaseKind
from compute.domain.requirement import Requirement
from compute.domain.timeline import Deadline

NOW_MS = 1_790_000_000_000
moments = st.integers(NOW_MS - 10**9, NOW_MS + 10**8)


@st.composite
def leases(draw) -> Lease:
    begun = draw(st.integers(NOW_MS - 10**8, NOW_MS)) / 1000
    ended = draw(st.none() | st.floats(0, 10**5).map(lambda s: begun + s))
    test = draw(st.booleans())
    return Lease(
        id=draw(st.text("0123456789abcdef", min_size=8, max_size=8)),
        kind=LeaseKind.PROBE if test else LeaseKind.RENTAL,
        owner="renter",
        requirement=Requirement(),
        assignment=Assignment(cpus=(0, 1), test_slot=test),
        created_at=begun,
        deadline=Deadline(begun + 3600, 0, "00000000"),
        ended_at=ended,
    )


@given(moments, st.sampled_from(Range), st.integers(1, 400))
def test_a_span_covers_now_in_equal_buckets(now_ms: int, range_: Range, buckets: int):
    """The moment asked for lies in the last bucket, and borders stay put while time goes on."""
    span = Span.ending(now_ms, range_, buckets)
    assert span.buckets == buckets
    assert span.end_ms - span.width_ms <= now_ms < span.end_ms
    assert span.start_ms % span.width_ms == 0


@given(st.lists(leases(), max_size=12), st.sampled_from([Range.HOUR, Range.DAY]))
def test_use_adds_up(found: list[Lease], range_: Range):
    """The mean over all buckets is the time that leases lived inside the span, no more or less."""
    span = Span.ending(NOW_MS, range_, 60)
    sums = busy(found, span, lambda lease: len(lease.assignment.cpus))
    lived = sum(
        2 * max(0, min(span.end_ms, (one.ended_at or 10**12) * 1000)
                - max(span.start_ms, one.created_at * 1000))
        for one in found
    )  # fmt: skip
    assert sum(sums.values()) * span.width_ms == pytest.approx(lived, rel=1e-6, abs=1)


@given(st.lists(leases(), max_size=20))
def test_bars_of_rentals_never_cover_each_other(found: list[Lease]):
    """Two rentals in one lane do not overlap; tests have a lane of their own."""
    bars = lanes(found, NOW_MS - 10**9, NOW_MS + 10**7, NOW_MS)
    assert len(bars) == len(found)
    rows: dict[int, list[tuple[int, int]]] = {}
    for bar in bars:
        assert (bar.lane == 0) == (bar.kind == "probe")
        rows.setdefault(bar.lane, []).append((bar.start_ms, bar.end_ms))
    for lane, row in rows.items():
        if lane:
            row.sort()
            assert all(end <= start for (_, end), (start, _) in pairwise(row))
