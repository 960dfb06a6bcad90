"""What a validator measured: immutable, signed records in one hash chain.

A record's hash covers everything in it but the hash and the signature, the hash of the record
before it included, so that a changed byte anywhere is found. Its signature is the validator's
hotkey's, over `evidence/1`, the network's id and the hash. Records hold integers, text, booleans,
lists and mappings only: no floating point number, so that the same record has the same bytes on
every machine.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, StringConstraints

from compute.domain.hardware import Count, Name, Value

GENESIS = "0" * 64  # what the first record of a log names as its predecessor
Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
HexSignature = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{0,256}$")]
Detail = Annotated[str, Field(max_length=500)]
RoundId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9:._-]{0,95}$")]


class EvidenceKind(StrEnum):
    """What a record tells about."""

    SPECS = "specs"
    PROOF = "proof"
    PROBE = "probe"
    PING = "ping"
    PENALTY = "penalty"
    SCORES = "scores"
    WEIGHTS = "weights"


class Outcome(StrEnum):
    """How a measurement ended. Inconclusive means a fault on our side: it changes no score."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


class Reason(StrEnum):
    """Why a measurement ended as it did; stable names for programs."""

    OK = "ok"
    # The miner's failures.
    NO_AXON = "no_axon"
    UNREACHABLE = "unreachable"
    LATE = "late"
    REFUSED = "refused"
    MALFORMED = "malformed"
    BAD_RECEIPT = "bad_receipt"
    BAD_ADDRESS = "bad_address"
    PROVER_FAILED = "prover_failed"
    OPENING_FAILED = "opening_failed"
    SLOW = "slow"
    MEMORY_SHORT = "memory_short"
    UNKNOWN_GPU = "unknown_gpu"
    NOTHING_CLAIMED = "nothing_claimed"
    PROBE_FAILED = "probe_failed"
    RENTAL_DOWN = "rental_down"
    IDENTITY_CHANGED = "identity_changed"
    # Not the miner's: never held against anybody.
    OUR_FAULT = "our_fault"
    CHAIN_AWAY = "chain_away"
    MASS_OUTAGE = "mass_outage"
    BUSY = "busy"
    CANCELLED = "cancelled"


INNOCENT = frozenset(
    {Reason.OUR_FAULT, Reason.CHAIN_AWAY, Reason.MASS_OUTAGE, Reason.BUSY, Reason.CANCELLED}
)


class ReceiptEntry(Value):
    """A miner's signature under one of its answers, see `compute.protocol`.

    Attributes:
        status: HTTP status of the answer.
        body_sha256: of the answer's exact bytes.
        nonce: the request's.
        caller: this validator's hotkey.
        callee: the miner's hotkey.
        scheme: of the signature, `sr25519` or `ed25519`.
        signature: hex, over the receipt's lines.
    """

    status: Annotated[int, Field(ge=100, le=599)]
    body_sha256: Hex32
    nonce: Name
    caller: Name
    callee: Name
    scheme: Name = "sr25519"
    signature: HexSignature


