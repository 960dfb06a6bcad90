"""Signed requests: the SDK's `btauth/1`, read more strictly than the SDK reads it.

The SDK verifies; this module only narrows what it is given. The SDK is lenient in how a header may
be spelled (case of hex digits, signs and spaces in numbers, repeated headers). Here a header has
one spelling, so that changing any byte of an authentication header makes the request invalid.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bittensor import http_auth

from compute.errors import AdmissionError, Code
from compute.protocol.clock import Clock
from compute.protocol.keys import ADDRESS, Key, Scheme, scheme_of

Headers = Iterable[tuple[bytes, bytes]]

_DEFAULT_SCHEME = "sr25519"
_NONCE = re.compile(r"[1-9][0-9]{0,19}")
_SIGNATURE = re.compile(r"0x[0-9a-f]{128}")
_FIELDS = {
    name.lower().encode(): name
    for name in (
        http_auth.HEADER_VERSION,
        http_auth.HEADER_HOTKEY,
        http_auth.HEADER_RECEIVER,
        http_auth.HEADER_NONCE,
        http_auth.HEADER_CRYPTO,
        http_auth.HEADER_SIGNATURE,
    )
}


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request's headers say, well-formed but unproven.

    Attributes:
        hotkey: who claims to call (ss58).
        receiver: whom he means to call (ss58).
        nonce: Unix time in nanoseconds, in decimal.
        scheme: `sr25519` or `ed25519`.
        signature: `0x` and 128 lower-case hex digits.
    """

    hotkey: str
    receiver: str
    nonce: str
    scheme: Scheme
    signature: str

    @property
    def nonce_ns(self) -> int:
        """The nonce as a number."""
        return int(self.nonce)

    def headers(self) -> dict[str, str]:
        """The headers in the one spelling that is accepted."""
        fields = {
            http_auth.HEADER_VERSION: http_auth.VERSION,
            http_auth.HEADER_HOTKEY: self.hotkey,
            http_auth.HEADER_RECEIVER: self.receiver,
            http_auth.HEADER_NONCE: self.nonce,
            http_auth.HEADER_SIGNATURE: self.signature,
        }
        if self.scheme != _DEFAULT_SCHEME:
            fields[http_auth.HEADER_CRYPTO] = self.scheme
        return fields


def read_claim(headers: Headers) -> Claim:
    """Read the authentication headers.

    Raises:
        AdmissionError: `UNAUTHENTICATED` when one is missing, repeated or spelled differently.
    """
    found: dict[str, str] = {}
    for raw_name, value in headers:
        name = _FIELDS.get(raw_name.lower())
        if name is None:
            continue
        if name in found:
            raise _refuse(f"{name} is repeated")
        found[name] = value.decode("latin-1")
    if found.get(http_auth.HEADER_VERSION) != http_auth.VERSION:
        raise _refuse(f"{http_auth.HEADER_VERSION} is missing or not {http_auth.VERSION}")
    return Claim(
        hotkey=_read(found, http_auth.HEADER_HOTKEY, ADDRESS),
        receiver=_read(found, http_auth.HEADER_RECEIVER, ADDRESS),
        nonce=_read(found, http_auth.HEADER_NONCE, _NONCE),
        scheme=_scheme(found.get(http_auth.HEADER_CRYPTO)),
        signature=_read(found, http_auth.HEADER_SIGNATURE, _SIGNATURE),
    )


def _read(found: dict[str, str], name: str, shape: re.Pattern[str]) -> str:
    value = found.get(name)
    if value is None:
        raise _refuse(f"{name} is missing")
    if not shape.fullmatch(value):
        raise _refuse(f"{name} is malformed")
    return value


def _scheme(value: str | None) -> Scheme:
    if value is None or value == "sr25519":
        return "sr25519"
    if value == "ed25519":
        return "ed25519"
    raise _refuse(f"{http_auth.HEADER_CRYPTO} is malformed")


def _refuse(detail: str) -> AdmissionError:
    return AdmissionError(Code.UNAUTHENTICATED, detail)


@dataclass(frozen=True, slots=True)
class Window:
    """When a nonce is fresh.

    Attributes:
        max_age_s: seconds back.
        skew_s: seconds ahead.
        started_ns: nonces older than this process are refused.
        settled_ns: until this time a predecessor's nonce cannot be told from a new one.
    """

    max_age_s: float
    skew_s: float
    started_ns: int
    settled_ns: int

    def check(self, nonce_ns: int, now_ns: int) -> None:
        """Refuse a nonce that is not fresh.

        Raises:
            AdmissionError: `STALE` outside the window, `REPLAYED` when older than the process,
                `BUSY` while a predecessor's nonce cannot be told from a new one.
        """
        if now_ns - nonce_ns > self.max_age_s * 1e9:
            raise AdmissionError(Code.STALE, f"the nonce is older than {self.max_age_s:g} s")
        if nonce_ns - now_ns > self.skew_s * 1e9:
            raise AdmissionError(Code.STALE, f"the nonce is over {self.skew_s:g} s in the future")
        if nonce_ns < self.started_ns:
            raise AdmissionError(Code.REPLAYED, "the nonce is older than this process")
        if nonce_ns < self.settled_ns:
            raise AdmissionError(
                Code.BUSY,
                "the neuron has just started",
                retry_after_s=max(0.001, (self.settled_ns - now_ns) / 1e9),
            )


def verify(claim: Claim, *, method: str, target: str, body: bytes) -> None:
    """Check the signature over method, target, body, nonce, caller and receiver.

    Freshness and replay are not looked at: see `Window` and `compute.protocol.nonces`.

    Raises:
        AdmissionError: `UNAUTHENTICATED`.
    """
    try:
        http_auth.verify(
            claim.headers(),
            body,
            method=method,
            path=target,
            self_hotkey_ss58=claim.receiver,
            now_ns=claim.nonce_ns,
            nonce_store=_FORGETFUL,
        )
    except http_auth.AuthError as error:
        raise _refuse("the signature does not hold") from error


class _Forgetful:
    """A store that finds every nonce new."""

    def check_and_store(self, hotkey_ss58: str, nonce_ns: int) -> bool:
        del hotkey_ss58, nonce_ns
        return True


_FORGETFUL = _Forgetful()


class Signer:
    """Signs requests of one hotkey, each with a nonce of its own.

    Args:
        key: the caller's.
        clock: nonces are of its wall side, and never repeat or go back.
    """

    def __init__(self, key: Key, clock: Clock) -> None:
        self._key = key
        self._address = key.ss58_address
        self._scheme = scheme_of(key)
        self._clock = clock
        self._last_ns = 0

    def sign(self, receiver: str, *, method: str, target: str, body: bytes) -> Claim:
        """Authenticate one request to one receiver: `headers()` of the claim are what is sent."""
        self._last_ns = max(self._last_ns + 1, self._clock.time_ns())
        payload = http_auth.build_payload(
            scheme=self._scheme,
            method=method,
            path=target,
            body=body,
            nonce_ns=self._last_ns,
            sender_ss58=self._address,
            receiver_ss58=receiver,
        )
        return Claim(
            hotkey=self._address,
            receiver=receiver,
            nonce=str(self._last_ns),
            scheme=self._scheme,
            signature=f"0x{bytes(self._key.sign(payload)).hex()}",
        )
