"""Transcripts of mode R: what anyone needs to check a session again, without any secret.

A transcript is a line of magic, the length of a JSON head (u32, little-endian), the head, and the
replies of all GPUs. The head holds the seeds, sizes, commitments and places; the replies' lengths
follow from them, so that nothing is read beyond what the head calls for. The times are the
validator's word and cannot be checked afterwards.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from compute.errors import Code, ProofError
from compute.proof.opening import OpeningCheck, check_opening
from compute.proof.result import Reason, Verdict
from compute.proof.sizes import MAX_GPUS, MAX_UNITS, SEED_BYTES, Sizes
from compute.proof.slot import sub_seed
from compute.proof.wire import Mode, Unit, units_bytes

MAGIC = b"MGX transcript 1\n"
_MAX_HEAD = 1 << 20
"""Bytes of the largest head: 64 GPUs with 256 units each take about half of it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One GPU's part of a transcript.

    Attributes:
        check: the opening, in mode R.
        claim: what the miner claimed this GPU to be.
        chain_s: the validator's measurement.
        sweep_s: the validator's measurement.
    """

    check: OpeningCheck
    claim: str
    chain_s: float
    sweep_s: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """A decoded transcript.

    Attributes:
        hotkey: the miner's hotkey.
        secret: the validator's secret of that slot, published with it.
        entries: one for each GPU.
    """

    hotkey: str
    secret: bytes
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class TranscriptReport:
    """What checking a transcript again found.

    Attributes:
        transcript: what was checked.
        bound: for each GPU, whether its seed belongs to the hotkey and the claim.
        verdicts: for each GPU, the verdict on its opening.
    """

    transcript: Transcript
    bound: tuple[bool, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        """Whether every seed is bound and every opening holds."""
        return all(self.bound) and all(each.reason is Reason.PASSED for each in self.verdicts)


def encode(hotkey: str, secret: bytes, entries: Sequence[Entry]) -> bytes:
    """Encode a transcript; the same session always gives the same bytes."""
    head = {
        "hotkey": hotkey,
        "secret": secret.hex(),
        "slot": entries[0].check.slot.hex(),
        "gpus": [_entry_head(entry) for entry in entries],
    }
    text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    replies = b"".join(entry.check.reply for entry in entries)
    return MAGIC + len(text).to_bytes(4, "little") + text + replies


def decode(data: bytes) -> Transcript:
    """Decode a transcript; only the one form that `encode` gives is accepted.

    Raises:
        ProofError: `MALFORMED`, it is none.
    """
    try:
        return _decode(data)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ProofError(Code.MALFORMED, "this is not a transcript of a proof session") from error


def verify_transcript(
    data: bytes, check: Callable[[OpeningCheck], Verdict] = check_opening
) -> TranscriptReport:
    """Check every opening of a transcript again.

    Args:
        data: the transcript.
        check: runs one check; replace it to use a pool.

    Raises:
        ProofError: `MALFORMED`, it is none.
    """
    found = decode(data)
    bound = tuple(
        entry.check.sub == sub_seed(entry.check.slot, found.hotkey, entry.claim, gpu, found.secret)
        for gpu, entry in enumerate(found.entries)
    )
    return TranscriptReport(found, bound, tuple(check(entry.check) for entry in found.entries))


def _entry_head(entry: Entry) -> dict[str, Any]:
    check = entry.check
    return {
        "claim": entry.claim,
        "chain_s": round(entry.chain_s, 6),
        "sweep_s": round(entry.sweep_s, 6),
        "sizes": [check.sizes.n, check.sizes.blocks, check.sizes.sweep_width],
        "sub": check.sub.hex(),
        "root_a": check.root_a.hex(),
        "kappa": check.kappa.hex(),
        "root_b": check.root_b.hex(),
        "units": [list(unit) for unit in check.units],
    }


def _decode(data: bytes) -> Transcript:
    start = len(MAGIC) + 4
    length = int.from_bytes(data[len(MAGIC) : start], "little")
    if not data.startswith(MAGIC) or length > _MAX_HEAD:
        raise ValueError("no transcript")
    head = json.loads(data[start : start + length])
    slot, at, entries = _seed(head["slot"]), start + length, []
    for item in head["gpus"][: MAX_GPUS + 1]:
        sizes, units = _places(item)
        size = units_bytes(sizes, Mode.RECOMPUTE, len(units))
        entries.append(_entry(item, slot, sizes, units, data[at : at + size]))
        at += size
    found = Transcript(_text(head["hotkey"]), _seed(head["secret"]), tuple(entries))
    if not 1 <= len(entries) <= MAX_GPUS or encode(found.hotkey, found.secret, entries) != data:
        raise ValueError("not in the one form that a transcript has")
    return found


def _places(item: dict[str, Any]) -> tuple[Sizes, tuple[Unit, ...]]:
    sizes = Sizes(*(_whole(figure) for figure in item["sizes"]))
    units = tuple(Unit(*(_whole(figure) for figure in unit)) for unit in item["units"])
    inside = all(1 <= unit.j < sizes.blocks and 0 <= unit.r < sizes.n for unit in units)
    if not (sizes.challengeable() and 1 <= len(units) <= MAX_UNITS and inside):
        raise ValueError("places outside the history")
    return sizes, units


def _entry(
    item: dict[str, Any], slot: bytes, sizes: Sizes, units: tuple[Unit, ...], reply: bytes
) -> Entry:
    check = OpeningCheck(
        sizes=sizes,
        mode=Mode.RECOMPUTE,
        slot=slot,
        sub=_seed(item["sub"]),
        root_a=_seed(item["root_a"]),
        kappa=_seed(item["kappa"]),
        root_b=_seed(item["root_b"]),
        units=units,
        reply=reply,
    )
    return Entry(check, _text(item["claim"]), _seconds(item["chain_s"]), _seconds(item["sweep_s"]))


def _seed(text: str) -> bytes:
    seed = bytes.fromhex(text)
    if len(seed) != SEED_BYTES:
        raise ValueError("not 32 bytes")
    return seed


def _whole(figure: object) -> int:
    if type(figure) is not int:
        raise ValueError("not a whole number")
    return figure


def _seconds(figure: object) -> float:
    if not isinstance(figure, float) or not math.isfinite(figure):
        raise ValueError("not a finite number")
    return figure


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value
