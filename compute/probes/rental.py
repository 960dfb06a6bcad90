"""A rental probe: everything that a renter does, done on purpose and checked.

Ask for the specs, lease a probe, log in with the pinned host key, count what is inside, prove the
hardware, give it back, and see that it is gone. What was leased is given back whatever happens.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from compute.adapters.ssh.session import SshSession
from compute.domain.hardware import Gpu
from compute.domain.lease import LeaseKind, LeaseState
from compute.domain.requirement import Requirement
from compute.errors import Code, ComputeError, PeerError, ProbeError
from compute.probes import inside
from compute.probes.clock import ALLOWED_SKEW_S, skew_in_words
from compute.probes.report import Check, Outcome, ProbeReport
from compute.probes.steps import Steps, StopProbeError
from compute.protocol.dendrite import Dendrite, Peer
from compute.protocol.synapses import (
    SPECS,
    Credentials,
    LeaseAction,
    LeaseReply,
    SpecsReply,
    SpecsRequest,
)
from compute.protocol.teardown import verify_teardown
from compute.renter.book import LeaseBook, LeaseRecord
from compute.renter.client import Renter, Wish

GONE_WITHIN_S = 20.0
_POLL_S = 0.25
OVER = (LeaseState.ENDED, LeaseState.FAILED)
Prove = Callable[[SshSession, str, tuple[Gpu, ...]], Awaitable[str]]
"""Proves the hardware inside, for a miner's hotkey and the GPUs that it claims to have."""


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """What a rental probe asks for.

    Attributes:
        gpus: how many GPUs; -1 for one if the miner claims any.
        duration_s: length of the lease, its end if everything else breaks.
        prove: runs the proof inside and tells what was proven; None leaves it out.
        skew: how far this machine's clock is ahead of the chain's, in seconds; tells whose clock
            is wrong when a miner finds ours to be.
    """

    gpus: int = -1
    cpus: int = 1
    memory_mib: int = 512
    duration_s: int = 120
    ssh_timeout_s: float = 10.0
    prove: Prove | None = None
    skew: Callable[[], Awaitable[float]] | None = None


@dataclass
class _Run:
    """What one probe has found out so far."""

    steps: Steps
    specs: SpecsReply | None = None
    record: LeaseRecord | None = None
    released: bool = False
    claimed: tuple[Gpu, ...] = field(default_factory=tuple)


