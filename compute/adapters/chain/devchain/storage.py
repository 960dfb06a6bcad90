"""Storage items that the SDK reads, in the shapes in which its transport decodes them.

Each item is a function of the transaction and the keys. Reading one key gives a value, or the
chain's default; reading the map gives `(key, value)` pairs under the prefix of keys given.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from compute.adapters.chain.devchain import ledger, shield
from compute.adapters.chain.devchain.commitments import registration
from compute.adapters.chain.devchain.file import Tx
from compute.adapters.chain.devchain.ledger import Subnet
from compute.adapters.chain.devchain.params import SubnetParams

Keys = Sequence[Any]
Value = Callable[[Tx, Keys], Any]
Pairs = Callable[[Tx, Keys], list[tuple[Any, Any]]]

_DEFAULTS = SubnetParams()


def _always(value: Any) -> Callable[[Tx, Any], Any]:
    return lambda _tx, _keys: value


OF_SUBNET: Mapping[str, Callable[[Tx, Subnet], Any]] = {
    "NetworksAdded": _always(value=True),
    "Tempo": lambda _, here: here.params.tempo,
    "WeightsSetRateLimit": lambda _, here: here.params.weights_rate_limit,
    "ServingRateLimit": lambda _, here: here.params.serving_rate_limit,
    "MinAllowedWeights": lambda _, here: here.params.min_allowed_weights,
    "MaxWeightsLimit": lambda _, here: here.params.max_weights_limit,
    "WeightsVersionKey": lambda _, here: here.params.weights_version,
    "CommitRevealWeightsEnabled": lambda _, here: here.params.commit_reveal,
    "RevealPeriodEpochs": lambda _, here: here.params.reveal_period_epochs,
    "SubnetEpochConsensus": _always("Yuma"),
    "ImmunityPeriod": lambda _, here: here.params.immunity_period,
    "ActivityCutoff": lambda _, here: here.params.activity_cutoff,
    "MaxAllowedUids": lambda _, here: here.params.max_uids,
    "MaxAllowedValidators": lambda _, here: here.params.max_validators,
    "NetworkRegistrationAllowed": lambda _, here: here.params.registration_allowed,
    "Burn": lambda _, here: here.params.burn_rao,
    "CollateralLockShare": _always(0),
    "MechanismCountCurrent": _always(1),
    "SubnetOwner": lambda _, here: here.owner_coldkey,
    "SubnetOwnerHotkey": lambda _, here: here.owner_hotkey,
    "NetworkRegisteredAt": lambda _, here: here.registered_at,
    "LastEpochBlock": lambda _, here: here.last_epoch,
    "SubnetEpochIndex": lambda _, here: here.epoch_index,
    "PendingEpochAt": _always(0),
    "BlocksSinceLastStep": lambda tx, here: tx.head - here.last_epoch,
    "SubnetworkN": lambda tx, here: len(column(tx, here.netuid, "uid")),
}
"""Items with one value for each subnet."""

COLUMNS: Mapping[str, tuple[str, type]] = {
    "LastUpdate": ("last_update", int),
    "ValidatorPermit": ("permit", bool),
    "Active": ("active", bool),
    "Incentive": ("incentive", int),
    "Dividends": ("dividends", int),
    "Consensus": ("consensus", int),
    "ValidatorTrust": ("validator_trust", int),
    "Emission": ("emission", int),
}
"""Items with one vector over the UIDs for each subnet: its column, its type."""


def column(tx: Tx, netuid: int, name: str) -> list[Any]:
    """One column of a subnet's neurons, in UID order."""
    rows = tx.db.execute(f"SELECT {name} FROM neurons WHERE netuid = ? ORDER BY uid", (netuid,))  # noqa: S608 - a constant of this module
    return [value for (value,) in rows]


def axon(row: Sequence[Any]) -> dict[str, Any]:
    """An axon as the SDK reads it; `row` is block, version, ip, port, ip_type, protocol."""
    block, version, ip, port, ip_type, protocol = row
    return {
        "block": block,
        "version": version,
        "ip": int(ip),
        "port": port,
        "ip_type": ip_type,
        "protocol": protocol,
        "placeholder1": 0,
        "placeholder2": 0,
    }


