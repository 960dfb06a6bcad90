"""How a session reaches a prover, and the driver that runs one over any such channel."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Protocol

from compute.errors import ComputeError
from compute.proof.opening import OpeningCheck, check_opening
from compute.proof.result import ProofResult, Reason, Verdict
from compute.proof.verifier import VerifierSession

Clock = Callable[[], float]
"""Monotonic seconds."""
Judge = Callable[[OpeningCheck], Awaitable[Verdict]]
"""Checks one opening somewhere."""


class ProverChannel(Protocol):
    """A byte stream to a prover's standard input and output."""

    async def send(self, data: bytes) -> None:
        """Write bytes to the prover.

        Raises:
            OSError, EOFError, ComputeError: the channel broke.
        """
        ...

    async def receive(self, n: int, timeout_s: float) -> bytes:
        """Read exactly `n` bytes.

        Raises:
            TimeoutError: they did not come within `timeout_s` seconds.
            OSError, EOFError, ComputeError: the channel broke.
        """
        ...

    async def close(self) -> None:
        """End the channel, and the prover with it."""
        ...


async def judge_here(check: OpeningCheck) -> Verdict:
    """Check an opening in this thread: milliseconds in mode F."""
    return check_opening(check)


def judge_in(pool: Executor) -> Judge:
    """Return a judge that checks in a pool of processes or threads."""

    async def judge(check: OpeningCheck) -> Verdict:
        return await asyncio.get_running_loop().run_in_executor(pool, check_opening, check)

    return judge


async def run_verifier(
    session: VerifierSession,
    channel: ProverChannel,
    clock: Clock,
    judge: Judge = judge_here,
) -> ProofResult:
    """Run one session to its result; the channel is closed before the openings are checked.

    A channel that breaks or is late ends the session with a result that says so; whether such a
    result counts against the miner is for the caller to say.
    """
    try:
        await _converse(session, channel, clock)
    finally:
        await channel.close()
    verdicts = await asyncio.gather(*(judge(check) for check in session.checks))
    return session.conclude(verdicts)


async def _converse(session: VerifierSession, channel: ProverChannel, clock: Clock) -> None:
    step = session.begin(clock())
    while not step.done:
        try:
            if step.send:
                await channel.send(step.send)
            data = await channel.receive(step.expects, step.timeout_s)
        except TimeoutError:
            session.fail(Reason.LATE, "an answer did not come in time")
            return
        except ComputeError as error:
            session.fail(Reason.CHANNEL, str(error))
            return
        except (OSError, EOFError):
            session.fail(Reason.CHANNEL, "the channel to the prover broke")
            return
        step = session.receive(data, clock())
