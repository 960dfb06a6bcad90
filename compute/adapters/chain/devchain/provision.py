"""Setting a development chain up: make it, fund keys, register neurons, let blocks pass.

These are the blocking functions that scripts and tests use. What they do is done by fiat, as a
genesis file would: nobody signs, nobody pays, no limit applies.
"""

import time
from pathlib import Path

from compute.adapters.chain.devchain import ledger, reveal
from compute.adapters.chain.devchain.file import ChainFile, Clock, Tx
from compute.adapters.chain.devchain.params import RAO, ChainParams, SubnetParams
from compute.adapters.chain.devchain.state import DevState
from compute.errors import UsageError

OWNER = "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM"
"""Owner of subnets that nobody claims: the all-zero public key, which signs nothing."""


def create(
    path: Path,
    params: ChainParams | None = None,
    subnets: dict[int, SubnetParams] | None = None,
    *,
    clock: Clock = time.time,
) -> "Provision":
    """Make a new chain with its subnets; raises `FileExistsError` where a file is already."""
    ChainFile.create(path, params or ChainParams(), clock)
    made = Provision(path, clock)
    for netuid, subnet_params in (subnets or {}).items():
        made.add_subnet(netuid, subnet_params)
    return made


class Provision:
    """A blocking hand on an existing chain.

    Args:
        path: the chain's file.
        clock: seconds since 1970; replaced in tests.
    """

    def __init__(self, path: Path, clock: Clock = time.time) -> None:
        self.path = path
        self._state = DevState(path, clock)

    def add_subnet(
        self, netuid: int, params: SubnetParams | None = None, owner: tuple[str, str] | None = None
    ) -> None:
        """Make a subnet; `owner` is its hotkey and coldkey (ss58)."""
        owners = owner or (OWNER, OWNER)
        self._state.change(
            lambda tx: ledger.add_subnet(tx, netuid, params or SubnetParams(), owners)
        )

    def set_params(self, netuid: int, params: SubnetParams) -> None:
        """Change a subnet's hyperparameters."""
        self._state.change(lambda tx: ledger.set_params(tx, netuid, params))

    def fund(self, address: str, tao: float) -> None:
        """Give an account free TAO."""
        self._state.change(lambda tx: ledger.credit(tx, address, round(tao * RAO)))

    def register(self, netuid: int, hotkey: str, coldkey: str, *, stake: float = 0.0) -> int:
        """Register a hotkey and stake alpha on it; its UID.

        A hotkey that is registered already keeps its UID. Raises `UsageError` when the subnet
        does not exist or is full of immune neurons.
        """

        def seat(tx: Tx) -> int | None:
            ledger.set_stake(tx, netuid, hotkey, round(stake * RAO))
            known = ledger.uid_of(tx, netuid, hotkey)
            return ledger.seat(tx, netuid, hotkey, coldkey) if known is None else known

        uid = self._state.change(seat)
        if uid is None:
            raise UsageError(f"subnet {netuid} does not exist, or has no place for a neuron")
        return uid

    def stake(self, netuid: int, hotkey: str, alpha: float) -> None:
        """Set a hotkey's stake on a subnet."""
        self._state.change(lambda tx: ledger.set_stake(tx, netuid, hotkey, round(alpha * RAO)))

    def add_pulse(self, beacon_round: int, signature_hex: str) -> None:
        """Put in a drand signature, with which sealed weights of that round are opened."""
        self._state.change(lambda tx: reveal.add_pulse(tx, beacon_round, signature_hex))

    def advance(self, blocks: int) -> int:
        """Let blocks pass at once, for all processes; the current block's number then."""
        return self._state.advance(blocks)

    def block(self) -> int:
        """The current block's number."""
        return self._state.read(lambda tx: tx.head)

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        self._state.close()
