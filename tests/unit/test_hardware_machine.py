"""The machine that this runs on, and its clocks."""

import os
import time
from pathlib import Path

import pytest

from compute.adapters.hardware.activity import activity
from compute.adapters.hardware.clock import SystemClock, boot_id
from compute.adapters.hardware.machine import LocalHardware
from compute.errors import Code, EngineError


def test_the_machine_reports_itself():
    """Processors, memory and disks are there; without a GPU the note says why."""
    report = LocalHardware((Path("/"), Path("/nowhere/yet")), {"engine": "1.2"}).report()
    assert report.cpus == os.cpu_count()
    assert report.memory_mib > 100
    assert [disk.mount for disk in report.disks] == ["/"]
    assert report.software["engine"] == "1.2"
    assert bool(report.gpus) != bool(report.gpu_note)


def test_gpu_health_is_empty_without_gpus():
    """No driver is no error: there is nothing to tell."""
    hardware = LocalHardware()
    assert set(hardware.gpu_health()) == {gpu.uuid for gpu in hardware.report().gpus}


def test_both_clocks_go_on():
    """Wall and uptime move together, in one boot."""
    clock = SystemClock()
    first = clock.now()
    time.sleep(0.01)
    second = clock.now()
    assert second.uptime > first.uptime
    assert second.boot == first.boot == boot_id()
    assert len(first.boot) == 8


def test_activity_is_read_from_the_kernel():
    """Processor time of a process's group grows with its work; a missing process has a code."""
    before = activity(os.getpid())
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    assert activity(os.getpid()).cpu_s > before.cpu_s
    with pytest.raises(EngineError) as refused:
        activity(2**22 + 1)
    assert refused.value.code is Code.HOST_UNFIT
