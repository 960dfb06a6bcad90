"""Alarm clocks for deadlines: APScheduler with its job store in the ledger's database.

An alarm is only a hint to look: the ledger and the host's uptime say what is due, and a sweep
looks every second even if every alarm is lost.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import Engine

from compute.domain.lease import Lease

# Stored jobs name an importable function, which has to find the running service again.
_BELLS: dict[str, Callable[[str], None]] = {}


def ring(owner: str, lease_id: str) -> None:
    """What a stored job calls; silent when the service that set it does not run here."""
    bell = _BELLS.get(owner)
    if bell is not None:
        bell(lease_id)


class Alarms:
    """The alarms of one ledger.

    Args:
        database: holds the table of jobs.
        owner: id of the ledger.
        bell: called with a lease's id at its deadline, in a worker thread.
    """

    def __init__(self, database: Engine, owner: str, bell: Callable[[str], None]) -> None:
        self._owner = owner
        self._bell = bell
        self._scheduler = BackgroundScheduler(
            jobstores={"default": SQLAlchemyJobStore(engine=database)},
            executors={"default": ThreadPoolExecutor(2)},
            job_defaults={"misfire_grace_time": None, "coalesce": True},
            timezone=UTC,
        )

    def start(self) -> None:
        """Begin; alarms that went off while nobody listened ring now."""
        _BELLS[self._owner] = self._bell
        self._scheduler.start()

    def set(self, lease: Lease) -> None:
        """Ring at a lease's deadline; replaces an earlier alarm of the same lease."""
        self._scheduler.add_job(
            ring,
            "date",
            run_date=datetime.fromtimestamp(lease.expires_at, UTC),
            args=(self._owner, lease.id),
            id=lease.id,
            replace_existing=True,
        )

    def cancel(self, lease_id: str) -> None:
        """Do not ring for a lease any more."""
        try:
            self._scheduler.remove_job(lease_id)
        except JobLookupError:
            return

    def stop(self) -> None:
        """End the scheduler's threads; stored alarms stay."""
        _BELLS.pop(self._owner, None)
        if self._scheduler.running:
            # A shutdown in the middle of an alarm makes the scheduler's thread raise: pause first,
            # and ask for something, which waits for its lock, so that it is in the middle of none.
            self._scheduler.pause()
            self._scheduler.get_job("")
            self._scheduler.shutdown(wait=False)
