"""Filtering, sorting and cutting lists of miners."""

from collections.abc import Callable, Sequence
from typing import Literal

from compute.dashboard.shapes import MinerPage, MinerRow

Sort = Literal["share", "score", "uid", "reliability", "tops", "proven"]
State = Literal["", "earning", "failing", "waiting"]
Kind = Literal["proof", "probe", "specs", "ping"]
Outcome = Literal["", "passed", "failed", "inconclusive"]
_KEYS: dict[str, Callable[[MinerRow], float]] = {
    "share": lambda row: row.share_ppm,
    "score": lambda row: row.score,
    "uid": lambda row: row.uid,
    "reliability": lambda row: -1 if row.reliability_ppm is None else row.reliability_ppm,
    "tops": lambda row: row.tops,
    "proven": lambda row: row.proven_block,
}


def page_of(
    rows: Sequence[MinerRow],
    sort: Sort,
    state: State,
    text: str,
    *,
    down: bool,
    page: int,
    size: int,
) -> MinerPage:
    """One page of those rows that match.

    Args:
        rows: every miner, in UID order, which decides between equals.
        sort: by what.
        state: empty for all.
        text: a UID, or part of a hotkey, a class, an address or a reason.
        down: largest first.
        page: from 0.
        size: rows on a page.
    """
    wanted = [row for row in rows if (not state or row.state == state) and _has(row, text)]
    wanted.sort(key=_KEYS[sort], reverse=down)
    shown = wanted[page * size : (page + 1) * size]
    return MinerPage(total=len(wanted), page=page, size=size, rows=tuple(shown))


def _has(row: MinerRow, text: str) -> bool:
    sought = text.strip().casefold()
    if sought.isdecimal():
        return str(row.uid) == sought
    return any(sought in part.casefold() for part in (row.hotkey, row.gpus, row.address, row.zero))
