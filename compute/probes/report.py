"""What a probe says: named checks, each with an outcome, a reason and what to do."""

from enum import StrEnum

from pydantic import computed_field

from compute.domain.hardware import Value


class Outcome(StrEnum):
    """How a check came out.

    `INCONCLUSIVE` means that the fault is on this side, so nothing was learnt about the miner.
    """

    PASS = "pass"  # noqa: S105 - no password
    WARN = "warn"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    SKIPPED = "skipped"


class Check(Value):
    """One named check.

    Attributes:
        name: stable identifier, for example `host_key`.
        outcome: how it came out.
        reason: what was seen.
        code: slug of the error behind a failure, or an empty string.
        remedy: what to do about it, or an empty string.
        seconds: how long it took.
    """

    name: str
    outcome: Outcome
    reason: str = ""
    code: str = ""
    remedy: str = ""
    seconds: float = 0.0


class ProbeReport(Value):
    """All checks of one miner (or of one host), in the order in which they were made."""

    uid: int | None = None
    hotkey: str = ""
    address: str = ""
    checks: tuple[Check, ...] = ()
    seconds: float = 0.0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def outcome(self) -> Outcome:
        """The worst outcome that counts: fail, then inconclusive, then warn, then pass."""
        seen = {check.outcome for check in self.checks}
        for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.WARN):
            if outcome in seen:
                return outcome
        return Outcome.PASS

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        """Whether nothing failed and something was learnt."""
        return self.outcome in (Outcome.PASS, Outcome.WARN)

    def first(self, outcome: Outcome) -> Check | None:
        """The first check with this outcome."""
        return next((check for check in self.checks if check.outcome is outcome), None)
