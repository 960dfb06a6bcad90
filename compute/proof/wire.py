"""The messages of a proof session: fixed lengths, known to the receiver before they come.

A frame is a header of eight bytes and a payload::

    u8 kind · u8 gpu · u16 protocol version · u32 payload length        little-endian

    SETUP   gpu = number of GPUs    n, M, Ns (u32 each) for each GPU
    READY   gpu                     status, path, device name, device memory: 64 bytes, a claim
    START   gpu = number of GPUs    slot (32 bytes), then sub (32 bytes) of each GPU
    ROOT_A  gpu                     32 bytes
    SWEEP   gpu                     κ (32 bytes)
    ROOT_B  gpu                     32 bytes
    OPEN    gpu                     u8 mode, u8 which sweep, u16 k, then k times (u32 j, u32 r)
    UNITS   gpu                     k records of `unit_dtype`

Whoever receives compares a header's length with what its state calls for before it reads on.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compute.proof.sizes import (
    HASH_BYTES,
    LEAF_BYTES,
    MAX_GPUS,
    MAX_UNITS,
    SEED_BYTES,
    Sizes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = 1
_HEADER = struct.Struct("<BBHI")
_SIZES = struct.Struct("<III")
_READY = struct.Struct("<B7xQ16s32s")
_OPEN = struct.Struct("<BBH")
_UNIT = struct.Struct("<II")

HEADER_BYTES = _HEADER.size
READY_BYTES = _READY.size
ROOT_BYTES = HASH_BYTES


class Kind(IntEnum):
    """What a frame is."""

    SETUP = 1
    READY = 2
    START = 3
    ROOT_A = 4
    SWEEP = 5
    ROOT_B = 6
    OPEN = 7
    UNITS = 8


class Mode(IntEnum):
    """How the verifier obtains the row of C.

    `RECOMPUTE` (R) multiplies by B itself, O(n²), so that anyone can check the transcript;
    `FREIVALDS` (F) has the prover send the row and checks it against a secret, O(n).
    """

    RECOMPUTE = 0
    FREIVALDS = 1


class Status(IntEnum):
    """What a prover answers to SETUP."""

    READY = 0
    NO_DEVICE = 1
    NO_MEMORY = 2
    KNOWN_ANSWER = 3
    SIZES = 4


class WireError(ValueError):
    """A frame that is not what the receiver's state calls for."""


class Header(NamedTuple):
    """The head of a frame."""

    kind: int
    gpu: int
    length: int


class Unit(NamedTuple):
    """One opened place: row r of block j."""

    j: int
    r: int


@dataclass(frozen=True)
class Ready:
    """A prover's answer to SETUP for one GPU; everything but the status is a mere claim."""

    status: Status
    path: str = ""
    device: str = ""
    memory_bytes: int = 0


@dataclass(frozen=True)
class Opening:
    """A validator's request to open units."""

    mode: Mode
    sweep: int
    units: tuple[Unit, ...]


def frame(kind: Kind, gpu: int, payload: bytes) -> bytes:
    """Put a header before a payload."""
    return _HEADER.pack(kind, gpu, VERSION, len(payload)) + payload


def parse_header(data: bytes) -> Header:
    """Read a header of `HEADER_BYTES`.

    Raises:
        WireError: its version is another one.
    """
    kind, gpu, version, length = _HEADER.unpack(data)
    if version != VERSION:
        raise WireError("the frame's protocol version is not spoken here")
    return Header(kind, gpu, length)


def check_prover_header(header: Header, gpus: int) -> None:
    """Check a frame's length before a prover reads its payload.

    Args:
        header: the frame's header.
        gpus: GPUs of the session, or 0 before SETUP.

    Raises:
        WireError: no frame of this kind may have this length or GPU here.
    """
    count = header.gpu
    many = {Kind.SETUP: _SIZES.size * count, Kind.START: SEED_BYTES * (count + 1)}
    if header.kind in many:
        known = not gpus if header.kind == Kind.SETUP else count == gpus
        fits = header.length == many[Kind(header.kind)]
        if known and fits and 1 <= count <= MAX_GPUS:
            return
    elif header.kind == Kind.SWEEP:
        if header.length == SEED_BYTES and header.gpu < gpus:
            return
    elif header.kind == Kind.OPEN and header.gpu < gpus:
        units, rest = divmod(header.length - _OPEN.size, _UNIT.size)
        if rest == 0 and 1 <= units <= MAX_UNITS:
            return
    raise WireError("a frame of this kind and length does not belong here")


