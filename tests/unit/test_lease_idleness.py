"""Idleness and GPU errors: who used what, and whose fault it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute.domain.idleness import Idleness, Sample, Verdict
from compute.domain.xid import Blame, blame
from compute.miner.supply import unfit_gpus
from compute.ports.hardware import GpuHealth

STOP_S = 100.0


def watch(samples: list[Sample]) -> list[Verdict]:
    idle = Idleness.begin(samples[0])
    verdicts = []
    for sample in samples[1:]:
        verdict, idle = idle.seen(sample).judge(STOP_S)
        verdicts.append(verdict)
    return verdicts


def test_an_unused_lease_is_warned_once_and_then_ended():
    """At four fifths of the time its owner can read a warning, at the end it ends."""
    verdicts = watch([Sample(at, cpu_s=0.01 * at) for at in range(0, 111, 10)])
    assert verdicts[:7] == [Verdict.NOTHING] * 7
    assert verdicts[7:] == [Verdict.WARN, Verdict.NOTHING, Verdict.END, Verdict.END]


@pytest.mark.parametrize(
    "use",
    [
        {"sessions": 1},
        {"gpu_busy": True},
        {"cpu_s": 50.0},
    ],
)
def test_any_use_begins_anew(use: dict[str, object]):
    """A session, a GPU process or processor time in between keeps the lease."""
    samples = [Sample(at, 0.0) for at in range(0, 200, 10)]
    cpu_s = float(use.get("cpu_s", 0.0))  # type: ignore[arg-type]
    samples[9] = Sample(90, **{"cpu_s": 0.0, **use})  # type: ignore[arg-type]
    samples[10:] = [Sample(one.at, cpu_s) for one in samples[10:]]
    verdicts = watch(samples)
    assert Verdict.END not in verdicts[:17]


@given(st.lists(st.floats(0.03, 1.0), min_size=2, max_size=60))
def test_a_busy_lease_is_never_ended(shares: list[float]):
    """Whatever the load is, while there is any."""
    samples, cpu_s = [Sample(0, 0)], 0.0
    for number, share in enumerate(shares, 1):
        cpu_s += share * 30
        samples.append(Sample(30.0 * number, cpu_s))
    assert set(watch(samples)) == {Verdict.NOTHING}


def test_faults_are_told_apart():
    """An illegal access is the renter's, a GPU that fell off the bus is the hardware's."""
    assert blame(31) is Blame.RENTER
    assert blame(79) is Blame.HARDWARE
    assert blame(9999) is Blame.UNDECIDED


def test_a_broken_gpu_is_not_leased_and_a_used_one_neither():
    """Hardware errors keep a GPU from new leases; a renter's errors, and leased GPUs, do not."""
    health = {
        "GPU-ok": GpuHealth(temperature_c=60),
        "GPU-busy": GpuHealth(processes=2),
        "GPU-leased": GpuHealth(processes=2),
        "GPU-ecc": GpuHealth(ecc_errors=1),
        "GPU-hot": GpuHealth(temperature_c=99),
        "GPU-off": GpuHealth(xid=79),
        "GPU-31": GpuHealth(xid=31),
    }
    unfit = unfit_gpus(health, frozenset({"GPU-leased"}))
    assert set(unfit) == {"GPU-busy", "GPU-ecc", "GPU-hot", "GPU-off"}
    assert unfit["GPU-off"] == "it reported Xid 79"
