"""How busy a host was: from the leases' lives to lines and lanes; pure functions."""

from collections.abc import Callable, Iterable, Sequence

from compute.dashboard.miner_shapes import LaneShape
from compute.domain.history import Span
from compute.domain.lease import Lease


def busy(leases: Iterable[Lease], span: Span, amount: Callable[[Lease], int]) -> dict[int, float]:
    """Mean amount in use within each bucket, none in the future.

    Args:
        leases: with their lives; those that have not ended are taken to live on.
        span: what the buckets are of.
        amount: what one lease uses.
    """
    sums = dict.fromkeys(range(span.buckets), 0.0)
    for lease in leases:
        used = amount(lease)
        if not used:
            continue
        start = max(span.start_ms, lease.created_at * 1000)
        end = min(span.end_ms, lease.ended_at * 1000 if lease.ended_at else span.end_ms)
        while start < end:
            bucket = int((start - span.start_ms) // span.width_ms)
            until = min(end, span.start_ms + (bucket + 1) * span.width_ms)
            sums[bucket] += used * (until - start) / span.width_ms
            start = until
    return sums


def lanes(leases: Sequence[Lease], start_ms: int, end_ms: int, now_ms: int) -> list[LaneShape]:
    """Leases as bars: tests all in the first lane, each other lease in one that is free by then."""
    ends: list[float] = [float("inf")]
    bars = []
    for lease in sorted(leases, key=lambda lease: lease.created_at):
        begun = int(lease.created_at * 1000)
        over = int(lease.ended_at * 1000) if lease.ended_at else now_ms
        if over < start_ms or begun > end_ms:
            continue
        lane = 0
        if not lease.assignment.test_slot:
            lane = next((at for at, end in enumerate(ends) if end <= begun), len(ends))
            until = over if lease.ended_at else max(over, int(lease.expires_at * 1000))
            ends[lane : lane + 1] = [until]
        bars.append(_bar(lease, begun, over, lane))
    return bars


def _bar(lease: Lease, begun: int, over: int, lane: int) -> LaneShape:
    return LaneShape(
        id=lease.id,
        kind=lease.kind.value,
        state=lease.state.value,
        start_ms=begun,
        end_ms=over,
        expires_ms=int(lease.expires_at * 1000),
        lane=lane,
    )
