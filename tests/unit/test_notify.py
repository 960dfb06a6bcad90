"""Notes to the service manager, at a real datagram socket."""

import asyncio
import contextlib
import os
import secrets
import socket
import time

import pytest

from compute.telemetry.supervisor import Supervisor, supervised


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A service manager's socket, and the value of NOTIFY_SOCKET for it."""
    name = secrets.token_hex(8)
    address = f"@{name}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}" if request.param == "abstract" else address)
        listening.settimeout(5)
        yield listening, address


def told(listening: socket.socket) -> str:
    return listening.recv(4096).decode()


async def test_a_neurons_life_is_told(manager):
    """Ready with a status of one line, then what it does, and that it stops when it is told to."""
    listening, address = manager
    stop = asyncio.Event()
    async with supervised(stop, {"NOTIFY_SOCKET": address}) as supervisor:
        supervisor.ready("serving\nREADY=0")
        supervisor.status("working")
        assert told(listening) == "READY=1\nSTATUS=serving READY=0"
        assert told(listening) == "STATUS=working"
        stop.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert told(listening).startswith("STOPPING=1")


async def test_the_watchdog_hears_a_turning_loop_alone(manager):
    """Keepalives come several times within the limit; none while the loop hangs."""
    listening, address = manager
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000"}
    async with supervised(asyncio.Event(), environ):
        for _ in range(2):
            assert await asyncio.to_thread(told, listening) == "WATCHDOG=1"
        listening.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                told(listening)
        time.sleep(0.06)  # noqa: ASYNC251 - a loop that hangs is the point
        with pytest.raises(BlockingIOError):
            told(listening)


def test_a_status_of_any_text_is_told(manager):
    """What a stranger's error says neither fills a datagram nor breaks the neuron."""
    listening, address = manager
    Supervisor(address).ready("it said \ud800" + "x" * 1_000_000)
    assert told(listening).startswith("READY=1\nSTATUS=it said ?xxx")


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "1000000"}, 0.0),
        ({"NOTIFY_SOCKET": "/run/n"}, 0.0),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "1500000"}, 1.5),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "soon"}, 0.0),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "-1500000"}, 0.0),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, 0.0),
    ],
)
def test_keepalives_are_sent_where_this_process_is_asked(environ, watchdog_s):
    """Not without a socket, not when the limit is meant for another process."""
    assert Supervisor.of(environ, os.getpid()).watchdog_s == watchdog_s


def test_a_manager_that_is_gone_harms_nobody(tmp_path):
    """A socket that nobody listens at, and none at all, are passed over."""
    Supervisor(str(tmp_path / "gone"), 1.0).ready("serving")
    Supervisor().ready("serving")
