"""Commit-reveal: opening timelocked weights when their time has come.

A commit is sealed to a future round of the public drand beacon. Nobody can open it before that
round's signature is published, this chain included, and this chain never asks the network. It
opens commits whose round's signature somebody has put in (`add_pulse`); the others expire at the
end of their reveal period without effect, as on the real chain when the beacon is away.
"""

import struct

import bittensor_core

from compute.adapters.chain.devchain.file import Tx
from compute.adapters.chain.devchain.ledger import Subnet, put_weights, uid_of
from compute.adapters.chain.devchain.rules import DispatchError, check_weights


def add_pulse(tx: Tx, beacon_round: int, signature_hex: str) -> None:
    """Tell the chain a drand quicknet signature (hex of 48 bytes)."""
    tx.db.execute(
        "INSERT OR REPLACE INTO pulses VALUES (?, ?)",
        (beacon_round, signature_hex.removeprefix("0x")),
    )


def reveal_due(tx: Tx, here: Subnet, epoch_index: int) -> None:
    """At an epoch: apply the commits whose time has come, drop those whose time is over."""
    due = epoch_index - here.params.reveal_period_epochs
    rows = tx.db.execute(
        "SELECT c.id, c.hotkey, c.ciphertext, c.reveal_round, p.signature, c.epoch"
        " FROM weight_commits c LEFT JOIN pulses p ON p.round = c.reveal_round"
        " WHERE c.netuid = ? AND c.epoch <= ? ORDER BY c.id",
        (here.netuid, due),
    ).fetchall()
    for commit, hotkey, ciphertext, beacon_round, signature, epoch in rows:
        if signature is not None:
            _apply(tx, here, hotkey, open_commit(ciphertext, beacon_round, signature))
        elif epoch == due:
            continue  # its epoch has only just come: the pulse may still arrive
        tx.db.execute("DELETE FROM weight_commits WHERE id = ?", (commit,))


def open_commit(ciphertext: bytes, beacon_round: int, signature_hex: str) -> bytes | None:
    """The sealed bytes, or None when this signature does not open them."""
    envelope = _compact(len(ciphertext)) + ciphertext + struct.pack("<Q", beacon_round)
    try:
        opened = bittensor_core.decrypt_with_signature(envelope, signature_hex)
    except ValueError:
        return None
    return None if opened is None else bytes(opened)


def encode_payload(
    hotkey: bytes, uids: list[int], values: list[int], version_key: int = 0
) -> bytes:
    """The plain text of a commit (SCALE): who, on whom, how much, which version."""
    parts = [_compact(len(hotkey)), hotkey]
    for numbers in (uids, values):
        parts += [_compact(len(numbers)), struct.pack(f"<{len(numbers)}H", *numbers)]
    return b"".join([*parts, struct.pack("<Q", version_key)])


def decode_payload(data: bytes) -> tuple[bytes, list[int], list[int]] | None:
    """The hotkey's public key, the UIDs and the values; None when it is not such a payload."""
    try:
        length, at = _read_compact(data, 0)
        hotkey, at = data[at : at + length], at + length
        vectors = []
        for _ in range(2):
            length, at = _read_compact(data, at)
            vectors.append(list(struct.unpack_from(f"<{length}H", data, at)))
            at += 2 * length
        struct.unpack_from("<Q", data, at)
    except (struct.error, IndexError):
        return None
    return hotkey, vectors[0], vectors[1]


def _apply(tx: Tx, here: Subnet, hotkey: str, opened: bytes | None) -> None:
    """Set revealed weights, if they are the committer's own and still allowed."""
    payload = decode_payload(opened) if opened is not None else None
    uid = uid_of(tx, here.netuid, hotkey)
    if payload is None or uid is None:
        return
    public_key, dests, values = payload
    if public_key != bytes(bittensor_core.ss58_decode(hotkey)):
        return
    try:
        check_weights(tx, here, uid, dests, values)
    except DispatchError:
        return
    put_weights(tx, here.netuid, uid, list(zip(dests, values, strict=True)))


def _compact(value: int) -> bytes:
    """A SCALE compact integer below 2**30."""
    for mode, bits, code in ((0, 6, "<B"), (1, 14, "<H"), (2, 30, "<I")):
        if value < 1 << bits:
            return struct.pack(code, value << 2 | mode)
    raise ValueError("too long for a commit")


def _read_compact(data: bytes, at: int) -> tuple[int, int]:
    """A SCALE compact integer and where it ends."""
    width = {0: 1, 1: 2, 2: 4}.get(data[at] & 3)
    if width is None or at + width > len(data):
        raise IndexError(at)
    return int.from_bytes(data[at : at + width], "little") >> 2, at + width
