"""Which weights a subnet accepts. The order of the checks and their names are the real chain's."""

from collections.abc import Sequence

from compute.adapters.chain.devchain.file import Tx
from compute.adapters.chain.devchain.ledger import Subnet, stake_of
from compute.adapters.chain.devchain.params import U16_MAX


class DispatchError(Exception):
    """A call that was included in a block and failed there.

    Args:
        name: the chain's name of the error, such as `HotKeyNotRegisteredInSubNet`.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def ensure(condition: object, name: str) -> None:
    """Raise `DispatchError` unless the condition holds."""
    if not condition:
        raise DispatchError(name)


def check_stake(tx: Tx, here: Subnet, hotkey: str) -> None:
    """Weights need a minimum of stake, if the subnet says so."""
    enough = stake_of(tx, here.netuid, hotkey) >= here.params.stake_threshold_rao
    ensure(enough, "NotEnoughStakeToSetWeights")


def check_weights(
    tx: Tx, here: Subnet, uid: int, dests: Sequence[int], values: Sequence[int]
) -> None:
    """Check a row of weights that UID `uid` wants to set."""
    count, hotkey, permit = tx.db.execute(
        "SELECT (SELECT COUNT(*) FROM neurons WHERE netuid = ?), hotkey, permit"
        " FROM neurons WHERE netuid = ? AND uid = ?",
        (here.netuid, here.netuid, uid),
    ).fetchone()
    on_itself = list(dests) == [uid]
    ensure(permit or on_itself or hotkey == here.owner_hotkey, "NeuronNoValidatorPermit")
    ensure(len(dests) == len(values), "WeightVecNotEqualSize")
    ensure(len(dests) <= count, "UidsLengthExceedUidsInSubNet")
    ensure(len(set(dests)) == len(dests), "DuplicateUids")
    ensure(all(0 <= dest < count for dest in dests), "UidVecContainInvalidOne")
    if on_itself:
        return
    ensure(len(dests) >= here.params.min_allowed_weights, "WeightVecLengthIsLow")
    largest, total = max(values, default=0), sum(values)
    ensure(largest * U16_MAX <= here.params.max_weights_limit * total, "MaxWeightExceeded")
