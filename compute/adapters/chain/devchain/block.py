"""Putting transactions into the current block: admission, fee, nonce, dispatch, record."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from bittensor import Balance, ChainError, ExtrinsicResult
from bittensor.fee_filters import charges_coldkey_fee
from bittensor.result import chain_error_from_substrate_request

from compute.adapters.chain.devchain import ledger, shield
from compute.adapters.chain.devchain.calls import ADMISSIONS, CALLS, Event, charge_attempt, event
from compute.adapters.chain.devchain.extrinsics import Extrinsic, decode
from compute.adapters.chain.devchain.file import Tx
from compute.adapters.chain.devchain.rules import DispatchError

SHIELD = ("MevShield", "submit_encrypted")

STALE = "Invalid Transaction: Transaction is outdated"
FUTURE = "Invalid Transaction: Transaction will be valid in the future"
BAD_PROOF = "Invalid Transaction: Transaction has a bad signature"
NO_FEE = "Invalid Transaction: Inability to pay some fees (e.g. account balance too low)"


class PoolRejectedError(Exception):
    """A transaction that got into no block and cost nothing."""

    def __init__(self, error: ChainError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class Receipt:
    """A transaction in its block.

    Attributes:
        error: the chain's name of the failure, or None.
        fee: rao paid.
    """

    block: int
    index: int
    hash: str
    error: str | None
    fee: int
    events: list[Event] = field(default_factory=list)


def block_hash(genesis: bytes, number: int) -> str:
    """Hash of a block: 24 bytes that tie it to this chain, then its number."""
    digest = hashlib.blake2b(genesis + number.to_bytes(8, "big"), digest_size=24).hexdigest()
    return f"0x{digest}{number:016x}"


def block_of(genesis: bytes, text: str) -> int | None:
    """The number of the block with this hash; None when this chain has no such block."""
    try:
        number = int(text[-16:], 16)
    except ValueError:
        return None
    return number if block_hash(genesis, number) == text else None


def named_error(name: str) -> ChainError:
    """The SDK's error for one of the chain's own names."""
    return ChainError(ChainError(name, name).description or name, name)


def include(tx: Tx, extrinsic: Extrinsic) -> Receipt:
    """Put one transaction into the current block.

    Raises:
        PoolRejectedError: it does not get in; nothing has changed.
    """
    payer = fee_payer(tx, extrinsic)
    _admit(tx, extrinsic, payer)
    ledger.use_nonce(tx, extrinsic.signer)
    ledger.credit(tx, payer, -tx.params.fee_rao)
    error, events = _dispatch(tx, extrinsic)
    receipt = _record(tx, extrinsic, tx.params.fee_rao, error, events)
    if error is None and _kind(extrinsic) == SHIELD:
        _include_shielded(tx, extrinsic)
    return receipt


def fee_payer(tx: Tx, extrinsic: Extrinsic) -> str:
    """Who pays: the hotkey's owner for what a hotkey signs, the signer otherwise."""
    owner = ledger.owner_of(tx, extrinsic.signer)
    return owner if owner is not None and charges_coldkey_fee(extrinsic.call) else extrinsic.signer


def find(tx: Tx, extrinsic_hash: str, block: int) -> Receipt | None:
    """A transaction that is in a block, by its hash."""
    row = tx.db.execute(
        "SELECT block, idx, hash, error, fee, events FROM extrinsics WHERE hash = ? AND block = ?",
        (extrinsic_hash, block),
    ).fetchone()
    if row is None:
        return None
    number, index, digest, error, fee, events = row
    return Receipt(number, index, digest, error, fee, json.loads(events))


def to_result(tx: Tx, receipt: Receipt) -> ExtrinsicResult:
    """A receipt as the SDK's result."""
    error = named_error(receipt.error) if receipt.error else None
    return ExtrinsicResult(
        success=error is None,
        message=error.message if error else "Success",
        block_hash=block_hash(tx.genesis, receipt.block),
        extrinsic_id=f"{receipt.block}-{receipt.index:04d}",
        fee=Balance.from_rao(receipt.fee),
        events=[] if error else receipt.events,
        error=error,
    )


def _kind(extrinsic: Extrinsic) -> tuple[str, str]:
    return extrinsic.call.module, extrinsic.call.function