def setup(sizes: Sequence[Sizes]) -> bytes:
    """Encode SETUP."""
    payload = b"".join(_SIZES.pack(each.n, each.blocks, each.sweep_width) for each in sizes)
    return frame(Kind.SETUP, len(sizes), payload)


def parse_setup(payload: bytes) -> list[Sizes | None]:
    """Decode SETUP; sizes that break a limit are None, for the prover to answer so."""
    return [_sizes_or_none(*figures) for figures in _SIZES.iter_unpack(payload)]


def _sizes_or_none(n: int, blocks: int, sweep_width: int) -> Sizes | None:
    try:
        sizes = Sizes(n, blocks, sweep_width)
    except ValueError:
        return None
    return sizes if sizes.challengeable() else None


def ready(gpu: int, answer: Ready) -> bytes:
    """Encode READY; texts are cut to their fields."""
    path = answer.path.encode("ascii", "replace")[:16]
    device = answer.device.encode("ascii", "replace")[:32]
    return frame(Kind.READY, gpu, _READY.pack(answer.status, answer.memory_bytes, path, device))


def parse_ready(payload: bytes) -> Ready:
    """Decode READY.

    Raises:
        WireError: an unknown status, or text that is not printable ASCII.
    """
    status, memory, path, device = _READY.unpack(payload)
    try:
        return Ready(Status(status), _text(path), _text(device), memory)
    except ValueError as error:
        raise WireError("READY is not understood") from error


def _text(field: bytes) -> str:
    text = field.rstrip(b"\x00").decode("ascii")
    if not text.isprintable():
        raise ValueError("control characters")
    return text


def start(slot: bytes, subs: Sequence[bytes]) -> bytes:
    """Encode START."""
    return frame(Kind.START, len(subs), slot + b"".join(subs))


def parse_start(payload: bytes) -> tuple[bytes, list[bytes]]:
    """Decode START into the slot and each GPU's sub."""
    seeds = [payload[at : at + SEED_BYTES] for at in range(0, len(payload), SEED_BYTES)]
    return seeds[0], seeds[1:]


def opening(gpu: int, request: Opening) -> bytes:
    """Encode OPEN."""
    head = _OPEN.pack(request.mode, request.sweep, len(request.units))
    return frame(Kind.OPEN, gpu, head + b"".join(_UNIT.pack(*unit) for unit in request.units))


def parse_opening(payload: bytes, sizes: Sizes, sweeps: int) -> Opening:
    """Decode OPEN.

    Args:
        payload: what followed the header.
        sizes: the GPU's sizes, to bound the units.
        sweeps: sweeps made so far.

    Raises:
        WireError: it contradicts itself, or asks for what does not exist.
    """
    mode, sweep, count = _OPEN.unpack_from(payload)
    units = tuple(Unit(*unit) for unit in _UNIT.iter_unpack(payload[_OPEN.size :]))
    inside = all(1 <= unit.j < sizes.blocks and unit.r < sizes.n for unit in units)
    if not (inside and count == len(units) and sweep < sweeps and mode in tuple(Mode)):
        raise WireError("OPEN asks for what does not exist")
    return Opening(Mode(mode), sweep, units)


def unit_dtype(sizes: Sizes, mode: Mode) -> np.dtype[np.void]:
    """Return the record of one opened unit: rows, leaves with their paths, and C's row in F."""
    path_a = ("u1", (sizes.path_a_depth * HASH_BYTES,))
    path_b = ("u1", (sizes.path_b_depth * HASH_BYTES,))
    leaf = ("u1", (LEAF_BYTES,))
    row = ("i1", (sizes.n,))
    fields: list[tuple[str, str, tuple[int, ...]]] = [
        ("previous", *row),
        ("reached", *row),
        ("leaf_previous", *leaf),
        ("path_previous", *path_a),
        ("leaf_reached", *leaf),
        ("path_reached", *path_a),
        ("leaf_unit", *leaf),
        ("path_unit", *path_a),
        ("leaf_sweep", *leaf),
        ("path_sweep", *path_b),
    ]
    if mode == Mode.FREIVALDS:
        fields.append(("product", "<i4", (sizes.n,)))
    return np.dtype(fields)


def units_bytes(sizes: Sizes, mode: Mode, count: int) -> int:
    """Return the length of a UNITS payload."""
    return int(unit_dtype(sizes, mode).itemsize) * count
