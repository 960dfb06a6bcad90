"""Weights vectors in whole numbers: sharing, clipping to the subnet's limit, and their address."""

from collections.abc import Mapping
from hashlib import sha256

from compute.domain.evidence import canonical
from compute.domain.measurement import PPM, U16, Snapshot

Vector = dict[int, int]
SCALE = 10**15  # resolution of one challenge's part before the vector is quantised


def share_out(parts: Mapping[str, Mapping[int, int]], shares: Mapping[str, int]) -> dict[int, int]:
    """Add up several challenges' scores, each normalised to its share.

    A challenge without a positive score contributes nothing, and takes nothing from the others.

    Args:
        parts: challenge to (UID to score), any scale each.
        shares: challenge to its relative share.
    """
    total: dict[int, int] = {}
    for name in sorted(parts):
        whole = sum(parts[name].values())
        for uid, score in parts[name].items():
            if score > 0 and shares.get(name, 0) > 0:
                total[uid] = total.get(uid, 0) + shares[name] * score * SCALE // whole
    return {uid: value for uid, value in sorted(total.items()) if value > 0}


def burn(weights: Mapping[int, int], uid: int | None, share_ppm: int) -> dict[int, int]:
    """Move a share of the vector to the burning UID; all of it when nobody earned."""
    if uid is None:
        return dict(weights)
    if not weights:
        return {uid: SCALE}
    whole = sum(weights.values())
    kept = {to: value * (PPM - share_ppm) for to, value in weights.items()}
    kept[uid] = kept.get(uid, 0) + whole * share_ppm
    return {to: value for to, value in sorted(kept.items()) if value > 0}


def clip(weights: Mapping[int, int], limit: int) -> dict[int, int]:
    """Cap each share of the sum at `limit` / 65535; what is cut off goes to the others by share.

    A limit that cannot be met (too few earners) gives equal shares, as the chain expects.
    """
    clipped = dict(weights)
    if limit >= U16 or not clipped:
        return clipped
    if len(clipped) * limit <= U16:
        return dict.fromkeys(clipped, 1)
    capped: set[int] = set()
    while True:
        rest = sum(value for uid, value in clipped.items() if uid not in capped)
        cap = limit * rest // (U16 - limit * len(capped))
        over = {uid for uid, value in clipped.items() if uid not in capped and value > cap}
        if not over:
            return {uid: cap if uid in capped else value for uid, value in clipped.items()}
        capped |= over
        if U16 - limit * len(capped) <= 0:
            return dict.fromkeys(clipped, 1)


def quantise(weights: Mapping[int, int]) -> Vector:
    """Scale so that the largest weight is 65535, rounding up: no earner is rounded to nothing."""
    top = max(weights.values(), default=0)
    if top <= 0:
        return {}
    return {uid: -(-value * U16 // top) for uid, value in sorted(weights.items()) if value > 0}


def address(vector: Mapping[int, int], snapshot: Snapshot, policy_sha256: str) -> str:
    """SHA-256 (hex) by which a vector is known: what it pays, where, for which epoch and why."""
    named = {
        "vector": {str(uid): weight for uid, weight in vector.items()},
        "netuid": snapshot.netuid,
        "epoch_block": snapshot.epoch_block,
        "policy": policy_sha256,
    }
    return sha256(canonical(named)).hexdigest()
