"""Tables for people: what a narrow terminal has no room for is folded, left out, or stacked.

What is not a terminal gets aligned columns that are never wrapped, so that `grep` and `awk` work.
"""

from collections.abc import Collection, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = 2
LEAST_FOLD = 24  # cells down to which the widest column and those that hold prose are folded


class Sheet:
    """Rows under headings.

    Args:
        columns: headings; a leading `>` aligns a column to the right.
        title: line above the table.
        spare: headings that a narrow terminal goes without, the least missed first.
    """

    def __init__(self, *columns: str, title: str | None = None, spare: Sequence[str] = ()) -> None:
        self.columns = tuple(column.lstrip(">") for column in columns)
        self.title = title
        self.rows: list[tuple[str, ...]] = []
        self._right = tuple(column.startswith(">") for column in columns)
        self._spare = tuple(map(self.columns.index, spare))

    def add_row(self, *cells: str) -> None:
        """Add a row; as many cells as there are columns."""
        self.rows.append(tuple(_printable(str(cell)) for cell in cells))

    @property
    def widths(self) -> list[int]:
        """Cells that each column needs without folding."""
        return [
            max(cell_len(heading), self._content(index))
            for index, heading in enumerate(self.columns)
        ]

    def print(self) -> tuple[str, ...]:
        """Print it on standard output; returns the headings of what was left out."""
        console = Console(highlight=False)
        if not console.is_terminal:
            self._lines(self.widths)
            return ()
        shown = self._fitting(console.width)
        if not shown:
            self._stack(console)
            return ()
        console.print(self._table(shown, console.width))
        return tuple(self.columns[index] for index in self._spare if index not in shown)

    def _content(self, index: int) -> int:
        return max((cell_len(row[index]) for row in self.rows), default=0)

    def _fitting(self, width: int) -> list[int]:
        """Columns that fit side by side; none when the records have to be stacked."""
        shown = list(range(len(self.columns)))
        if self._whole(shown) <= width:
            return shown
        shown = [index for index in shown if self._content(index)] or shown
        for spare in (None, *self._spare):
            shown = [index for index in shown if index != spare]
            if self._least(shown) <= width:
                return shown
        return []

    def _whole(self, shown: Collection[int]) -> int:
        widths = self.widths
        return sum(widths[index] for index in shown) + GAP * (len(shown) - 1)

    def _least(self, shown: Collection[int]) -> int:
        """Cells that some columns need when headings are broken and cells are folded."""
        folded = self._folded(shown)
        least = (self._narrow(i, fold=i in folded) for i in shown)
        return sum(least) + GAP * (len(shown) - 1)

    def _narrow(self, index: int, *, fold: bool) -> int:
        heading = max(map(cell_len, self.columns[index].split()), default=0)
        content = self._content(index)
        return max(heading, min(content, LEAST_FOLD) if fold else content)

    def _heading(self, index: int) -> str:
        """A heading in lines, where it is wider than what stands under it."""
        heading = self.columns[index]
        wide = cell_len(heading) > self._content(index)
        return "\n".join(heading.split()) if wide else heading

    def _folded(self, shown: Collection[int]) -> set[int]:
        """Columns whose cells may be broken into lines: the widest, and those that hold prose."""
        widest = max(shown, key=self._content)
        prose = {i for i in shown if any(" " in row[i].strip() for row in self.rows)}
        return {i for i in {widest} | prose if self._content(i) > LEAST_FOLD}

    def _table(self, shown: Sequence[int], width: int) -> Table:
        made = Table(
            title=self.title,
            box=None,
            pad_edge=False,
            padding=(0, GAP, 0, 0),
            header_style="bold",
            title_justify="left",
        )
        narrow = self._whole(shown) > width
        folded = self._folded(shown) if narrow else set()
        for index in shown:
            made.add_column(
                self._heading(index) if narrow else self.columns[index],
                justify="right" if self._right[index] else "left",
                overflow="fold",
                no_wrap=index not in folded,
            )
        for row in self.rows:
            made.add_row(*(_plain(row[index]) for index in shown))
        return made

    def _lines(self, widths: list[int]) -> None:
        if self.title:
            print(self.title)  # noqa: T201
        for line in (self.columns, *self.rows):
            cells = map(_aligned, line, widths, self._right)
            print((" " * GAP).join(cells).rstrip())  # noqa: T201

    def _stack(self, console: Console) -> None:
        """Print records one under the other, without what is empty."""
        if self.title:
            console.print(self.title, markup=False)
        indent = max(len(column) for column in self.columns) + GAP
        for number, row in enumerate(self.rows):
            if number:
                console.print()
            for column, cell in zip(self.columns, row, strict=True):
                for line in _hanging(console, column, cell, indent):
                    print(line)  # noqa: T201


def _hanging(console: Console, label: str, cell: str, indent: int) -> Iterator[str]:
    """A cell beside its label, its further lines under the first."""
    room = max(1, console.width - indent)
    for number, line in enumerate(Text(cell).wrap(console, room, overflow="fold")):
        if line.plain.strip():
            yield (label if number == 0 else "").ljust(indent) + line.plain.rstrip()


def _printable(cell: str) -> str:
    """A cell without control characters: much of what is shown are strangers' words."""
    return "".join(letter if letter.isprintable() else " " for letter in cell)


def _plain(cell: str) -> str:
    """A cell whose brackets are not taken for markup."""
    return cell.replace("[", "\\[")


def _aligned(cell: str, width: int, right: bool) -> str:
    blank = " " * (width - cell_len(cell))
    return blank + cell if right else cell + blank
