"""A lease as `compute ps` shows it."""

from compute.renter.book import LeaseRecord


class Listed(LeaseRecord):
    """A lease record with its state.

    Attributes:
        state: `unanswered`, `up` or `over` by this machine; after --refresh the miner's word, or
            `unreachable` or `unknown`.
    """

    state: str


def listed(record: LeaseRecord, state: str) -> Listed:
    """A record with its state."""
    return Listed.model_validate({**record.model_dump(), "state": state})
