"""What a person types, turned into numbers: durations and sizes."""

import re
from collections.abc import Iterable

from compute.errors import UsageError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([mgt]?)(?:i?b)?$")
_MEBIBYTES = {"": 1, "m": 1, "g": 1024, "t": 1024 * 1024}


def seconds(text: str) -> int:
    """`90`, `90s`, `2h`, `1h30m`, `7d` in seconds; raises `UsageError` for anything else."""
    compact = text.strip().lower().replace(" ", "")
    parts = _DURATION.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise UsageError(f"'{text}' is not a duration", hint="write 90s, 20m, 2h, 1h30m or 7d")
    return round(sum(float(number) * _SECONDS[unit] for number, unit in parts))


def mebibytes(text: str) -> int:
    """`512m`, `8g`, `1t` or a bare number of MiB, in MiB; raises `UsageError` otherwise."""
    match = _SIZE.match(text.strip().lower())
    if match is None:
        raise UsageError(f"'{text}' is not a size", hint="write 512m, 8g or 1t")
    return round(float(match[1]) * _MEBIBYTES[match[2]])


def assignments(texts: Iterable[str]) -> dict[str, str]:
    """`NAME=VALUE` texts as a mapping; raises `UsageError` for one without a name."""
    found = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not name or not separator:
            raise UsageError(f"'{text}' is not NAME=VALUE")
        found[name] = value
    return found
