"""Runs a neuron as a process: settings in, signals heard, one line and an exit code out."""

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import uvloop

from compute.cli.output import Output
from compute.errors import Code, ComputeError
from compute.settings.common import NeuronSettings
from compute.settings.loading import load
from compute.telemetry import logs

# A supervisor waits ten seconds between SIGTERM and SIGKILL. State on disk is good at any moment,
# so a process that still hangs then loses nothing by ending itself.
STOP_LIMIT_S = 9.0
SettingsT = TypeVar("SettingsT", bound=NeuronSettings)


def run_neuron(
    role: str,
    model: type[SettingsT],
    main: Callable[[SettingsT, asyncio.Event], Awaitable[int]],
    argv: Sequence[str] | None = None,
) -> None:
    """Read settings, run until done or told to stop, and end with a documented exit code.

    Args:
        role: bound to every log line; also the name in messages.
        model: the role's settings.
        main: the composition root; returns an exit code, and returns soon once its event is set.
        argv: arguments without the program's name; the process's own when None.
    """
    arguments = sys.argv[1:] if argv is None else argv
    try:
        settings = load(model, arguments, prog=f"neurons/{role}.py")
        logs.configure(settings.logging.level, settings.logging.format, role=role)
        gc.freeze()  # what was imported stays: without this each full collection stops all answers
        code = uvloop.run(_supervised(role, main, settings))
    except ComputeError as error:
        Output().error(error)
        code = error.code.spec.exit_code
    except KeyboardInterrupt:
        code = 130
    except Exception as error:  # noqa: BLE001 - the process's root: one line for the person, the rest for the log
        logs.get(role).error("crashed", error=type(error).__name__, exc_info=True)
        Output().error(ComputeError(Code.INTERNAL, f"{type(error).__name__}: {error}"))
        code = Code.INTERNAL.spec.exit_code
    sys.stderr.flush()
    sys.exit(code)


async def _supervised(
    role: str,
    main: Callable[[SettingsT, asyncio.Event], Awaitable[int]],
    settings: SettingsT,
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, role, stop)
    return await main(settings, stop)


def _stop(role: str, stop: asyncio.Event) -> None:
    if stop.is_set():
        return
    logs.get(role).info("stopping")
    stop.set()
    timer = threading.Timer(STOP_LIMIT_S, _end, (role,))
    timer.daemon = True
    timer.start()


def _end(role: str) -> None:
    logs.get(role).warning("did not stop in time", limit_s=STOP_LIMIT_S)
    sys.stderr.flush()
    os._exit(0)
