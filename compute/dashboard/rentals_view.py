"""Rentals through this validator, for its operator: who rents what from whom, and how it went."""

from compute.dashboard.shapes import RentalDetail, RentalEventShape, RentalPage, RentalShape
from compute.dashboard.validator_view import ValidatorView
from compute.errors import AdmissionError, Code
from compute.storage.rentals_reading import RentalRow


def rentals_page(view: ValidatorView, state: str, *, page: int, size: int) -> RentalPage:
    """One page of rentals; reads the database, so call it in a thread."""
    total, rows = view.sources.rentals.page(state, limit=size, offset=page * size)
    shown = tuple(_shape(view, row) for row in rows)
    return RentalPage(total=total, page=page, size=size, rows=shown)


def rental_detail(view: ValidatorView, rental_id: str) -> RentalDetail:
    """One rental; reads the database, so call it in a thread.

    Raises:
        AdmissionError: `NOT_FOUND`.
    """
    found = view.sources.rentals.one(rental_id)
    if found is None:
        raise AdmissionError(Code.NOT_FOUND, "no such rental")
    row, events = found
    return RentalDetail(
        row=_shape(view, row),
        events=tuple(
            RentalEventShape(at_ms=one.at_ms, event=one.event.value, detail=one.detail)
            for one in events
        ),
    )


def _shape(view: ValidatorView, row: RentalRow) -> RentalShape:
    fields = row._asdict()
    need = fields.pop("requirement")
    return RentalShape(
        uid=view.uid(row.miner) if row.miner else None,
        gpus=need.gpus,
        cpus=need.cpus,
        memory_mib=need.memory_mib,
        **fields,
    )
