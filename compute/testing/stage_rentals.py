"""Rentals of a stage's tenants, in every state."""

from collections.abc import Sequence
from hashlib import sha256

from sqlalchemy import Engine

from compute.domain.history import HOUR_MS
from compute.domain.rental import RentalEventKind, RentalState
from compute.domain.requirement import Requirement
from compute.storage.rentals import Held, RentalStore, TenantStore

RENTALS = 18
_NO_PLACE, _OUTAGE = 7, 5  # one in so many finds no place, or has an outage


def rent_out(database: Engine, validator: str, miners: Sequence[str], now_ms: int) -> None:
    """Write rentals of the last hours.

    Args:
        database: the validator's.
        validator: its hotkey.
        miners: hotkeys to rent from.
        now_ms: when the last one was just made.
    """
    tenants, store = TenantStore(database), RentalStore(database, validator)
    lab, _ = tenants.add("protein-lab", most_leases=50, now_ms=now_ms)
    shop, _ = tenants.add("render-shop", most_leases=50, now_ms=now_ms)
    for number in range(RENTALS):
        begun = now_ms - (RENTALS - number) * HOUR_MS // 2
        need = Requirement(gpus=1 + number % 8, cpus=16, memory_mib=65_536)
        who = (lab, lab, shop)[number % 3]
        held, _ = store.begin(who, f"key-{number}", f"order {number}", need, begun)
        if number % _NO_PLACE == _NO_PLACE - 1:
            _refuse(store, held, begun)
        else:
            _lease(store, held, number, begun, miners[number * 3 % len(miners)])


def _refuse(store: RentalStore, held: Held, begun: int) -> None:
    why, over = "no miner had as much free", begun + 900
    store.change(
        held, RentalEventKind.FAILED, over, why,
        state=RentalState.FAILED, ended_ms=over, detail=why,
    )  # fmt: skip


def _lease(store: RentalStore, held: Held, number: int, begun: int, miner: str) -> None:
    lease = sha256(f"lease{number}".encode()).hexdigest()[:32]
    store.change(held, RentalEventKind.TRYING, begun + 40, f"asks {miner[:8]}")
    store.change(
        held, RentalEventKind.ACTIVE, begun + 1640,
        state=RentalState.ACTIVE, miner=miner, lease=lease, expires_ms=begun + 6 * HOUR_MS,
    )  # fmt: skip
    if number % _OUTAGE == _OUTAGE - 1:
        away, back = begun + 900_000, begun + 1_080_000
        store.change(held, RentalEventKind.UNREACHABLE, away, "no answer on its SSH port")
        store.change(held, RentalEventKind.CREDITED, back, credit_ms=back - away)
    if number < RENTALS // 2:
        over = begun + 2 * HOUR_MS
        store.change(
            held, RentalEventKind.ENDED, over, "released", state=RentalState.ENDED, ended_ms=over
        )
