"""The runtime calls that the SDK makes: above all the metagraph, all of a subnet at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from compute.adapters.chain.devchain.file import Tx
from compute.adapters.chain.devchain.ledger import Subnet, subnet
from compute.adapters.chain.devchain.params import RAO, U16_MAX
from compute.adapters.chain.devchain.storage import axon

_NEURONS = """
SELECT n.uid, n.hotkey, COALESCE(o.coldkey, n.hotkey), n.active, n.permit, n.last_update,
       n.registered_at, n.consensus, n.incentive, n.dividends, n.trust, n.validator_trust,
       n.emission, COALESCE(s.amount, 0),
       a.block, a.version, a.ip, a.port, a.ip_type, a.protocol
FROM neurons n
LEFT JOIN owners o ON o.hotkey = n.hotkey
LEFT JOIN stakes s ON s.netuid = n.netuid AND s.hotkey = n.hotkey
LEFT JOIN axons a ON a.netuid = n.netuid AND a.hotkey = n.hotkey
WHERE n.netuid = ? ORDER BY n.uid
"""

_NO_AXON = (0, 0, "0", 0, 0, 0)


def get_metagraph(tx: Tx, params: Sequence[Any]) -> dict[str, Any] | None:
    """A subnet and its neurons, one list for each property; None when there is no such subnet."""
    here = subnet(tx, int(params[0]))
    if here is None:
        return None
    rows = tx.db.execute(_NEURONS, (here.netuid,)).fetchall()
    columns = list(zip(*rows, strict=True)) or [()] * 20
    zeros = [0] * len(rows)
    return {
        **_about_subnet(tx, here, len(rows)),
        "hotkeys": list(columns[1]),
        "coldkeys": list(columns[2]),
        "identities": [None] * len(rows),
        "axons": [axon(row[14:]) if row[14] is not None else axon(_NO_AXON) for row in rows],
        "active": [bool(value) for value in columns[3]],
        "validator_permit": [bool(value) for value in columns[4]],
        "last_update": list(columns[5]),
        "block_at_registration": list(columns[6]),
        "consensus": list(columns[7]),
        "incentives": list(columns[8]),
        "rank": list(columns[8]),
        "dividends": list(columns[9]),
        "trust": list(columns[10]),
        "validator_trust": list(columns[11]),
        "emission": list(columns[12]),
        "pruning_score": [0] * len(rows),
        "alpha_stake": list(columns[13]),
        "tao_stake": zeros,
        "total_stake": list(columns[13]),
        "tao_dividends_per_hotkey": [],
        "alpha_dividends_per_hotkey": [],
    }


def _about_subnet(tx: Tx, here: Subnet, count: int) -> dict[str, Any]:
    """What the metagraph says about the subnet itself; pools and prices do not exist here."""
    rules = here.params
    return {
        "netuid": here.netuid,
        "name": list(here.name.encode()),
        "symbol": list("α".encode()),
        "identity": None,
        "network_registered_at": here.registered_at,
        "owner_hotkey": here.owner_hotkey,
        "owner_coldkey": here.owner_coldkey,
        "block": tx.head,
        "tempo": rules.tempo,
        "last_step": here.last_epoch,
        "blocks_since_last_step": tx.head - here.last_epoch,
        "num_uids": count,
        "max_uids": rules.max_uids,
        "max_validators": rules.max_validators,
        "min_allowed_weights": rules.min_allowed_weights,
        "max_weights_limit": rules.max_weights_limit,
        "weights_version": rules.weights_version,
        "weights_rate_limit": rules.weights_rate_limit,
        "serving_rate_limit": rules.serving_rate_limit,
        "activity_cutoff": rules.activity_cutoff,
        "immunity_period": rules.immunity_period,
        "kappa": rules.kappa,
        "registration_allowed": rules.registration_allowed,
        "burn": rules.burn_rao,
        "commit_reveal_weights_enabled": rules.commit_reveal,
        "commit_reveal_period": rules.reveal_period_epochs,
        "subnet_emission": RAO,
        "tao_in": 0,
        "alpha_in": 0,
        "alpha_out": 0,
        "moving_price": {"bits": 0},
    }


def get_neurons_lite(tx: Tx, params: Sequence[Any]) -> list[dict[str, Any]]:
    """One record for each neuron, without weights and bonds."""
    rows = tx.db.execute(_NEURONS, (int(params[0]),)).fetchall()
    return [_lite(int(params[0]), row) for row in rows]


def _lite(netuid: int, row: Sequence[Any]) -> dict[str, Any]:
    return {
        "hotkey": row[1],
        "coldkey": row[2],
        "uid": row[0],
        "netuid": netuid,
        "active": bool(row[3]),
        "axon_info": axon(row[14:]) if row[14] is not None else axon(_NO_AXON),
        "stake": [(row[2], row[13])],
        "rank": row[8],
        "emission": row[12],
        "incentive": row[8],
        "consensus": row[7],
        "trust": row[10],
        "validator_trust": row[11],
        "dividends": row[9],
        "last_update": row[5],
        "validator_permit": bool(row[4]),
        "pruning_score": U16_MAX,
    }


def get_next_epoch_start_block(tx: Tx, params: Sequence[Any]) -> int | None:
    """Block of the subnet's next epoch."""
    here = subnet(tx, int(params[0]))
    return here.last_epoch + here.params.tempo if here is not None else None


METHODS: Mapping[tuple[str, str], Callable[[Tx, Sequence[Any]], Any]] = {
    ("SubnetInfoRuntimeApi", "get_metagraph"): get_metagraph,
    ("SubnetInfoRuntimeApi", "get_next_epoch_start_block"): get_next_epoch_start_block,
    ("NeuronInfoRuntimeApi", "get_neurons_lite"): get_neurons_lite,
}
"""Runtime calls by interface and method."""
