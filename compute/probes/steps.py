"""Runs named checks one after the other, timing each and turning errors into outcomes."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from compute.errors import Code, ComputeError
from compute.probes.report import Check, Outcome

# What a miner says of us and not of itself.
_SAID_OF_US = frozenset(
    {Code.STALE, Code.REPLAYED, Code.NOT_REGISTERED, Code.DENIED, Code.RATE_LIMITED}
)
# Faults that say something about our side, the chain or the clock, never about the miner.
OURS = frozenset(
    {
        Code.CHAIN_AWAY,
        Code.CHAIN_RATE_LIMITED,
        Code.CHAIN_REFUSED,
        Code.STALE,
        Code.REPLAYED,
        Code.WALLET_MISSING,
        Code.NOT_REGISTERED,
        Code.DENIED,
        Code.RATE_LIMITED,
        Code.ADDRESS_REFUSED,
        Code.STORAGE_FAILED,
        Code.USAGE,
        Code.PROBE_INCONCLUSIVE,
    }
)


class StopProbeError(Exception):
    """Raised inside a step when nothing after it makes sense."""


def ours(error: ComputeError) -> bool:
    """Whether an error is no fault of the miner's: found here, or said by it of us."""
    return error.code in (_SAID_OF_US if "peer" in error.data else OURS)


def never(_error: ComputeError) -> bool:
    """Nothing is somebody else's fault: for a host that is looked at by itself."""
    return False


class Steps:
    """Collects checks as they are made.

    Args:
        progress: told each check as it ends.
        clock: monotonic seconds.
        innocent: whether an error says nothing about what is probed.
        odd: what an error is that nobody foresaw.
    """

    def __init__(
        self,
        progress: Callable[[Check], None] = lambda _check: None,
        clock: Callable[[], float] = time.monotonic,
        innocent: Callable[[ComputeError], bool] = ours,
        odd: Code = Code.PEER_INVALID,
    ) -> None:
        self.checks: list[Check] = []
        self._innocent = innocent
        self._odd = odd
        self._progress = progress
        self._clock = clock

    def add(self, check: Check) -> None:
        """Record a finished check."""
        self.checks.append(check)
        self._progress(check)

    @asynccontextmanager
    async def step(self, name: str, *, fatal: bool = False) -> AsyncIterator["StepNote"]:
        """Make one check: it passes unless an error leaves the block or the note says otherwise.

        Args:
            name: of the check.
            fatal: whether later checks make no sense after a failure: `StopProbeError` is raised.
        """
        begun = self._clock()
        note = StepNote()
        try:
            yield note
        except ComputeError as error:
            outcome = Outcome.INCONCLUSIVE if self._innocent(error) else Outcome.FAIL
            note.say(outcome, str(error), error.code.spec.slug, error.hint)
        except StopProbeError:
            raise
        except Exception as error:  # noqa: BLE001 - what a stranger answers must not end a probe
            odd = self._odd.spec
            note.fail(f"{odd.title}: {type(error).__name__}", odd.slug, odd.hint)
        took = self._clock() - begun
        self.add(
            Check(
                name=name,
                outcome=note.outcome,
                reason=note.reason,
                code=note.code,
                remedy=note.remedy,
                seconds=round(took, 4),
            )
        )
        if fatal and note.outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
            raise StopProbeError(name)


class StepNote:
    """What a step says about itself while it runs."""

    def __init__(self) -> None:
        self.outcome = Outcome.PASS
        self.reason = ""
        self.code = ""
        self.remedy = ""

    def say(self, outcome: Outcome, reason: str, code: str = "", remedy: str = "") -> None:
        """Set the outcome and its reason."""
        self.outcome, self.reason, self.code, self.remedy = outcome, reason, code, remedy

    def warn_as(self, code: Code, reason: str, remedy: str = "") -> None:
        """Warn by a row of the catalogue, saying what was seen."""
        self.say(Outcome.WARN, reason, code.spec.slug, remedy or code.spec.hint)

    def passed(self, reason: str) -> None:
        """Pass, saying what was seen."""
        self.say(Outcome.PASS, reason)

    def fail(self, reason: str, code: str, remedy: str = "") -> None:
        """Fail, saying what was seen and what to do."""
        self.say(Outcome.FAIL, reason, code, remedy)

    def warn(self, reason: str, code: str = "", remedy: str = "") -> None:
        """Warn, saying what was seen."""
        self.say(Outcome.WARN, reason, code, remedy)
