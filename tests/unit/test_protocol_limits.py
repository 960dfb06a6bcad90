"""Rates and counts of an axon."""

import pytest

from compute.errors import AdmissionError, Code
from compute.protocol.limits import Buckets, Running
from compute.testing.axon import ManualTime


def test_a_burst_passes_and_then_the_sustained_rate() -> None:
    """Ten at once, then two a second, and the wait is told exactly."""
    clock = ManualTime()
    buckets = Buckets(2, 10, clock)
    for _ in range(10):
        assert buckets.wait_s("a") == 0
        buckets.spend("a")
    assert buckets.wait_s("a") == pytest.approx(0.5)
    assert buckets.wait_s("b") == 0
    clock.advance(0.5)
    assert buckets.wait_s("a") == 0


def test_an_unused_bucket_never_holds_more_than_its_burst() -> None:
    """A day of silence earns no more than one burst."""
    clock = ManualTime()
    buckets = Buckets(2, 3, clock)
    buckets.spend("a")
    clock.advance(86_400)
    for _ in range(3):
        buckets.spend("a")
    assert buckets.wait_s("a") > 0


def test_names_are_forgotten_before_memory_runs_out() -> None:
    """A million addresses do not make a million entries."""
    buckets = Buckets(1, 1, ManualTime())
    for index in range(20_000):
        buckets.spend(str(index))
    assert len(buckets._levels) <= 16_384


def test_running_requests_are_limited_in_all_and_for_each() -> None:
    """One hotkey cannot take all places, and places come back."""
    running = Running(3, 2)
    running.enter("a")
    running.enter("a")
    with pytest.raises(AdmissionError) as own:
        running.enter("a")
    running.enter("b")
    with pytest.raises(AdmissionError) as every:
        running.enter("c")
    assert (own.value.code, every.value.code) == (Code.RATE_LIMITED, Code.BUSY)
    running.leave("a")
    running.enter("c")
    for name in ("a", "b", "c"):
        running.leave(name)
    assert running.count == 0
    assert running.idle.is_set()
