"""Tables for people; where the terminal is too narrow, records stand one under the other.

What is not a terminal gets aligned columns that are never wrapped, so that `grep` and `awk` work.
"""

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

GAP = 2
LEAST_FOLD = 24  # the widest column is folded down to this width before records are stacked


class Sheet:
    """Rows under headings.

    Args:
        columns: headings; a leading `>` aligns a column to the right.
        title: line above the table.
    """

    def __init__(self, *columns: str, title: str | None = None) -> None:
        self.columns = tuple(column.lstrip(">") for column in columns)
        self.title = title
        self.rows: list[tuple[str, ...]] = []
        self._right = tuple(column.startswith(">") for column in columns)

    def add_row(self, *cells: str) -> None:
        """Add a row; as many cells as there are columns."""
        self.rows.append(tuple(_printable(str(cell)) for cell in cells))

    @property
    def widths(self) -> list[int]:
        """Cells that each column needs without folding."""
        lines = (self.columns, *self.rows)
        return [max(cell_len(line[index]) for line in lines) for index in range(len(self.columns))]

    def print(self) -> None:
        """Print it on standard output."""
        console = Console(highlight=False)
        widths = self.widths
        whole = sum(widths) + GAP * (len(widths) - 1)
        if not console.is_terminal:
            self._lines(widths)
        elif whole <= console.width or whole - max(widths) + LEAST_FOLD <= console.width:
            console.print(self._table(widths))
        else:
            self._stack(console)

    def _table(self, widths: list[int]) -> Table:
        made = Table(
            title=self.title,
            box=None,
            pad_edge=False,
            padding=(0, GAP, 0, 0),
            header_style="bold",
            title_justify="left",
        )
        widest = widths.index(max(widths))
        for index, column in enumerate(self.columns):
            made.add_column(
                column,
                justify="right" if self._right[index] else "left",
                overflow="fold",
                no_wrap=index != widest,
            )
        for row in self.rows:
            made.add_row(*(_plain(cell) for cell in row))
        return made

    def _lines(self, widths: list[int]) -> None:
        if self.title:
            print(self.title)  # noqa: T201
        for line in (self.columns, *self.rows):
            cells = map(_aligned, line, widths, self._right)
            print((" " * GAP).join(cells).rstrip())  # noqa: T201

    def _stack(self, console: Console) -> None:
        if self.title:
            console.print(self.title, markup=False)
        width = max(len(column) for column in self.columns) + GAP
        for number, row in enumerate(self.rows):
            if number:
                console.print()
            for column, cell in zip(self.columns, row, strict=True):
                console.print(f"{column.ljust(width)}{cell}", markup=False)


def _printable(cell: str) -> str:
    """A cell without control characters: much of what is shown are strangers' words."""
    return "".join(letter if letter.isprintable() else " " for letter in cell)


def _plain(cell: str) -> str:
    """A cell whose brackets are not taken for markup."""
    return cell.replace("[", "\\[")


def _aligned(cell: str, width: int, right: bool) -> str:
    blank = " " * (width - cell_len(cell))
    return blank + cell if right else cell + blank