def _uid(tx: Tx, keys: Keys) -> int | None:
    return ledger.uid_of(tx, int(keys[0]), str(keys[1]))


def _uids(tx: Tx, keys: Keys) -> list[tuple[Any, Any]]:
    sql = "SELECT hotkey, uid FROM neurons WHERE netuid = ?"
    return tx.db.execute(sql, (int(keys[0]),)).fetchall()


def _key(tx: Tx, keys: Keys) -> str | None:
    sql = "SELECT hotkey FROM neurons WHERE netuid = ? AND uid = ?"
    row = tx.db.execute(sql, (int(keys[0]), int(keys[1]))).fetchone()
    return row[0] if row else None


def _keys(tx: Tx, keys: Keys) -> list[tuple[Any, Any]]:
    return [(uid, hotkey) for hotkey, uid in _uids(tx, keys)]


_AXON = "block, version, ip, port, ip_type, protocol FROM axons WHERE netuid = ?"


def _axon(tx: Tx, keys: Keys) -> dict[str, Any] | None:
    sql = f"SELECT {_AXON} AND hotkey = ?"
    row = tx.db.execute(sql, (int(keys[0]), str(keys[1]))).fetchone()
    return axon(row) if row else None


def _axons(tx: Tx, keys: Keys) -> list[tuple[Any, Any]]:
    rows = tx.db.execute(f"SELECT hotkey, {_AXON}", (int(keys[0]),))
    return [(row[0], axon(row[1:])) for row in rows]


_CERTIFICATE = "algorithm, public_key FROM certificates WHERE netuid = ?"


def _certificate(tx: Tx, keys: Keys) -> dict[str, Any] | None:
    sql = f"SELECT {_CERTIFICATE} AND hotkey = ?"
    row = tx.db.execute(sql, (int(keys[0]), str(keys[1]))).fetchone()
    return {"algorithm": row[0], "public_key": row[1]} if row else None


def _certificates(tx: Tx, keys: Keys) -> list[tuple[Any, Any]]:
    rows = tx.db.execute(f"SELECT hotkey, {_CERTIFICATE}", (int(keys[0]),))
    return [(key, {"algorithm": kind, "public_key": text}) for key, kind, text in rows]


def _weights_row(tx: Tx, keys: Keys) -> list[tuple[int, int]]:
    sql = "SELECT row FROM weights WHERE netuid = ? AND uid = ?"
    row = tx.db.execute(sql, (int(keys[0]), int(keys[1]))).fetchone()
    return _pairs(row[0]) if row else []


def _weights(tx: Tx, keys: Keys) -> list[tuple[Any, Any]]:
    rows = tx.db.execute("SELECT uid, row FROM weights WHERE netuid = ?", (int(keys[0]),))
    return [(uid, _pairs(row)) for uid, row in rows]


def _pairs(text: str) -> list[tuple[int, int]]:
    return [(target, value) for target, value in json.loads(text)]


def _account(tx: Tx, keys: Keys) -> dict[str, Any]:
    free, nonce = ledger.account(tx, str(keys[0]))
    data = {"free": free, "reserved": 0, "frozen": 0, "flags": 0}
    return {"nonce": nonce, "consumers": 0, "providers": 1, "sufficients": 0, "data": data}


def _commitment(tx: Tx, keys: Keys) -> dict[str, Any] | None:
    sql = "SELECT block, fields FROM commitments WHERE netuid = ? AND hotkey = ?"
    row = tx.db.execute(sql, (int(keys[0]), str(keys[1]))).fetchone()
    return registration(*row) if row else None


def _commitments(tx: Tx, keys: Keys) -> list[tuple[Any, Any]]:
    sql = "SELECT hotkey, block, fields FROM commitments WHERE netuid = ?"
    rows = tx.db.execute(sql, (int(keys[0]),))
    return [(hotkey, registration(block, fields)) for hotkey, block, fields in rows]


def _weight_commits(tx: Tx, keys: Keys) -> list[tuple[Any, Any]]:
    sql = (
        "SELECT epoch, hotkey, block, ciphertext, reveal_round FROM weight_commits"
        " WHERE netuid = ? ORDER BY id"
    )
    out: dict[int, list[tuple[str, int, str, int]]] = {}
    for epoch, hotkey, block, ciphertext, reveal_round in tx.db.execute(sql, (int(keys[0]),)):
        entry = (hotkey, block, "0x" + ciphertext.hex(), reveal_round)
        out.setdefault(epoch, []).append(entry)
    return list(out.items())


