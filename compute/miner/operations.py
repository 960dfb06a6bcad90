"""What the owner of a lease does with it, each operation proven by possession of its key."""

from collections.abc import Callable, Mapping

from compute.crypto import envelope, possession, sshkeys
from compute.domain import lease as life
from compute.domain.container import FOLDER, SSH_PORT, container_name
from compute.domain.lease import EndReason, Lease, LeaseKind, LeaseState
from compute.domain.timeline import Event
from compute.errors import AdmissionError, Code, LeaseError
from compute.miner.manager import LeaseManager
from compute.miner.provision import authorized_keys
from compute.protocol.context import RequestContext
from compute.protocol.synapses import (
    LeaseAction,
    LeaseArguments,
    LeaseEvent,
    LeaseReply,
    LeaseRequest,
    TeardownProof,
)

DEFAULT_TAIL = 100
_RESTART_GRACE_S = 3
TURN_S = 2.0  # longest wait for another operation on the same lease: callers must not pile up
# Which argument an action needs (None: it may be left out); every other one is refused.
_ARGUMENTS: Mapping[LeaseAction, Mapping[str, bool]] = {
    LeaseAction.EXTEND: {"duration_s": True},
    LeaseAction.EXCHANGE_KEY: {"ssh_public_key": True},
    LeaseAction.LOGS: {"tail": False},
}


