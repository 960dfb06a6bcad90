"""Commitments: a few bytes that a hotkey publishes on a subnet."""

import json
from collections.abc import Mapping
from typing import Any

from compute.adapters.chain.devchain.file import Tx
from compute.adapters.chain.devchain.ledger import subnet, uid_of
from compute.adapters.chain.devchain.rules import DispatchError, ensure

MAX_FIELDS = 1
MAX_RAW_BYTES = 128
MAX_BIG_RAW_BYTES = 512
MIN_CHARGED_BYTES = 100
HASH_BYTES = 32
HASHES = {"BlakeTwo256", "Sha256", "Keccak256", "ShaThree256"}


def set_commitment(tx: Tx, signer: str, args: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Publish the signer's commitment in place of the one before."""
    here = subnet(tx, args["netuid"])
    registered = here is not None and uid_of(tx, here.netuid, signer) is not None
    ensure(registered, "AccountNotAllowedCommit")
    assert here is not None  # noqa: S101 - `ensure` has seen to it
    fields = flat_fields(args["info"])
    ensure(len(fields) <= MAX_FIELDS, "TooManyFieldsInCommitmentInfo")
    size = max(sum(_size(field) for field in fields), MIN_CHARGED_BYTES)
    row = tx.db.execute(
        "SELECT used FROM commitments WHERE netuid = ? AND hotkey = ? AND epoch = ?",
        (here.netuid, signer, here.epoch_index),
    ).fetchone()
    used = size + (row[0] if row else 0)
    ensure(used <= here.params.commitment_space, "SpaceLimitExceeded")
    tx.db.execute(
        "INSERT OR REPLACE INTO commitments VALUES (?, ?, ?, ?, ?, ?)",
        (here.netuid, signer, tx.head, json.dumps(fields), here.epoch_index, used),
    )
    attributes = {"netuid": here.netuid, "who": signer}
    return [
        {
            "event": {
                "module_id": "Commitments",
                "event_id": "Commitment",
                "attributes": attributes,
            }
        }
    ]


def registration(block: int, fields: str) -> dict[str, Any]:
    """A stored commitment as the SDK reads it."""
    return {"deposit": 0, "block": block, "info": {"fields": json.loads(fields)}}


def flat_fields(info: Mapping[str, Any]) -> list[Any]:
    """The fields of a commitment's info; the SDK nests them in one more list than it reads."""
    out: list[Any] = []
    for entry in info.get("fields") or []:
        out.extend(entry if isinstance(entry, list) else [entry])
    return out


def _size(field: Any) -> int:
    """Bytes of one field; raises `DispatchError` when it is not one that can be decoded."""
    if isinstance(field, dict) and len(field) == 1:
        ((variant, value),) = field.items()
        if variant == "TimelockEncrypted":
            return len(_bytes(value.get("encrypted")))
        size = len(_bytes(value))
        raw = variant.startswith("Raw") and variant[3:] == str(size) and size <= MAX_RAW_BYTES
        big = variant == "BigRaw" and size <= MAX_BIG_RAW_BYTES
        if raw or big or (variant in HASHES and size == HASH_BYTES):
            return size
    raise DispatchError("InvalidValue")


def _bytes(value: Any) -> bytes:
    try:
        return bytes.fromhex(str(value).removeprefix("0x"))
    except ValueError:
        raise DispatchError("InvalidValue") from None
