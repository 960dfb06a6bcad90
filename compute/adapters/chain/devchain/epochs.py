"""Bring the chain up to its present block: epochs that are due, and old records dropped.

Nothing runs between two uses of the file, so whoever comes first after an epoch's block runs it.
"""

import json

from compute.adapters.chain.devchain import reveal
from compute.adapters.chain.devchain.consensus import (
    Outcome,
    Participant,
    Rules,
    run_epoch,
)
from compute.adapters.chain.devchain.file import Tx
from compute.adapters.chain.devchain.ledger import Subnet, subnet
from compute.adapters.chain.devchain.params import RAO, U16_MAX

HISTORY_BLOCKS = 4096
"""How long transactions and their events are kept."""

EMISSION_SHARE = 0.41
"""Part of a subnet's alpha emission that its miners get, and again its validators."""


def is_due(tx: Tx) -> bool:
    """Whether some subnet's epoch has come."""
    row = tx.db.execute(
        "SELECT 1 FROM subnets WHERE next_epoch <= ? LIMIT 1", (tx.head,)
    ).fetchone()
    return row is not None


def settle(tx: Tx) -> None:
    """Run every epoch that is due. Needs a writing transaction."""
    due = tx.db.execute("SELECT netuid FROM subnets WHERE next_epoch <= ?", (tx.head,)).fetchall()
    for (netuid,) in due:
        here = subnet(tx, netuid)
        if here is not None:
            _catch_up(tx, here)
    if due:
        tx.db.execute("DELETE FROM extrinsics WHERE block < ?", (tx.head - HISTORY_BLOCKS,))


def _catch_up(tx: Tx, here: Subnet) -> None:
    """Run what was missed.

    Nothing changes between epochs that nobody saw, and an epoch has no memory but for the permits
    that it gives. So however many were missed, the first two and the last one tell it all.
    """
    tempo = here.params.tempo
    missed = (tx.head - here.last_epoch) // tempo
    for nth in sorted({1, min(2, missed), missed}):
        block = here.last_epoch + nth * tempo
        reveal.reveal_due(tx, here, here.epoch_index + nth)
        _store(tx, here, _decide(tx, here, block))
    last = here.last_epoch + missed * tempo
    tx.db.execute(
        "UPDATE subnets SET last_epoch = ?, next_epoch = ?, epoch_index = ? WHERE netuid = ?",
        (last, last + tempo, here.epoch_index + missed, here.netuid),
    )


def _decide(tx: Tx, here: Subnet, block: int) -> Outcome:
    rows = tx.db.execute(
        "SELECT n.hotkey, COALESCE(s.amount, 0), n.permit, n.last_update, n.registered_at"
        " FROM neurons n LEFT JOIN stakes s ON s.netuid = n.netuid AND s.hotkey = n.hotkey"
        " WHERE n.netuid = ? ORDER BY n.uid",
        (here.netuid,),
    ).fetchall()
    cutoff, floor = here.params.activity_cutoff, here.params.stake_threshold_rao
    participants = [
        Participant(
            stake=float(stake) if stake >= floor else 0.0,
            permit=bool(permit),
            active=last_update + cutoff >= block,
            last_update=last_update,
            registered_at=registered_at,
        )
        for _, stake, permit, last_update, registered_at in rows
    ]
    tx.db.executemany(
        "UPDATE neurons SET active = ? WHERE netuid = ? AND uid = ?",
        [(one.active, here.netuid, uid) for uid, one in enumerate(participants)],
    )
    hotkeys = [row[0] for row in rows]
    owner = hotkeys.index(here.owner_hotkey) if here.owner_hotkey in hotkeys else None
    rules = Rules(here.params.max_validators, here.params.kappa / U16_MAX, owner)
    weights = tx.db.execute("SELECT uid, row FROM weights WHERE netuid = ?", (here.netuid,))
    return run_epoch(participants, {uid: dict(json.loads(row)) for uid, row in weights}, rules)


def _store(tx: Tx, here: Subnet, outcome: Outcome) -> None:
    emitted = here.params.tempo * RAO * EMISSION_SHARE
    columns = zip(
        outcome.permits,
        *(
            (share * U16_MAX).round().astype(int).tolist()
            for share in (
                outcome.consensus,
                outcome.incentive,
                outcome.dividends,
                outcome.trust,
                outcome.validator_trust,
            )
        ),
        ((outcome.incentive + outcome.dividends) * emitted).astype(int).tolist(),
        strict=True,
    )
    tx.db.executemany(
        "UPDATE neurons SET permit = ?, consensus = ?, incentive = ?, dividends = ?, trust = ?,"
        " validator_trust = ?, emission = ? WHERE netuid = ? AND uid = ?",
        [(*row, here.netuid, uid) for uid, row in enumerate(columns)],
    )
