"""`DevChain`: the SDK's `Substrate` over a file, so that the SDK's own code runs unchanged on it.

    subtensor = bt.Subtensor(substrate=DevChain(path))              # blocking
    async with bt.Subtensor(substrate=DevChain(path)) as client:    # async

Reads are answered from the present state. A read that is pinned to a block of the last
`STATE_BLOCKS` gets the present state too (the SDK pins to the head that it has just seen); one
pinned to an older block is refused, as a pruned node refuses it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from bittensor import Balance, ExtrinsicResult
from bittensor.settings import DEFAULT_ERA_PERIOD

from compute.adapters.chain.devchain import block as blocks_
from compute.adapters.chain.devchain import extrinsics, ledger, shield
from compute.adapters.chain.devchain.absent import Absent, absent
from compute.adapters.chain.devchain.block import PoolRejectedError, block_hash, block_of
from compute.adapters.chain.devchain.calls import CALLS
from compute.adapters.chain.devchain.extrinsics import ComposedCall, Extrinsic
from compute.adapters.chain.devchain.file import Clock, Tx
from compute.adapters.chain.devchain.runtime import METHODS
from compute.adapters.chain.devchain.state import DevState, pinned
from compute.adapters.chain.devchain.storage import MAPS, VALUES

T = TypeVar("T")

SPEC_VERSION = 1
NONCE_RACES = 16
"""How often a transaction is signed anew because the same key's other one came first."""