class RentalProbe:
    """Probes miners as a renter would.

    Args:
        dendrite: signs with a hotkey that miners admit.
        hotkey: its address (ss58).
        netuid: subnet.
        plan: what to ask for.
    """

    def __init__(
        self, dendrite: Dendrite, *, hotkey: str, netuid: int, plan: ProbePlan | None = None
    ) -> None:
        self._dendrite = dendrite
        self._hotkey = hotkey
        self._netuid = netuid
        self._plan = plan or ProbePlan()

    async def run(
        self,
        peer: Peer,
        uid: int | None = None,
        progress: Callable[[Check], None] = lambda _check: None,
    ) -> ProbeReport:
        """Probe one miner; never raises for what the miner does."""
        begun = time.monotonic()
        run = _Run(Steps(progress))
        with TemporaryDirectory(prefix="compute-probe-") as folder:
            renter = Renter(
                self._dendrite, LeaseBook(Path(folder)), hotkey=self._hotkey, netuid=self._netuid
            )
            try:
                await self._checks(run, peer, renter)
            except StopProbeError:
                pass
            finally:
                await _give_back(run, renter)
        return ProbeReport(
            uid=uid,
            hotkey=peer.hotkey,
            address=peer.address,
            checks=tuple(run.steps.checks),
            seconds=round(time.monotonic() - begun, 3),
        )

    async def _checks(self, run: _Run, peer: Peer, renter: Renter) -> None:
        await self._specs(run, peer)
        await self._allocate(run, peer, renter)
        record = run.record
        if record is None or record.credentials is None:
            raise StopProbeError("allocate")
        keys = renter.book.keys(record.name)
        try:
            session = await self._login(run, record.credentials, keys.ssh.private)
            try:
                await self._inside(run, session, peer.hotkey)
            finally:
                await asyncio.to_thread(session.close)
        finally:
            await _release(run, renter, record)
        await _gone(run, renter, record, peer)

    async def _specs(self, run: _Run, peer: Peer) -> None:
        stale = ""
        async with run.steps.step("specs", fatal=True) as note:
            try:
                answer = await self._dendrite.call(peer, SPECS, SpecsRequest())
            except ComputeError as error:
                await self._diagnose(error)
                raise
            reply, stale = answer.reply, answer.stale
            run.specs = reply
            run.claimed = tuple(gpu for host in reply.hosts for gpu in host.gpus)
            note.passed(f"{len(run.claimed)} GPUs, {reply.total.cpus} CPUs, {reply.software}")
        async with run.steps.step("view") as note:
            if stale:
                note.warn_as(Code.PROBE_VIEW, f"its view of the chain is {stale} s old")
            else:
                note.passed("its view of the chain is fresh")

    async def _diagnose(self, error: ComputeError) -> None:
        """Raise what lies behind a miner's refusal, where it can be told."""
        if "peer" not in error.data:
            return
        if error.code is Code.CHAIN_AWAY:
            raise ProbeError(Code.PROBE_VIEW, error.detail) from error
        if error.code is Code.STALE and self._plan.skew is not None:
            skew = await self._plan.skew()
            if abs(skew) > ALLOWED_SKEW_S:
                raise ProbeError(Code.STALE, skew_in_words(skew)) from error
            raise ProbeError(
                Code.PROBE_CLOCK,
                f"{error.detail}, and this machine's clock agrees with the chain's",
            ) from error

    def _wish(self, claimed: int) -> Wish:
        plan = self._plan
        wanted = Requirement(
            gpus=min(claimed, 1) if plan.gpus < 0 else plan.gpus,
            cpus=plan.cpus,
            memory_mib=plan.memory_mib,
        )
        return Wish(plan.duration_s, wanted, LeaseKind.PROBE)

    async def _allocate(self, run: _Run, peer: Peer, renter: Renter) -> None:
        wish = self._wish(len(run.claimed))
        async with run.steps.step("capacity") as note:
            if not (await renter.quote(peer, wish)).available:
                note.warn("the test slot is taken", Code.NO_CAPACITY.spec.slug)
        async with run.steps.step("allocate", fatal=True) as note:
            run.record = await renter.up(peer, wish, name="probe")
            note.passed(run.record.lease_id)

    async def _login(self, run: _Run, credentials: Credentials, private: str) -> SshSession:
        session: SshSession | None = None
        async with run.steps.step("login", fatal=True) as note:
            session = await asyncio.to_thread(
                SshSession, credentials, private, timeout_s=self._plan.ssh_timeout_s
            )
            note.passed(f"host key {credentials.host_key_fingerprint}")
        if session is None:  # pragma: no cover - a fatal step has raised
            raise StopProbeError("login")
        return session

    async def _inside(self, run: _Run, session: SshSession, hotkey: str) -> None:
        wanted = self._wish(len(run.claimed)).requirement
        for name, check in (
            ("command", inside.command),
            ("gpus", inside.gpus),
            ("limits", inside.limits),
            ("isolation", inside.isolation),
        ):
            async with run.steps.step(name) as note:
                await asyncio.to_thread(check, session, wanted, note)
        if self._plan.prove is not None:
            async with run.steps.step("proof") as note:
                note.passed(await self._plan.prove(session, hotkey, run.claimed))


async def _release(run: _Run, renter: Renter, record: LeaseRecord) -> None:
    async with run.steps.step("release") as note:
        reply = await renter.down(record)
        run.released = True
        note.passed(str(reply.state))


async def _gone(run: _Run, renter: Renter, record: LeaseRecord, peer: Peer) -> None:
    """See that the lease is over, its port closed, and its proof of teardown good."""
    async with run.steps.step("gone") as note:
        reply = await _wait_over(renter, record)
        credentials = record.credentials
        key = renter.book.keys(record.name).ssh.private
        if credentials is not None and await asyncio.to_thread(_answers, credentials, key):
            raise ProbeError(Code.PROBE_TEARDOWN, f"port {credentials.port} still answers")
        if reply.teardown is None:
            raise ProbeError(Code.PROBE_TEARDOWN, "there is no signed proof of it")
        verify_teardown(reply.teardown, record.lease_id, peer.hotkey)
        note.passed("port closed, teardown signed")


async def _wait_over(renter: Renter, record: LeaseRecord) -> LeaseReply:
    until = time.monotonic() + GONE_WITHIN_S
    while True:
        reply = await renter.operate(record, LeaseAction.STATUS)
        if reply.state in OVER:
            return reply
        if time.monotonic() > until:
            raise ProbeError(
                Code.PROBE_TEARDOWN, f"still {reply.state} after {GONE_WITHIN_S:.0f} s"
            )
        await asyncio.sleep(_POLL_S)


def _answers(credentials: Credentials, private: str) -> bool:
    """Whether the lease's own container is still behind its port.

    The port may be another lease's by now: only the lease's own host key counts.
    """
    try:
        SshSession(credentials, private, timeout_s=3).close()
    except PeerError as error:
        return error.code is Code.SSH_KEY_REFUSED  # it has greeted with the pinned host key
    return True


async def _give_back(run: _Run, renter: Renter) -> None:
    """Release what a broken probe still holds; the lease's own deadline is the last resort."""
    if run.record is None or run.released:
        return
    try:
        await renter.down(run.record)
    except (ComputeError, PeerError) as error:
        run.steps.add(
            Check(
                name="give_back",
                outcome=Outcome.WARN,
                reason=f"could not release; it ends at its deadline: {error}",
                code=error.code.spec.slug,
            )
        )