def _owned(tx: Tx, keys: Keys) -> list[str]:
    sql = "SELECT hotkey FROM owners WHERE coldkey = ? ORDER BY hotkey"
    return [hotkey for (hotkey,) in tx.db.execute(sql, (str(keys[0]),))]


def _memberships(tx: Tx, keys: Keys) -> list[tuple[Any, Any]]:
    sql = "SELECT netuid FROM neurons WHERE hotkey = ?"
    return [(netuid, True) for (netuid,) in tx.db.execute(sql, (str(keys[0]),))]


def _netuids(tx: Tx) -> list[int]:
    return [netuid for (netuid,) in tx.db.execute("SELECT netuid FROM subnets ORDER BY netuid")]


def _of_subnet(name: str) -> Value:
    """Reads one item of one subnet; for a subnet that does not exist, what a new one would say."""

    def read(tx: Tx, keys: Keys) -> Any:
        here = ledger.subnet(tx, int(keys[0]))
        if here is not None:
            return OF_SUBNET[name](tx, here)
        if name == "NetworksAdded":
            return False
        nowhere = Subnet(int(keys[0]), "", _DEFAULTS, "", "", 0, tx.head, 0)
        return OF_SUBNET[name](tx, nowhere)

    return read


def _of_subnets(name: str) -> Pairs:
    def read(tx: Tx, _keys: Keys) -> list[tuple[Any, Any]]:
        return [(netuid, _of_subnet(name)(tx, [netuid])) for netuid in _netuids(tx)]

    return read


def _vector(name: str) -> Value:
    def read(tx: Tx, keys: Keys) -> list[Any]:
        source, kind = COLUMNS[name]
        return [kind(value) for value in column(tx, int(keys[0]), source)]

    return read


def _nothing(_tx: Tx, _keys: Keys) -> list[tuple[Any, Any]]:
    return []


_MODULE = "SubtensorModule"

VALUES: Mapping[tuple[str, str], Value] = {
    **{(_MODULE, name): _of_subnet(name) for name in OF_SUBNET},
    **{(_MODULE, name): _vector(name) for name in COLUMNS},
    (_MODULE, "Uids"): _uid,
    (_MODULE, "Keys"): _key,
    (_MODULE, "Axons"): _axon,
    (_MODULE, "NeuronCertificates"): _certificate,
    (_MODULE, "Weights"): _weights_row,
    (_MODULE, "Owner"): lambda tx, keys: ledger.owner_of(tx, str(keys[0])),
    (_MODULE, "OwnedHotkeys"): _owned,
    (_MODULE, "TotalHotkeyAlpha"): lambda tx, keys: ledger.stake_of(tx, int(keys[1]), str(keys[0])),
    ("System", "Account"): _account,
    ("System", "Number"): lambda tx, _: tx.head,
    ("Timestamp", "Now"): lambda tx, _: int(tx.time_of(tx.head) * 1000),
    ("Commitments", "CommitmentOf"): _commitment,
    ("Commitments", "RevealedCommitments"): _always(None),
    ("MevShield", "NextKey"): lambda tx, _: "0x" + shield.public_key(tx).hex(),
}
"""Items that can be read by key."""

MAPS: Mapping[tuple[str, str], Pairs] = {
    **{(_MODULE, name): _of_subnets(name) for name in OF_SUBNET},
    (_MODULE, "Uids"): _uids,
    (_MODULE, "Keys"): _keys,
    (_MODULE, "Axons"): _axons,
    (_MODULE, "NeuronCertificates"): _certificates,
    (_MODULE, "Weights"): _weights,
    (_MODULE, "TimelockedWeightCommits"): _weight_commits,
    (_MODULE, "IsNetworkMember"): _memberships,
    (_MODULE, "SubnetIdentitiesV3"): _nothing,
    ("Commitments", "CommitmentOf"): _commitments,
    ("Commitments", "RevealedCommitments"): _nothing,
}
"""Items that can be read whole (under a prefix of keys)."""
