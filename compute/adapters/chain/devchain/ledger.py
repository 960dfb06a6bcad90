"""Rows of the chain's state as values, and the few ways in which they change."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from compute.adapters.chain.devchain.file import Tx
from compute.adapters.chain.devchain.params import SubnetParams


@dataclass(frozen=True, slots=True)
class Subnet:
    """One subnet's row.

    Attributes:
        last_epoch: block of the latest epoch (or of the creation).
        epoch_index: how many epochs there were.
    """

    netuid: int
    name: str
    params: SubnetParams
    owner_hotkey: str
    owner_coldkey: str
    registered_at: int
    last_epoch: int
    epoch_index: int


def subnet(tx: Tx, netuid: int) -> Subnet | None:
    """The subnet, or None when there is none of this number."""
    row = tx.db.execute(
        "SELECT netuid, name, params, owner_hotkey, owner_coldkey, registered_at, last_epoch,"
        " epoch_index FROM subnets WHERE netuid = ?",
        (netuid,),
    ).fetchone()
    return Subnet(row[0], row[1], _params(row[2]), *row[3:]) if row else None


@lru_cache(maxsize=64)
def _params(text: str) -> SubnetParams:
    return SubnetParams.model_validate_json(text)


def add_subnet(tx: Tx, netuid: int, params: SubnetParams, owner: tuple[str, str]) -> None:
    """Make a subnet; `owner` is its hotkey and coldkey."""
    tx.db.execute(
        "INSERT INTO subnets VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?)",
        (
            netuid,
            f"dev{netuid}",
            params.model_dump_json(),
            *owner,
            tx.head,
            tx.head,
            tx.head + params.tempo,
        ),
    )


def set_params(tx: Tx, netuid: int, params: SubnetParams) -> None:
    """Change a subnet's hyperparameters, as its owner could."""
    tx.db.execute(
        "UPDATE subnets SET params = ?, next_epoch = last_epoch + ? WHERE netuid = ?",
        (params.model_dump_json(), params.tempo, netuid),
    )


def uid_of(tx: Tx, netuid: int, hotkey: str) -> int | None:
    """The hotkey's UID, or None when it is not registered."""
    row = tx.db.execute(
        "SELECT uid FROM neurons WHERE netuid = ? AND hotkey = ?", (netuid, hotkey)
    ).fetchone()
    return row[0] if row else None


def account(tx: Tx, address: str) -> tuple[int, int]:
    """An account's free rao and its next nonce."""
    row = tx.db.execute("SELECT free, nonce FROM accounts WHERE address = ?", (address,)).fetchone()
    return (row[0], row[1]) if row else (0, 0)


def credit(tx: Tx, address: str, rao: int) -> None:
    """Add to (or, negative, take from) an account's free balance."""
    tx.db.execute(
        "INSERT INTO accounts (address, free) VALUES (?, ?)"
        " ON CONFLICT (address) DO UPDATE SET free = free + excluded.free",
        (address, rao),
    )


def use_nonce(tx: Tx, address: str) -> None:
    """Count one transaction of an account."""
    tx.db.execute(
        "INSERT INTO accounts (address, nonce) VALUES (?, 1)"
        " ON CONFLICT (address) DO UPDATE SET nonce = nonce + 1",
        (address,),
    )


def owner_of(tx: Tx, hotkey: str) -> str | None:
    """The coldkey that owns a hotkey, or None."""
    row = tx.db.execute("SELECT coldkey FROM owners WHERE hotkey = ?", (hotkey,)).fetchone()
    return row[0] if row else None


def stake_of(tx: Tx, netuid: int, hotkey: str) -> int:
    """A hotkey's stake on a subnet, in rao of alpha."""
    row = tx.db.execute(
        "SELECT amount FROM stakes WHERE netuid = ? AND hotkey = ?", (netuid, hotkey)
    ).fetchone()
    return row[0] if row else 0


def set_stake(tx: Tx, netuid: int, hotkey: str, rao: int) -> None:
    """Set a hotkey's stake on a subnet, in rao of alpha."""
    tx.db.execute("INSERT OR REPLACE INTO stakes VALUES (?, ?, ?)", (netuid, hotkey, rao))


def seat(tx: Tx, netuid: int, hotkey: str, coldkey: str) -> int | None:
    """Give a hotkey a UID: the next free one, or that of the neuron which is pruned for it.

    Returns None when the subnet is full of immune neurons.
    """
    here = subnet(tx, netuid)
    if here is None:
        return None
    (count,) = tx.db.execute("SELECT COUNT(*) FROM neurons WHERE netuid = ?", (netuid,)).fetchone()
    uid = count if count < here.params.max_uids else _prune(tx, here)
    if uid is None:
        return None
    tx.db.execute("INSERT OR IGNORE INTO owners VALUES (?, ?)", (hotkey, coldkey))
    # The limit on weights counts from here: a newcomer cannot set any at once.
    tx.db.execute(
        "INSERT INTO neurons (netuid, uid, hotkey, registered_at, last_update, last_try)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (netuid, uid, hotkey, tx.head, tx.head, tx.head),
    )
    return uid


def _prune(tx: Tx, here: Subnet) -> int | None:
    """Remove the neuron with the lowest emission that is not immune; its UID, or None."""
    row = tx.db.execute(
        "SELECT uid, hotkey FROM neurons WHERE netuid = ? AND registered_at + ? <= ?"
        " ORDER BY emission, registered_at, uid LIMIT 1",
        (here.netuid, here.params.immunity_period, tx.head),
    ).fetchone()
    if row is None:
        return None
    uid, hotkey = row
    tx.db.execute("DELETE FROM neurons WHERE netuid = ? AND uid = ?", (here.netuid, uid))
    tx.db.execute("DELETE FROM weights WHERE netuid = ? AND uid = ?", (here.netuid, uid))
    tx.db.execute("DELETE FROM axons WHERE netuid = ? AND hotkey = ?", (here.netuid, hotkey))
    tx.db.execute("DELETE FROM certificates WHERE netuid = ? AND hotkey = ?", (here.netuid, hotkey))
    return int(uid)


def put_weights(tx: Tx, netuid: int, uid: int, row: Sequence[tuple[int, int]]) -> None:
    """Store a validator's weights, scaled so that the largest is the u16 maximum."""
    top = max((value for _, value in row), default=0) or 1
    scaled = [(target, value * 65_535 // top) for target, value in row if value]
    tx.db.execute(
        "INSERT OR REPLACE INTO weights VALUES (?, ?, ?)", (netuid, uid, json.dumps(scaled))
    )
