"""Plots for a terminal, in text: bars, sparklines, and a chart with axes."""

from collections.abc import Sequence

EIGHTHS = " ▁▂▃▄▅▆▇█"
LEFT = " ▏▎▍▌▋▊▉█"
STEPS = 8


def bar(share: float, width: int) -> str:
    """A horizontal bar of a share (0 to 1) of so many cells, to an eighth of a cell."""
    eighths = round(max(0.0, min(1.0, share)) * width * STEPS)
    whole, rest = divmod(eighths, STEPS)
    return LEFT[STEPS] * whole + (LEFT[rest] if rest else "")


def spark(values: Sequence[float], width: int) -> str:
    """The newest values as one line, scaled to their largest; a dot stands for nothing."""
    shown = values[-width:]
    top = max(shown, default=0.0)
    if top <= 0:
        return "·" * len(shown)
    steps = [max(0, round(value / top * STEPS)) for value in shown]
    return "".join(
        EIGHTHS[max(1, step)] if value > 0 else "·"
        for step, value in zip(steps, shown, strict=True)
    )


def chart(values: Sequence[float], width: int, height: int, label: str = "") -> list[str]:
    """Values over time as columns, with the largest and 0 on the left.

    Args:
        values: oldest first; more than fit are averaged.
        width: cells of the whole chart, axis included.
        height: lines of the chart.
        label: line under it.
    """
    top = max(values, default=0.0)
    head = f"{top:.4g}"
    margin = len(head) + 1
    columns = _resampled(values, max(1, width - margin))
    lines = []
    for row in range(height, 0, -1):
        cells = "".join(_cell(value, top, row, height) for value in columns)
        mark = head if row == height else "0" if row == 1 else ""
        lines.append(f"{mark:>{margin - 1}}▕{cells}".rstrip())
    if label:
        lines.append(" " * margin + label)
    return lines


def _cell(value: float, top: float, row: int, height: int) -> str:
    if top <= 0:
        return " "
    eighths = round(value / top * height * STEPS) - (row - 1) * STEPS
    return EIGHTHS[max(0, min(STEPS, eighths))]


def _resampled(values: Sequence[float], width: int) -> list[float]:
    """At most so many values, each the mean of its part."""
    if len(values) <= width:
        return list(values)
    parts = [
        values[i * len(values) // width : (i + 1) * len(values) // width] for i in range(width)
    ]
    return [sum(part) / len(part) for part in parts]