class Operations:
    """Carries out operations on leases."""

    def __init__(self, manager: LeaseManager) -> None:
        self._manager = manager
        self._host = manager.host
        self._actions: Mapping[LeaseAction, Callable[[Lease, LeaseArguments], Lease]] = {
            LeaseAction.STATUS: lambda lease, _: lease,
            LeaseAction.LOGS: lambda lease, _: lease,
            LeaseAction.RELEASE: self._release,
            LeaseAction.EXTEND: self._extend,
            LeaseAction.RESTART: self._restart,
            LeaseAction.PAUSE: self._pause,
            LeaseAction.UNPAUSE: self._unpause,
            LeaseAction.EXCHANGE_KEY: self._exchange_key,
        }

    def handle(self, request: LeaseRequest, context: RequestContext) -> LeaseReply:
        """Carry out one operation.

        Raises:
            LeaseError: `LEASE_UNKNOWN` to whoever has no part in the lease; `POSSESSION`;
                `LEASE_STATE` or `TOO_LONG` where the operation does not fit; `BUSY` while another
                operation on the lease is under way.
            EngineError: what the engine refused.
        """
        lease = self._entitled(request, context)
        _check_arguments(request)
        if request.action is LeaseAction.STATUS:
            return self._reply(lease)
        with self._manager.locks.hold(lease.id, at_most_s=TURN_S) as held:
            if not held:
                raise LeaseError(Code.BUSY, "another operation is under way", retry_after_s=TURN_S)
            lease = self._actions[request.action](self._current(lease.id), request.arguments)
            return self._reply(lease, self._logs(lease, request))

    def _current(self, lease_id: str) -> Lease:
        """The lease as it is now, its lock held; ended, if its time is up.

        Operations take turns with the sweep for the lock. A tenant who keeps it busy must not
        thereby put off his deadline, so whoever has the lock ends what is due.
        """
        lease = self._host.ledger.get(lease_id)
        if lease.due(self._host.clock.now()):
            return self._manager.end(lease_id, EndReason.DEADLINE)
        return lease

    def _entitled(self, request: LeaseRequest, context: RequestContext) -> Lease:
        lease = self._host.ledger.get(request.lease_id)
        if not lease.may(context.hotkey) or not lease.renter_public_key:
            raise LeaseError(Code.LEASE_UNKNOWN, request.lease_id)
        said = possession.statement(
            lease.id, request.action.value, request.arguments.digest(), request.nonce
        )
        possession.check(envelope.load_public_key(lease.renter_public_key), said, request.proof)
        self._host.ledger.accept_nonce(lease.id, request.nonce)
        return lease

    def _release(self, lease: Lease, _: LeaseArguments) -> Lease:
        return self._manager.end(lease.id, EndReason.RELEASED)

    def _extend(self, lease: Lease, arguments: LeaseArguments) -> Lease:
        settings = self._host.settings
        test = lease.kind is LeaseKind.PROBE
        longest_s = settings.test.longest_s if test else settings.longest_lease_s
        seconds = arguments.duration_s or 0
        extended = life.extend(lease, seconds, longest_s)
        # The container's name carries the deadline for whoever has nothing but the engine. It
        # goes first: should the ledger not follow, the lease merely ends at its old deadline.
        self._host.engine.rename(lease.container, container_name(lease.id, extended.deadline))
        extended = self._host.ledger.change(
            lease.id,
            lambda one: life.extend(one, seconds, longest_s),
            Event.EXTENDED,
            f"by {seconds} s",
        )
        self._manager.on_deadline(extended)
        return extended

    def _restart(self, lease: Lease, _: LeaseArguments) -> Lease:
        _must_be(lease, LeaseState.ACTIVE)
        self._host.engine.restart(lease.container, _RESTART_GRACE_S)
        self._manager.network.started(lease.container)
        self._host.ready(
            self._host.settings.bind_address,
            lease.assignment.host_port(SSH_PORT),
            self._host.settings.ready_s,
        )
        self._host.ledger.note(lease.id, Event.RESTARTED)
        return lease

    def _pause(self, lease: Lease, _: LeaseArguments) -> Lease:
        if lease.state is LeaseState.PAUSED:
            return lease
        _must_be(lease, LeaseState.ACTIVE)
        self._host.engine.pause(lease.container)
        return self._host.ledger.change(lease.id, life.pause, Event.PAUSED)

    def _unpause(self, lease: Lease, _: LeaseArguments) -> Lease:
        if lease.state is LeaseState.ACTIVE:
            return lease
        _must_be(lease, LeaseState.PAUSED)
        self._host.engine.unpause(lease.container)
        return self._host.ledger.change(lease.id, life.unpause, Event.UNPAUSED)

    def _exchange_key(self, lease: Lease, arguments: LeaseArguments) -> Lease:
        _must_be(lease, LeaseState.ACTIVE)
        line = sshkeys.check_public_key(arguments.ssh_public_key or "")
        self._host.engine.put_files(lease.container, FOLDER, (authorized_keys(line),))
        return self._host.ledger.change(
            lease.id, lambda one: life.with_key(one, line), Event.KEYS_EXCHANGED
        )

    def _logs(self, lease: Lease, request: LeaseRequest) -> str:
        if request.action is not LeaseAction.LOGS:
            return ""
        if not lease.live or not lease.container:
            raise LeaseError(Code.LEASE_STATE, f"it is {lease.state.value}: its logs are gone")
        return self._host.engine.logs(lease.container, request.arguments.tail or DEFAULT_TAIL)

    def _reply(self, lease: Lease, logs: str = "") -> LeaseReply:
        return LeaseReply(
            lease_id=lease.id,
            kind=lease.kind,
            state=lease.state,
            created_at=lease.created_at,
            expires_at=lease.expires_at,
            ended_at=lease.ended_at,
            reason=lease.reason,
            detail=lease.detail,
            requirement=lease.requirement,
            events=tuple(
                LeaseEvent(at=moment.at, event=moment.event.value, detail=moment.detail)
                for moment in self._host.ledger.timeline(lease.id)
            ),
            logs=logs,
            teardown=_proof(lease),
        )


def _must_be(lease: Lease, state: LeaseState) -> None:
    if lease.state is not state:
        raise LeaseError(Code.LEASE_STATE, f"it is {lease.state.value}, not {state.value}")


def _check_arguments(request: LeaseRequest) -> None:
    given = request.arguments.model_dump(exclude_none=True)
    known = _ARGUMENTS.get(request.action, {})
    wrong = [name for name in given if name not in known]
    wrong += [name for name, needed in known.items() if needed and name not in given]
    if wrong:
        raise AdmissionError(Code.MALFORMED, f"arguments of {request.action.value}: {wrong[0]}")


def _proof(lease: Lease) -> TeardownProof | None:
    done = lease.teardown
    if done is None:
        return None
    return TeardownProof(
        container=done.container,
        ended_at=done.ended_at,
        checks=done.checks,
        hotkey=done.hotkey,
        signature=done.signature,
    )
