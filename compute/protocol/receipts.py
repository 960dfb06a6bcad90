"""Receipts: an axon signs every answer, and a dendrite keeps the proof.

The callee's hotkey signs six lines joined by newlines: `receipt/1`, the status in decimal, the
SHA-256 of the body in lower-case hex, the request's nonce, the caller and the callee (ss58). The
header carries `scheme:0x…`. Where a request named no caller or nonce, `-` stands in its place.

A receipt record also holds the request with the caller's own signature. Together they show to a
third party what was asked and what was answered. What they do not show: the answer's signature
covers the request's nonce and not its content, so that a *caller* could sign a second request with
the same nonce and pair it with the answer.
"""

import re
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, StringConstraints, ValidationError

from compute.domain.hardware import Value
from compute.errors import AdmissionError, Code, PeerError, UsageError
from compute.protocol import auth
from compute.protocol.auth import Claim
from compute.protocol.keys import Key, Scheme, scheme_of, signature_holds
from compute.protocol.synapses import Base64Bytes, Ss58

NOBODY = "-"
_MAX_FILE_BYTES = 64 * 1024 * 1024
_SHAPE = re.compile(r"(sr25519|ed25519):(0x[0-9a-f]{128})")

Signature = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{128}$")]
Decimal = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,19}$")]


class Parties(NamedTuple):
    """Whose exchange an answer belongs to."""

    caller: str
    callee: str
    nonce: str


def statement(status: int, body: bytes, parties: Parties) -> bytes:
    """The exact bytes that are signed."""
    digest = sha256(body).hexdigest()
    lines = ("receipt/1", str(status), digest, parties.nonce, parties.caller, parties.callee)
    return "\n".join(lines).encode()


def sign(key: Key, status: int, body: bytes, parties: Parties) -> str:
    """The header's value for one answer."""
    return f"{scheme_of(key)}:0x{bytes(key.sign(statement(status, body, parties))).hex()}"


class Receipt(Value):
    """One exchange with both signatures: who asked what, who answered what.

    Attributes:
        caller: hotkey that asked (ss58), `callee` that answered.
        nonce: the request's, Unix time in nanoseconds.
        method: of the request, with `target`, `request_body` and the caller's `request_signature`.
        status: HTTP status of the answer, with `body` exactly as it came.
        signature: the callee's, over the statement described above.
        received_at: when the caller had the answer, Unix seconds by his own clock; not proven.
    """

    version: Literal[1] = 1
    caller: Ss58
    callee: Ss58
    nonce: Decimal
    method: Annotated[str, Field(max_length=16)]
    target: Annotated[str, Field(max_length=2048)]
    request_body: Base64Bytes
    request_scheme: Scheme
    request_signature: Signature
    status: Annotated[int, Field(ge=100, le=599)]
    body: Base64Bytes
    scheme: Scheme
    signature: Signature
    received_at: Annotated[float, Field(ge=0, le=2**40)]

    def to_json(self) -> str:
        """The record as JSON text."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> "Receipt":
        """Read a record; nothing is verified.

        Raises:
            PeerError: `RECEIPT` when it is not one.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise PeerError(Code.RECEIPT, "this is not a receipt record") from error


def parse_header(value: str | None) -> tuple[Scheme, str]:
    """Scheme and signature of a receipt header.

    Raises:
        PeerError: `RECEIPT` when it is missing or malformed.
    """
    match = _SHAPE.fullmatch(value or "")
    if match is None:
        raise PeerError(Code.RECEIPT, "missing" if value is None else "malformed")
    return ("ed25519" if match[1] == "ed25519" else "sr25519"), match[2]


def check(status: int, body: bytes, parties: Parties, scheme: str, signature: str) -> None:
    """Check an answer's signature.

    Raises:
        PeerError: `RECEIPT` when it does not hold.
    """
    signed = statement(status, body, parties)
    if not signature_holds(signed, bytes.fromhex(signature[2:]), parties.callee, scheme):
        raise PeerError(Code.RECEIPT, "the signature does not hold")


def verify_receipt(receipt: Receipt) -> None:
    """Check a record offline: the callee's signature, and the caller's over the request.

    Raises:
        PeerError: `RECEIPT`, with the side whose signature does not hold.
    """
    parties = Parties(receipt.caller, receipt.callee, receipt.nonce)
    check(receipt.status, receipt.body, parties, receipt.scheme, receipt.signature)
    claim = Claim(
        hotkey=receipt.caller,
        receiver=receipt.callee,
        nonce=receipt.nonce,
        scheme=receipt.request_scheme,
        signature=receipt.request_signature,
    )
    try:
        auth.verify(claim, method=receipt.method, target=receipt.target, body=receipt.request_body)
    except AdmissionError as error:
        raise PeerError(Code.RECEIPT, "the request's signature does not hold") from error


def save_receipt(path: Path, receipt: Receipt) -> None:
    """Write a record to a file.

    Raises:
        UsageError: when the file cannot be written.
    """
    try:
        path.write_text(receipt.to_json() + "\n")
    except OSError as error:
        raise UsageError(f"the receipt cannot be written: {error.strerror}") from error


def load_receipt(path: Path) -> Receipt:
    """Read a record from a file; nothing is verified.

    Raises:
        UsageError: when the file cannot be read.
        PeerError: `RECEIPT` when it holds no record.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"the receipt cannot be read: {error.strerror}") from error
    if len(content) > _MAX_FILE_BYTES:
        raise PeerError(Code.RECEIPT, "the file is too large for a receipt record")
    return Receipt.from_json(content)