class DevChain(Absent):
    """One process's connection to a development chain.

    Args:
        path: the chain's file; made by `provision.create`.
        clock: seconds since 1970; replaced in tests.

    Every method raises `DevChainAwayError`, an `RpcConnectionError`, when the file cannot be used.
    """

    def __init__(self, path: Path, clock: Clock = time.time) -> None:
        self.token_symbols: dict[int, str] = {}
        self._state = DevState(path, clock)
        # SQLite calls wait for other processes' locks: never on the caller's event loop.
        self._thread: ThreadPoolExecutor | None = None

    def balance(self, rao: int, netuid: int = 0) -> Balance:
        """An amount with its unit."""
        return Balance(int(rao), netuid, self.token_symbols.get(netuid) if netuid else None)

    async def connect(self) -> None:
        """Open the file and see that it is a chain."""
        await self.block_number()

    async def close(self) -> None:
        """Let go of the file. The object opens it again when it is used again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._state.close)
            thread.shutdown(wait=False)

    # What time it is ---------------------------------------------------------------

    async def block_number(self) -> int:
        """Number of the current block."""
        return await self._read(lambda tx: tx.head)

    async def finalized_block_number(self) -> int:
        """The same: nothing here is ever undone."""
        return await self.block_number()

    async def block_hash(self, block: int | None = None) -> str:
        """Hash of a block (the current one); empty for one that has not come yet."""

        def read(tx: Tx) -> str:
            number = tx.head if block is None else block
            return block_hash(tx.genesis, number) if 0 <= number <= tx.head else ""

        return await self._read(read)

    async def block_time(self) -> float:
        """Seconds per block."""
        return await self._read(lambda tx: tx.params.block_s)

    async def spec_version(self) -> int:
        """Version of these rules."""
        return SPEC_VERSION

    async def blocks(self, *, finalized: bool = False) -> AsyncIterator[dict[str, Any]]:
        """Each new block's header; blocks that came while nobody looked are passed over."""
        del finalized
        seen = await self.block_number()
        pause = min(0.5, await self.block_time() / 4)
        while True:
            header = await self._read(lambda tx: _header(tx, tx.head))
            if header["number"] > seen:
                seen = header["number"]
                yield {"header": header}
            await asyncio.sleep(pause)

    async def get_block(
        self, block_number: int | None = None, block_hash: str | None = None
    ) -> dict[str, Any] | None:
        """A block's header and its transactions."""

        def read(tx: Tx) -> dict[str, Any] | None:
            number = block_of(tx.genesis, block_hash) if block_hash else block_number
            number = tx.head if number is None else number
            if not 0 <= number <= tx.head:
                return None
            return {"header": _header(tx, number), "extrinsics": blocks_.calls_in(tx, number)}

        return await self._read(read)

    async def events(self, block_hash: str | None = None) -> list[dict[str, Any]]:
        """The events of a block (the current one)."""
        return await self._read(lambda tx: blocks_.events_in(tx, pinned(tx, block_hash)))

    # State ---------------------------------------------------------------------------

    async def query(
        self,
        module: str,
        storage_function: str,
        params: list[Any] | None = None,
        block_hash: str | None = None,
    ) -> Any:
        """One storage item."""
        item = _known(VALUES, "storage item", module, storage_function)
        return await self._read(lambda tx: item(tx, params or []), block_hash)

    async def query_map(
        self,
        module: str,
        storage_function: str,
        params: list[Any] | None = None,
        block_hash: str | None = None,
    ) -> list[tuple[Any, Any]]:
        """A whole storage map under a prefix of keys."""
        item = _known(MAPS, "storage map", module, storage_function)
        return await self._read(lambda tx: item(tx, params or []), block_hash)

    async def map_has_entries(
        self, module: str, storage_function: str, params: list[Any], block_hash: str | None = None
    ) -> bool:
        """Whether there is anything under a prefix of keys."""
        return bool(await self.query_map(module, storage_function, params, block_hash))

    async def query_batch(
        self,
        module: str,
        storage_function: str,
        param_sets: list[list[Any]],
        block_hash: str | None = None,
    ) -> list[Any]:
        """One storage map for many keys, in their order, all of one block."""
        item = _known(VALUES, "storage item", module, storage_function)
        return await self._read(lambda tx: [item(tx, keys) for keys in param_sets], block_hash)

    async def runtime_call(
        self, api: str, method: str, params: list[Any], block_hash: str | None = None
    ) -> Any:
        """One runtime call."""
        function = _known(METHODS, "runtime call", api, method)
        return await self._read(lambda tx: function(tx, params), block_hash)

    async def constant(self, module: str, name: str) -> Any:
        """One constant of the runtime."""
        if (module, name) == ("Aura", "SlotDuration"):
            return round(await self.block_time() * 1000)
        return _known(_CONSTANTS, "constant", module, name)

    # Transactions ----------------------------------------------------------------------

    async def compose(self, call: Any) -> ComposedCall:
        """Make a generated call ready to be signed."""
        composed = extrinsics.compose(call)
        kind = (composed.module, composed.function)
        if kind != blocks_.SHIELD:
            _known(CALLS, "call", *kind)
        return composed

    async def estimate_fee(self, call: Any, keypair: Any) -> Balance:
        """The fee, the same for every call."""
        del call, keypair
        return Balance.from_rao(await self._read(lambda tx: tx.params.fee_rao))

    async def estimate_weight(self, call: Any, keypair: Any) -> dict[str, int]:
        """Calls weigh nothing here."""
        del call, keypair
        return {"ref_time": 0, "proof_size": 0}

    async def account_next_index(self, address: str) -> int:
        """An account's next nonce."""
        return await self._read(lambda tx: ledger.account(tx, address)[1])

    async def mev_next_key(self) -> bytes | None:
        """The key to which shielded transactions are encrypted."""
        return await self._read(shield.public_key)

    async def sign_extrinsic(
        self, call: Any, keypair: Any, *, nonce: int, period: int
    ) -> tuple[bytes, str]:
        """A signed transaction's bytes and hash, without submitting it."""
        del period
        extrinsic = await self._sign(call, keypair, nonce)
        return extrinsic.data, extrinsic.hash

    async def find_extrinsic(self, extrinsic_hash: str, block_hash: str) -> ExtrinsicResult | None:
        """The outcome of a transaction in a block, or None when it is not in it."""

        def read(tx: Tx) -> ExtrinsicResult | None:
            receipt = blocks_.find(tx, extrinsic_hash, pinned(tx, block_hash))
            return blocks_.to_result(tx, receipt) if receipt else None

        return await self._read(read)

    async def submit(
        self,
        call: Any,
        keypair: Any,
        *,
        nonce: int | None = None,
        period: int | None = DEFAULT_ERA_PERIOD,
        wait_for_inclusion: bool = True,
        wait_for_finalization: bool = True,
    ) -> ExtrinsicResult:
        """Sign a call and put it into the current block at once.

        A transaction that the chain turns away is told by the result, not by an exception.
        """
        del period, wait_for_inclusion, wait_for_finalization
        for _ in range(NONCE_RACES):
            used = nonce
            if used is None:
                used = await self.account_next_index(str(keypair.ss58_address))
            result = await self.submit_signed(await self._sign(call, keypair, used), keypair)
            overtaken = result.error is not None and result.error.name == "Stale"
            if nonce is not None or not overtaken:
                break
        return result

    async def submit_signed(
        self,
        extrinsic: Extrinsic,
        keypair: Any,
        *,
        wait_for_inclusion: bool = True,
        wait_for_finalization: bool = True,
    ) -> ExtrinsicResult:
        """Put a signed transaction into the current block."""
        del keypair, wait_for_inclusion, wait_for_finalization
        return await self._run(self._include, extrinsic)

    # Underneath ------------------------------------------------------------------------

    async def _sign(self, call: Any, keypair: Any, nonce: int) -> Extrinsic:
        genesis = await self._read(lambda tx: tx.genesis)
        return await extrinsics.sign(await self.compose(call), keypair, nonce, genesis)

    def _include(self, extrinsic: Extrinsic) -> ExtrinsicResult:
        with self._state.written() as tx:
            try:
                return blocks_.to_result(tx, blocks_.include(tx, extrinsic))
            except PoolRejectedError as rejected:
                error = rejected.error
                return ExtrinsicResult(success=False, message=error.message, error=error)

    async def _read(self, read: Callable[[Tx], T], at: str | None = None) -> T:
        return await self._run(self._state.read, read, at)

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="devchain")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)


_CONSTANTS = {
    ("Balances", "ExistentialDeposit"): 500,
    ("Commitments", "MaxFields"): 1,
    ("SubtensorModule", "InitialStartCallDelay"): 0,
}


def _header(tx: Tx, number: int) -> dict[str, Any]:
    parent = block_hash(tx.genesis, number - 1) if number else "0x" + "00" * 32
    return {"number": number, "hash": block_hash(tx.genesis, number), "parentHash": parent}


def _known(table: Any, what: str, module: str, name: str) -> Any:
    try:
        return table[module, name]
    except KeyError:
        raise absent(what, f"{module}.{name}") from None
