"""Looks at the machine that a neuron runs on, or shall run on: named checks, each with its remedy.

A check that stands on another one is left out when that one failed, so that the first fault is seen
and not its echoes.
"""

import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from compute.errors import Code, UsageError
from compute.probes import chainhost, enginehost, host
from compute.probes.exam import Exam, Part
from compute.probes.report import Check, Outcome, ProbeReport
from compute.probes.steps import StepNote, Steps, never

MINER = frozenset({Part.MINER})
NEURONS = frozenset({Part.MINER, Part.VALIDATOR})
EVERYBODY = frozenset(Part)


@dataclass(frozen=True, slots=True)
class Named:
    """One check.

    Attributes:
        look: makes it; raises `ComputeError` for a failure.
        needs: checks that must not have failed.
        parts: on whose host it is made.
    """

    look: Callable[[Exam, StepNote], Awaitable[None]]
    needs: tuple[str, ...] = ()
    parts: frozenset[Part] = EVERYBODY


CHECKS: dict[str, Named] = {
    "python": Named(host.python),
    "state": Named(host.state),
    "files": Named(host.files, parts=NEURONS),
    "engine": Named(enginehost.engine, parts=MINER),
    "engine_version": Named(enginehost.engine_version, ("engine",), MINER),
    "limits": Named(enginehost.limits, ("engine",), MINER),
    "disk": Named(host.disk),
    "disk_limits": Named(enginehost.disk_limits, ("engine",), MINER),
    "base_image": Named(enginehost.base_image, ("engine", "state"), MINER),
    "firewall": Named(enginehost.firewall, ("engine",), MINER),
    "gpu": Named(enginehost.gpu, parts=MINER),
    "gpu_runtime": Named(enginehost.gpu_runtime, ("engine", "gpu"), MINER),
    "wallet": Named(chainhost.wallet),
    "chain": Named(chainhost.chain),
    "clock": Named(chainhost.clock, ("chain",)),
    "registered": Named(chainhost.registered, ("chain", "wallet")),
    "port": Named(host.port, parts=MINER),
    "lease_ports": Named(host.lease_ports, parts=MINER),
    "announced": Named(chainhost.announced, ("registered", "port"), MINER),
}


async def examine(
    exam: Exam,
    only: Collection[str] = (),
    progress: Callable[[Check], None] = lambda _check: None,
) -> ProbeReport:
    """Make the checks of a part, in order.

    Args:
        exam: what to look at; closed at the end.
        only: names of checks to make, with what they need; empty makes them all.
        progress: told each check as it ends.

    Raises:
        UsageError: when there is no check of that name.
    """
    begun = time.monotonic()
    chosen = _with_needs(only) if only else frozenset(CHECKS)
    steps = Steps(progress, innocent=never, odd=Code.INTERNAL)
    bad: set[str] = set()
    try:
        for name, check in CHECKS.items():
            if name in chosen and exam.part in check.parts:
                missing = [need for need in check.needs if need in bad]
                outcome = await _make(steps, name, check, exam, missing)
                if outcome in (Outcome.FAIL, Outcome.SKIPPED):
                    bad.add(name)
    finally:
        exam.close()
    return ProbeReport(checks=tuple(steps.checks), seconds=round(time.monotonic() - begun, 3))


async def _make(steps: Steps, name: str, check: Named, exam: Exam, missing: list[str]) -> Outcome:
    if missing:
        reason = f"it needs {', '.join(missing)}"
        steps.add(Check(name=name, outcome=Outcome.SKIPPED, reason=reason))
        return Outcome.SKIPPED
    async with steps.step(name) as note:
        await check.look(exam, note)
    return note.outcome


def _with_needs(names: Collection[str]) -> frozenset[str]:
    wanted = set(names)
    if unknown := wanted - CHECKS.keys():
        raise UsageError(
            f"there is no check '{min(unknown)}'", hint=f"the checks are {', '.join(CHECKS)}"
        )
    for name in reversed(CHECKS):
        if name in wanted:
            wanted |= set(CHECKS[name].needs)
    return frozenset(wanted)
