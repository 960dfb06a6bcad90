"""The end of a lease, which no tenant can refuse, and the signed statement that it happened."""

from compute.domain import lease as life
from compute.domain.container import LEASE, ContainerState
from compute.domain.lease import EndReason, Lease, LeaseKind, LeaseState, Teardown
from compute.domain.timeline import Event
from compute.errors import Code, ComputeError, EngineError
from compute.miner.host import Host
from compute.ports.engine import ContainerView
from compute.protocol.teardown import sign_teardown
from compute.telemetry.logs import get

_RUNNING = frozenset({ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.RESTARTING})
_log = get("miner.teardown")


class Undertaker:
    """Brings leases to their end; each step may be repeated after a crash at any point."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def end(self, lease_id: str, reason: EndReason, detail: str = "", error: str = "") -> Lease:
        """Take a lease off the hardware; the caller holds its lock.

        Does nothing to a lease that is over. A lease that is ending already keeps its reason.

        Raises:
            EngineError: the engine could not confirm that nothing is left; the lease stays in
                ENDING, keeps its hardware, and the end is to be tried again.
        """
        ledger = self._host.ledger
        lease = ledger.get(lease_id)
        if not lease.live:
            return lease
        if lease.state is not LeaseState.ENDING:
            lease = ledger.change(
                lease_id,
                lambda one: life.begin_end(one, reason, detail, error),
                Event.ENDING,
                f"{reason.value}: {detail}" if detail else reason.value,
            )
        try:
            checks = self._clear(lease)
        except EngineError as failure:
            ledger.note(lease_id, Event.END_DELAYED, str(failure))
            raise
        return self._finish(lease, checks)

    def remove(self, container: ContainerView, grace_s: int) -> None:
        """Stop and remove one container, whatever its tenant does."""
        engine, disks = self._host.engine, self._host.disks
        lease_id = container.labels[LEASE]
        try:
            if container.state in _RUNNING:
                engine.stop(container.id, grace_s)
            disks.detach(lease_id)
        except EngineError as failure:
            if failure.code is Code.ENGINE_AWAY:
                raise
            _log.warning("stop refused, removing by force", lease=lease_id, why=str(failure))
        engine.remove(container.id)
        disks.destroy(lease_id)
        if engine.inspect(container.id) is not None:
            raise EngineError(Code.ENGINE_FAILED, "the container is still there after removal")

    def remove_of(self, lease_id: str, grace_s: int = 0) -> None:
        """Remove everything that carries a lease's id."""
        for container in self._host.engine.containers(self._host.ledger.owner):
            if container.labels.get(LEASE) == lease_id:
                self.remove(container, grace_s)
        self._host.disks.destroy(lease_id)

    def _clear(self, lease: Lease) -> tuple[str, ...]:
        grace_s = 0 if lease.kind is LeaseKind.CHALLENGE else self._host.settings.grace_s
        self.remove_of(lease.id, grace_s)
        return ("container gone", "keys revoked", "disk destroyed")

    def _finish(self, lease: Lease, checks: tuple[str, ...]) -> Lease:
        now = self._host.clock.now()
        signed = sign_teardown(self._host.key, lease.id, lease.container, now.wall, checks)
        proof = Teardown(
            container=signed.container,
            ended_at=signed.ended_at,
            checks=signed.checks,
            hotkey=signed.hotkey,
            signature=signed.signature,
        )
        over = self._host.ledger.change(
            lease.id,
            lambda one: life.finish(one, now, proof),
            Event.FAILED if lease.reason in life.FAILURES else Event.ENDED,
            lease.detail,
        )
        _log.info("lease over", lease=lease.id, reason=str(lease.reason), state=str(over.state))
        return over


def error_of(lease: Lease) -> ComputeError:
    """The error that a failed lease's owner is told, whenever he asks again."""
    code = Code.of(lease.error) if lease.error else Code.LEASE_STATE
    return ComputeError(code, lease.detail, hint=None if lease.error else "use a fresh key")
