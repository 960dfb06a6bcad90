"""A vector as it is published: signed by its validator, addressed by its hash.

The signature is over `weights/1` and the SHA-256 of the canonical document without it.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from compute.domain.evidence import Hex32, HexSignature, Verify, canonical
from compute.domain.hardware import Count, Name, Value
from compute.domain.measurement import U16, Weight
from compute.errors import Code, PeerError


class Publication(Value):
    """One epoch's vector.

    Attributes:
        sha256: address, see `compute.domain.vector.address`.
        vector: UID (decimal text) to weight, the largest 65535.
        epoch_block: first block of the epoch that it is for.
        block: at which it was computed.
        evidence_seq: last record that was taken into account, with its hash.
        signature: hex.
    """

    version: Literal[1] = 1
    netuid: Annotated[int, Field(ge=0, le=U16)]
    sha256: Hex32
    vector: Annotated[dict[str, Weight], Field(max_length=65536)]
    epoch_block: Count
    block: Count
    policy: Name
    policy_sha256: Hex32
    evidence_seq: Count
    evidence_hash: Hex32
    validator: Name
    created_ms: Count
    signature: HexSignature = ""

    @property
    def weights(self) -> dict[int, int]:
        """The vector by UID as a number."""
        return {int(uid): weight for uid, weight in self.vector.items()}


def statement(publication: Publication) -> bytes:
    """The exact bytes that are signed."""
    unsigned = canonical(publication.model_dump(mode="json", exclude={"signature"}))
    return f"weights/1\n{sha256(unsigned).hexdigest()}".encode()


def sign(publication: Publication, key: Callable[[bytes], bytes]) -> Publication:
    """A publication with its signature."""
    return publication.model_copy(update={"signature": key(statement(publication)).hex()})


def read(text: str | bytes, verify: Verify) -> Publication:
    """Read a publication and check its signature, its address and its UIDs.

    Raises:
        PeerError: `PEER_INVALID` when it is not one, or does not hold.
    """
    try:
        found = Publication.model_validate_json(text)
    except ValidationError as error:
        raise PeerError(Code.PEER_INVALID, "this is not a published vector") from error
    if any(not uid.isdecimal() or str(int(uid)) != uid or int(uid) > U16 for uid in found.vector):
        raise PeerError(Code.PEER_INVALID, "the vector names something that is no UID")
    named = {
        "vector": found.vector,
        "netuid": found.netuid,
        "epoch_block": found.epoch_block,
        "policy": found.policy_sha256,
    }
    if sha256(canonical(named)).hexdigest() != found.sha256:
        raise PeerError(Code.PEER_INVALID, "the vector does not have the address that it names")
    if not verify(statement(found), bytes.fromhex(found.signature), found.validator):
        raise PeerError(Code.PEER_INVALID, "the vector's signature does not hold")
    return found
