"""A miner's signed statement that a lease is gone: what it says byte for byte, and its check."""

from collections.abc import Iterable

from compute.errors import Code, PeerError
from compute.protocol.keys import Key, scheme_of, signature_holds
from compute.protocol.synapses import TeardownProof


def statement(lease_id: str, container: str, ended_at: float, checks: Iterable[str]) -> bytes:
    """The exact bytes that a miner's hotkey signs: newline-joined, `ended_at` in milliseconds."""
    lines = ("teardown/1", lease_id, container, str(round(ended_at * 1000)), *checks)
    return "\n".join(lines).encode()


def sign_teardown(
    key: Key, lease_id: str, container: str, ended_at: float, checks: tuple[str, ...]
) -> TeardownProof:
    """State that a lease's container is gone and what else was checked."""
    signature = key.sign(statement(lease_id, container, ended_at, checks))
    return TeardownProof(
        container=container,
        ended_at=ended_at,
        checks=checks,
        hotkey=key.ss58_address,
        signature=f"{scheme_of(key)}:{signature.hex()}",
    )


def verify_teardown(proof: TeardownProof, lease_id: str, hotkey: str) -> None:
    """Check a proof of teardown against the lease and the miner.

    Raises:
        PeerError: `PEER_INVALID` when another key signed, or the signature does not hold.
    """
    scheme, _, signature = proof.signature.partition(":")
    said = statement(lease_id, proof.container, proof.ended_at, proof.checks)
    try:
        raw = bytes.fromhex(signature)
    except ValueError:
        raw = b""
    if proof.hotkey != hotkey or not signature_holds(said, raw, hotkey, scheme):
        raise PeerError(Code.PEER_INVALID, "the proof of teardown is not signed by this miner")
