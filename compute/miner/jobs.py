"""Jobs: a shell script in a sandbox, from its placement to its last line of output.

A job is a lease of kind JOB, drawn from what rentals draw from: limited, on no network unless told
otherwise, ended by its deadline, and cleared after a crash like every other lease.
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from compute.domain import lease as life
from compute.domain.capacity import Assignment, Wish, place
from compute.domain.container import ContainerState, build_job
from compute.domain.lease import EndReason, Lease, LeaseKind, LeaseState
from compute.domain.requirement import Requirement
from compute.domain.timeline import Deadline, Event
from compute.errors import Code, ComputeError, LeaseError
from compute.miner.manager import LeaseManager

POLL_S = 0.1
TAIL_LINES = 20
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run.

    Attributes:
        owner: hotkey (ss58) that it is for.
        image: engine id.
        script: for `sh`.
        longest_s: its deadline.
        network: whether it is on the leases' network.
    """

    owner: str
    trace: str
    image: str
    script: str
    requirement: Requirement
    longest_s: float
    environment: Mapping[str, str] = field(default_factory=dict)
    network: bool = False


class JobRunner:
    """Runs jobs, each in the calling thread."""

    def __init__(self, manager: LeaseManager) -> None:
        self._manager = manager
        self._host = manager.host

    def run(self, job: Job, finish: Callable[[str], ResultT]) -> ResultT:
        """Run a job; when it ended well, call `finish` with its stopped container.

        Raises:
            LeaseError: `NO_CAPACITY`; `BUILD_FAILED` with the last lines when the script failed, or
                took too long.
            EngineError: what the engine refused.
        """
        lease = self._manager.admit(job.owner, lambda held: self._draft(job, held))[0]
        with self._manager.making(lease):
            lease = self._start(lease, job)
        try:
            self._await_end(lease)
            result = finish(lease.container)
        except ComputeError as failure:
            self._manager.end(
                lease.id, EndReason.FAULT, failure.detail or str(failure), failure.code.spec.slug
            )
            raise
        self._manager.end(lease.id, EndReason.RELEASED)
        return result

    def _draft(self, job: Job, held: Sequence[Assignment]) -> Lease:
        now = self._host.clock.now()
        return Lease(
            id=secrets.token_hex(16),
            kind=LeaseKind.JOB,
            owner=job.owner,
            requirement=job.requirement,
            assignment=place(self._host.supply, held, Wish(job.requirement)),
            created_at=now.wall,
            deadline=Deadline.at(now, job.longest_s),
            trace=job.trace,
            image=job.image,
        )

    def _start(self, lease: Lease, job: Job) -> Lease:
        ledger, engine = self._host.ledger, self._host.engine
        ledger.change(lease.id, life.provision, Event.PROVISIONING)
        if job.network:
            self._manager.network.ensure()
        spec = build_job(
            lease, self._host.surroundings, job.script, job.environment, network=job.network
        )
        container = engine.create(spec)
        lease = ledger.change(lease.id, lambda one: life.created(one, container), Event.CREATED)
        self._manager.provisioner.attach_disk(lease)
        engine.start(container)
        if job.network:
            self._manager.network.started(container)
        now = self._host.clock.now()
        return ledger.change(lease.id, lambda one: life.activate(one, now), Event.STARTED)

    def _await_end(self, lease: Lease) -> None:
        while True:
            view = self._host.engine.inspect(lease.container)
            if view is None or self._host.ledger.get(lease.id).state is not LeaseState.ACTIVE:
                raise LeaseError(Code.BUILD_FAILED, "it took too long, and was ended")
            if view.state is ContainerState.EXITED:
                break
            time.sleep(POLL_S)
        if view.exit_code:
            said = self._host.engine.logs(lease.container, TAIL_LINES).strip()
            raise LeaseError(Code.BUILD_FAILED, said[-1500:] or f"it ended with {view.exit_code}")