def _admit(tx: Tx, extrinsic: Extrinsic, payer: str) -> None:
    """What a node checks before a transaction may enter its pool."""
    if not extrinsic.is_genuine(tx.genesis):
        raise PoolRejectedError(chain_error_from_substrate_request(Exception(BAD_PROOF)))
    _, nonce = ledger.account(tx, extrinsic.signer)
    if extrinsic.nonce != nonce:
        reason = STALE if extrinsic.nonce < nonce else FUTURE
        raise PoolRejectedError(chain_error_from_substrate_request(Exception(reason)))
    try:
        if admission := ADMISSIONS.get(_kind(extrinsic)):
            admission(tx, extrinsic.signer, extrinsic.call.params)
    except DispatchError as error:
        raise PoolRejectedError(named_error(error.name)) from error
    if ledger.account(tx, payer)[0] < tx.params.fee_rao:
        raise PoolRejectedError(chain_error_from_substrate_request(Exception(NO_FEE)))


def _dispatch(tx: Tx, extrinsic: Extrinsic) -> tuple[str | None, list[Event]]:
    """Run the call; its changes are undone when it fails."""
    kind, params = _kind(extrinsic), extrinsic.call.params
    if kind == SHIELD:
        return None, [event(*SHIELD, {"who": extrinsic.signer})]
    tx.db.execute("SAVEPOINT call")
    try:
        events = CALLS[kind](tx, extrinsic.signer, params)
    except DispatchError as failure:
        tx.db.execute("ROLLBACK TO call")
        charge_attempt(tx, extrinsic.signer, kind[1], params["netuid"])
        return failure.name, []
    finally:
        tx.db.execute("RELEASE call")
    return None, [*events, event("System", "ExtrinsicSuccess", {})]


def _include_shielded(tx: Tx, carrier: Extrinsic) -> None:
    """Decrypt what the carrier holds and put it into the same block.

    Where the real chain would drop it, it is recorded as failed, so that its sender learns why
    instead of waiting until its era ends.
    """
    data = bytes.fromhex(str(carrier.call.params["ciphertext"]).removeprefix("0x"))
    opened = shield.unshield(tx, data)
    inner = decode(opened) if opened is not None else None
    if inner is None or _kind(inner) not in CALLS:
        return
    try:
        include(tx, inner)
    except PoolRejectedError as rejected:
        _record(tx, inner, 0, rejected.error.name or "BadRequest", [])


def _record(
    tx: Tx, extrinsic: Extrinsic, fee: int, error: str | None, events: list[Event]
) -> Receipt:
    (index,) = tx.db.execute(
        "SELECT COUNT(*) FROM extrinsics WHERE block = ?", (tx.head,)
    ).fetchone()
    call: dict[str, Any] = {
        "call_module": extrinsic.call.module,
        "call_function": extrinsic.call.function,
        "call_args": [{"name": k, "value": v} for k, v in extrinsic.call.params.items()],
    }
    if error is not None:
        events = [event("System", "ExtrinsicFailed", {"dispatch_error": error})]
    tx.db.execute(
        "INSERT INTO extrinsics VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(tx.head, index, extrinsic.hash, extrinsic.signer, json.dumps(call)),
            *(error, fee, json.dumps(events)),
        ),
    )
    return Receipt(tx.head, index, extrinsic.hash, error, fee, events)


def calls_in(tx: Tx, block: int) -> list[dict[str, Any]]:
    """The transactions of a block, as the SDK decodes them; the first one sets the time."""
    rows = tx.db.execute(
        "SELECT signer, call, hash FROM extrinsics WHERE block = ? ORDER BY idx", (block,)
    )
    now = {"name": "now", "value": int(tx.time_of(block) * 1000)}
    clock = {"call_module": "Timestamp", "call_function": "set", "call_args": [now]}
    signed = [
        {"address": signer, "call": json.loads(call), "extrinsic_hash": digest}
        for signer, call, digest in rows
    ]
    return [{"call": clock}, *signed]


def events_in(tx: Tx, block: int) -> list[dict[str, Any]]:
    """The events of a block, each with the index of its transaction."""
    rows = tx.db.execute(
        "SELECT idx, events FROM extrinsics WHERE block = ? ORDER BY idx", (block,)
    )
    return [{**one, "extrinsic_idx": index} for index, text in rows for one in json.loads(text)]
