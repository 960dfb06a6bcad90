"""Transactions: composed, signed, and told apart by their hash.

The bytes are canonical JSON where the real chain has SCALE; nothing outside this package looks
inside. The signature is a real one, over the call, the signer's nonce and the chain's genesis.
"""

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bittensor_core
from bittensor import ChainError, ErrorCode


@dataclass(frozen=True, slots=True)
class ComposedCall:
    """A call ready to be signed.

    Attributes:
        module: pallet, such as `SubtensorModule`.
        function: call, such as `serve_axon`.
        params: arguments; bytes are 0x-hex.
    """

    module: str
    function: str
    params: Mapping[str, Any]

    @property
    def data(self) -> bytes:
        """The call's encoding."""
        body = [self.module, self.function, dict(self.params)]
        return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Extrinsic:
    """A signed transaction.

    Attributes:
        signer: address (ss58) of the key that signed.
        crypto_type: 0 for ed25519, 1 for sr25519.
    """

    call: ComposedCall
    signer: str
    nonce: int
    crypto_type: int
    signature: bytes

    @property
    def data(self) -> bytes:
        """The transaction's encoding."""
        call = self.call
        body = {
            "call": [call.module, call.function, dict(call.params)],
            "signer": self.signer,
            "nonce": self.nonce,
            "crypto_type": self.crypto_type,
            "signature": self.signature.hex(),
        }
        return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()

    @property
    def hash(self) -> str:
        """0x-hex of the BLAKE2b-256 of the encoding."""
        return "0x" + hashlib.blake2b(self.data, digest_size=32).hexdigest()

    def is_genuine(self, genesis: bytes) -> bool:
        """Whether the signature holds on this chain."""
        payload = _payload(self.call, self.nonce, genesis)
        try:
            return bool(
                bittensor_core.verify(payload, self.signature, self.signer, self.crypto_type)
            )
        except ValueError:
            return False


def compose(call: Any) -> ComposedCall:
    """Make a generated `(module, function, params)` call ready; bytes become 0x-hex.

    Raises:
        ChainError: an argument is of a type that no call takes, or a number is out of range.
    """
    if isinstance(call, ComposedCall):
        return call
    module, function, params = call
    plain = {name: _plain(function, name, value) for name, value in params.items()}
    return ComposedCall(module, function, plain)


async def sign(call: ComposedCall, keypair: Any, nonce: int, genesis: bytes) -> Extrinsic:
    """Sign a call with a keypair, or with anything that signs like one."""
    signature = keypair.sign(_payload(call, nonce, genesis))
    if inspect.isawaitable(signature):
        signature = await signature
    kind = int(keypair.crypto_type)
    return Extrinsic(call, str(keypair.ss58_address), nonce, kind, bytes(signature))


def decode(data: bytes) -> Extrinsic | None:
    """Read a transaction's encoding; None when it is none."""
    try:
        body = json.loads(data)
        module, function, params = body["call"]
        return Extrinsic(
            ComposedCall(module, function, params),
            str(body["signer"]),
            int(body["nonce"]),
            int(body["crypto_type"]),
            bytes.fromhex(body["signature"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _payload(call: ComposedCall, nonce: int, genesis: bytes) -> bytes:
    return hashlib.blake2b(
        b"devchain/1" + genesis + nonce.to_bytes(8, "little") + call.data, digest_size=32
    ).digest()


_BITS = {
    "netuid": 16,
    "mecid": 8,
    "port": 16,
    "ip": 128,
    "ip_type": 8,
    "protocol": 8,
    "version": 32,
    "version_key": 64,
    "dests": 16,
    "weights": 16,
    "reveal_round": 64,
    "commit_reveal_version": 16,
}
"""Width of the numbers in the calls that this chain has."""


def _plain(function: str, name: str, value: Any) -> Any:
    """An argument as plain JSON, its numbers within the width that the chain encodes."""
    if isinstance(value, bytes | bytearray):
        return "0x" + bytes(value).hex()
    if isinstance(value, Mapping):
        return {key: _plain(function, key, inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(function, name, inner) for inner in value]
    if name == "hotkey" and not _is_address(value):
        raise _refusal(f"{function}: {name} is no address")
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value < 1 << _BITS.get(name, 128):
            raise _refusal(f"{function}: {name} is out of range")
        return int(value)
    if value is None or isinstance(value, str | bool):
        return value
    raise _refusal(f"{function}: {name} cannot be encoded")


def _is_address(value: Any) -> bool:
    try:
        bittensor_core.ss58_decode(value)
    except (ValueError, TypeError):
        return False
    return True


def _refusal(text: str) -> ChainError:
    return ChainError(text, code=ErrorCode.INVALID_ARGUMENT)