class Observation(Value):
    """One measurement, before it is signed and chained.

    Attributes:
        round: id of the round; with `miner` and `kind` it names the measurement, so that a
            repeat after a crash is not counted twice.
        miner: hotkey (ss58) of whom it is about; empty for the subnet as a whole.
        block: chain block at which it was taken.
        at_ms: Unix milliseconds, for people; scores read blocks only.
        content: facts, see `compute.domain.measurement`.
        receipts: the miner's signatures that go with it.
    """

    kind: EvidenceKind
    round: RoundId
    miner: Name = ""
    block: Count
    at_ms: Count
    outcome: Outcome = Outcome.PASSED
    reason: Reason = Reason.OK
    detail: Detail = ""
    content: dict[str, JsonValue] = Field(default_factory=dict)
    receipts: Annotated[tuple[ReceiptEntry, ...], Field(max_length=64)] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes a measurement one: round, miner, kind."""
        return (self.round, self.miner, self.kind.value)


class Record(Observation):
    """An observation in its place in the log.

    Attributes:
        seq: position, from 1, without gaps.
        prev: hash of the record before.
        validator: hotkey (ss58) that signs.
        hash: SHA-256 of the canonical bytes of everything above.
        signature: hex, by the validator's hotkey over `statement(hash)`.
    """

    version: Literal[1] = 1
    seq: Annotated[int, Field(ge=1, le=2**53)]
    prev: Hex32
    validator: Name
    netuid: Annotated[int, Field(ge=0, le=65535)]
    hash: Hex32
    signature: HexSignature


class BrokenEvidence(Exception):  # noqa: N818 - named as what it is
    """A log that does not hold together; the message names the record and the reason."""


Verify = Callable[[bytes, bytes, str], bool]
"""(message, signature, ss58 address) -> whether the signature holds."""


def canonical(value: Any) -> bytes:
    """The one JSON text of a value: keys sorted, no spaces, ASCII; floats are refused.

    Raises:
        TypeError: for a floating point number or anything else that JSON has no exact form for.
    """
    _refuse_floats(value)
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode()


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        raise TypeError("evidence holds no floating point numbers")
    if isinstance(value, Mapping):
        for item in value.values():
            _refuse_floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)


def statement(digest: str, netuid: int) -> bytes:
    """The exact bytes that a validator signs under a record."""
    return f"evidence/1\n{netuid}\n{digest}".encode()


def chain(
    observation: Observation,
    *,
    seq: int,
    prev: str,
    validator: str,
    netuid: int,
    sign: Callable[[bytes], bytes],
) -> Record:
    """Give an observation its place after the record whose hash is `prev`, and sign it.

    Raises:
        TypeError: when the content holds a floating point number.
    """
    fields = observation.model_dump(mode="json") | {
        "version": 1,
        "seq": seq,
        "prev": prev,
        "validator": validator,
        "netuid": netuid,
    }
    digest = sha256(canonical(fields)).hexdigest()
    signature = sign(statement(digest, netuid)).hex()
    return Record.model_validate(fields | {"hash": digest, "signature": signature})


def digest_of(record: Record) -> str:
    """Recompute a record's hash from its content."""
    return sha256(
        canonical(record.model_dump(mode="json", exclude={"hash", "signature"}))
    ).hexdigest()


def check_chain(records: Iterable[Record], verify: Verify) -> Iterator[Record]:
    """Pass records on while they hold together: hashes, order, links, signatures, one validator.

    A log may start anywhere: retention cuts old records off, so the first `prev` is taken as is.

    Raises:
        BrokenEvidence: at the first record that does not hold.
    """
    previous: Record | None = None
    for record in records:
        _check_one(record, previous, verify)
        previous = record
        yield record


def _check_one(record: Record, previous: Record | None, verify: Verify) -> None:
    if digest_of(record) != record.hash:
        raise BrokenEvidence(f"record {record.seq}: its content was changed")
    if previous is not None:
        if (record.seq, record.prev) != (previous.seq + 1, previous.hash):
            raise BrokenEvidence(f"record {record.seq}: it does not follow record {previous.seq}")
        if (record.validator, record.netuid) != (previous.validator, previous.netuid):
            raise BrokenEvidence(f"record {record.seq}: it is another validator's")
    elif record.seq == 1 and record.prev != GENESIS:
        raise BrokenEvidence("record 1: it does not start the log")
    signed = statement(record.hash, record.netuid)
    if not verify(signed, bytes.fromhex(record.signature), record.validator):
        raise BrokenEvidence(f"record {record.seq}: its signature does not hold")


def to_line(record: Record) -> str:
    """A record as one line of an export, without the newline."""
    return canonical(record.model_dump(mode="json")).decode()


def from_line(line: str) -> Record:
    """Read one line of an export.

    Raises:
        BrokenEvidence: when the line is not a record.
    """
    try:
        return Record.model_validate_json(line)
    except ValueError as error:
        raise BrokenEvidence(f"not a record of evidence: {str(error).splitlines()[0]}") from error
