"""Challenges: a prover in a hardened container, and the bytes between it and a validator.

A session is a lease like any other, of kind CHALLENGE: no network, a read-only root, its GPUs,
nothing mounted. The prover's program is written to its standard input; then the session carries
what the validator sends, and answers exactly as many bytes as he expects.
"""

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from compute.domain import lease as life
from compute.domain.capacity import Assignment, Obstacles, Wish, place
from compute.domain.container import build
from compute.domain.lease import EndReason, Lease, LeaseKind
from compute.domain.requirement import Requirement
from compute.domain.timeline import Deadline, Event
from compute.errors import AdmissionError, Code, ComputeError, LeaseError, ProofError
from compute.miner.manager import LeaseManager
from compute.ports.engine import Pipe
from compute.protocol.context import RequestContext
from compute.protocol.synapses import ChallengeReply, ChallengeRequest, ChallengeStep
from compute.telemetry.logs import get

PROGRAM_S = 20.0  # in which the container has to take in its program
_log = get("miner.challenge")


@dataclass(slots=True)
class Session:
    """One prover and who may talk to it; `turn` lets one exchange at a time through."""

    lease: Lease
    caller: str
    pipe: Pipe
    turn: threading.Lock = field(default_factory=threading.Lock)


class ChallengeDesk:
    """Opens, carries and closes proof sessions.

    Args:
        manager: makes and ends their leases.
        program: the prover, as bytes that Python can execute (a zip archive).
    """

    def __init__(self, manager: LeaseManager, program: Callable[[], bytes]) -> None:
        self._manager = manager
        self._host = manager.host
        self._program = program
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def handle(self, request: ChallengeRequest, context: RequestContext) -> ChallengeReply:
        """Do one step of a session.

        Raises:
            LeaseError: `NO_CAPACITY` when the GPUs or the test slot are taken, `LEASE_UNKNOWN`
                when the caller has no such session, `BUSY` when a step of it is under way.
            EngineError: `PROVER_FAILED` when the prover ended or did not answer in time; the
                session is over then.
        """
        if request.step is ChallengeStep.OPEN:
            return self._open(request, context)
        session = self._session(request.session, context.hotkey)
        if request.step is ChallengeStep.CLOSE:
            self._manager.end(session.lease.id, EndReason.RELEASED)
            return ChallengeReply(session=session.lease.id)
        return self._exchange(session, request)

    def forget(self, lease_id: str) -> None:
        """A lease is ending: if it is a session, let go of its prover."""
        with self._lock:
            session = self._sessions.pop(lease_id, None)
        if session is not None:
            session.pipe.close()

    def close(self) -> None:
        """End every session."""
        for lease_id in tuple(self._sessions):
            try:
                self._manager.end(lease_id, EndReason.EVICTED, "the miner is stopping")
            except ComputeError as failure:
                _log.warning("a session is left for later", lease=lease_id, why=str(failure))

    def _open(self, request: ChallengeRequest, context: RequestContext) -> ChallengeReply:
        if request.session or request.data:
            raise AdmissionError(Code.MALFORMED, "open takes neither session nor data")
        self._supersede(context.hotkey)
        lease = self._admit(request, context)
        with self._manager.making(lease):
            lease = self._host.ledger.change(lease.id, life.provision, Event.PROVISIONING)
            self._run(lease, context.hotkey)
            now = self._host.clock.now()
            self._host.ledger.change(lease.id, lambda one: life.activate(one, now), Event.READY)
        return ChallengeReply(session=lease.id)

    def _admit(self, request: ChallengeRequest, context: RequestContext) -> Lease:
        obstacles = self._manager.obstacles()

        def draft(held: Sequence[Assignment]) -> Lease:
            return self._draft(request, context, held, obstacles)

        try:
            return self._manager.admit(context.hotkey, draft)[0]
        except LeaseError as refusal:
            # A warm container may have the GPUs: it gives way.
            if refusal.code is not Code.NO_CAPACITY or not self._manager.pool.drain():
                raise
        return self._manager.admit(context.hotkey, draft)[0]

    def _supersede(self, caller: str) -> None:
        """A validator that opens anew has lost his former session: it must not hold his GPUs."""
        with self._lock:
            former = [key for key, session in self._sessions.items() if session.caller == caller]
        for lease_id in former:
            self._manager.end(lease_id, EndReason.EVICTED, "its owner opened another session")

    def _draft(
        self,
        request: ChallengeRequest,
        context: RequestContext,
        held: Sequence[Assignment],
        obstacles: Obstacles,
    ) -> Lease:
        test = self._host.settings.test
        requirement = Requirement(
            gpus=len(request.gpus),
            cpus=test.cpus,
            memory_mib=test.challenge_memory_mib,
            shm_mib=min(64, test.challenge_memory_mib),
        )
        wish = Wish(requirement=requirement, gpus=request.gpus, test=True)
        now = self._host.clock.now()
        return Lease(
            id=secrets.token_hex(16),
            kind=LeaseKind.CHALLENGE,
            owner=context.hotkey,
            requirement=requirement,
            assignment=place(self._host.supply, held, wish, obstacles),
            created_at=now.wall,
            deadline=Deadline.at(now, test.challenge_ttl_s),
            trace=context.trace,
            image=self._host.image,
        )

    def _run(self, lease: Lease, caller: str) -> None:
        engine = self._host.engine
        container = engine.create(build(lease, self._host.surroundings))
        self._host.ledger.change(lease.id, lambda one: life.created(one, container), Event.CREATED)
        pipe = engine.attach(container)
        with self._lock:
            self._sessions[lease.id] = Session(lease, caller, pipe)
        engine.start(container)
        program = self._program()
        pipe.send(len(program).to_bytes(8, "big") + program, PROGRAM_S)

    def _session(self, lease_id: str, caller: str) -> Session:
        with self._lock:
            session = self._sessions.get(lease_id)
        if session is None or session.caller != caller:
            raise LeaseError(Code.LEASE_UNKNOWN, "there is no such session")
        return session

    def _exchange(self, session: Session, request: ChallengeRequest) -> ChallengeReply:
        if not session.turn.acquire(blocking=False):
            raise LeaseError(Code.BUSY, "a step of this session is under way", retry_after_s=1)
        try:
            if request.data:
                session.pipe.send(request.data, max(request.wait_s, 1))
            data = session.pipe.receive(request.expect, request.wait_s) if request.expect else b""
        except ComputeError as failure:
            self._manager.end_soon(
                session.lease.id, EndReason.FAULT, str(failure), failure.code.spec.slug
            )
            raise ProofError(failure.code, failure.detail) from failure
        finally:
            session.turn.release()
        return ChallengeReply(session=session.lease.id, data=data)
