"""How the command speaks to people: tables by width, progress, questions."""

import io
import sys

import pytest
import typer
from rich.cells import cell_len

from compute.cli.output import Output, counted, table

ROWS = [
    ("train", "up", "1h 59m", "203.0.113.7:20001", "5FHneW46…", "0123456789ab"),
    ("eval-[2]", "over", "over", "203.0.113.8:20002", "5GrwvaEF…", "ba9876543210"),
]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def bare(text: str) -> str:
    """Without what makes headings bold."""
    return text.replace("\x1b[1m", "").replace("\x1b[0m", "")


def leases():
    made = table("NAME", "STATE", ">LEFT", "ADDRESS", "MINER", "LEASE")
    for row in ROWS:
        made.add_row(*row)
    return made


def shown(monkeypatch, width: int, *, terminal: bool = True, **env: str) -> str:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    Output().data(None, leases())
    return stream.getvalue()


@pytest.mark.parametrize("width", [20, 30, 40, 60, 72, 80, 200])
def test_no_line_is_wider_than_the_terminal(monkeypatch, width):
    """Whatever the width, nothing is cut off and nothing runs over."""
    text = shown(monkeypatch, width, NO_COLOR="1")
    plain = bare(text)
    assert max(cell_len(line) for line in plain.splitlines()) <= width
    whole = "".join(plain.split())
    for row in ROWS:
        for cell in row:
            assert cell.replace(" ", "") in whole or width < 30


def test_a_wide_terminal_shows_a_table_and_a_narrow_one_records(monkeypatch):
    """Below its width, a table's rows stand under each other with their headings."""
    wide, narrow = shown(monkeypatch, 120), shown(monkeypatch, 40)
    assert len(wide.splitlines()) == 3
    assert len([line for line in narrow.splitlines() if line.startswith("ADDRESS")]) == 2


def test_a_narrow_terminal_goes_without_what_is_least_missed(monkeypatch, capsys):
    """Empty columns go first, then the spare ones by their order; what went is said on stderr."""
    made = table("NAME", "NOTE", "LONG HEADING", "ADDRESS", "MINER", spare=("MINER", "ADDRESS"))
    for name, _, _, address, miner, _ in ROWS:
        made.add_row(name, "", "1", address, miner)
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("NO_COLOR", "1")
    seen = {}
    for width in (80, 50, 40, 20):
        stream.seek(0)
        stream.truncate()
        monkeypatch.setenv("COLUMNS", str(width))
        Output().data(None, made)
        seen[width] = (*(h in stream.getvalue() for h in ("NOTE", "MINER", "ADDRESS")),)
    assert seen == {
        80: (True, True, True), 50: (False, True, True), 40: (False, False, True),
        20: (False, False, False),
    }  # fmt: skip
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "no room for MINER: --json has all",
        "no room for MINER, ADDRESS: --json has all",
    ]


def test_prose_is_folded_in_every_column_that_holds_it(monkeypatch):
    """Two columns of sentences stand side by side where one alone would be too wide."""
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    made = table("CODE", "WHAT", "WHAT TO DO")
    made.add_row("internal", "something went wrong inside of it all", "report it " * 9)
    Output().data(None, made)
    lines = bare(sys.stdout.getvalue()).splitlines()
    assert "WHAT TO DO" in lines[0]
    assert max(map(len, lines)) <= 60


def test_a_long_cell_of_a_record_stands_under_its_beginning(monkeypatch):
    """Where records are stacked, every further line of a cell is indented, and none is lost."""
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("NO_COLOR", "1")
    made = table("NAME", "FILE", "WHY")
    made.add_row("a", "/" + "x" * 60, "")
    Output().data(None, made)
    lines = sys.stdout.getvalue().splitlines()
    assert lines[0] == "NAME  a"
    assert [line[:6] for line in lines[1:]] == ["FILE  ", "      "] + ["      "] * 3
    assert "".join(line[6:] for line in lines[1:]) == "/" + "x" * 60


def test_numbers_of_things_agree_with_them():
    """One is singular."""
    assert [counted(n, "lease") for n in (0, 1, 2)] == ["0 leases", "1 lease", "2 leases"]


def test_a_pipe_gets_whole_lines_without_colour(monkeypatch):
    """One line a row, however narrow COLUMNS says it is; columns are aligned."""
    text = shown(monkeypatch, 20, terminal=False)
    lines = text.splitlines()
    assert len(lines) == 3
    assert "\x1b" not in text
    assert [line.index("203.") for line in lines[1:]] == [lines[0].index("ADDRESS")] * 2
    assert all(line == line.rstrip() for line in lines)


def test_no_color_is_respected(monkeypatch):
    """Colour only where it is wanted."""
    assert "\x1b[1" in shown(monkeypatch, 120)
    coloured = shown(monkeypatch, 120, NO_COLOR="1")
    assert "\x1b[3" not in coloured
    assert "\x1b[9" not in coloured


def test_brackets_in_data_are_data(monkeypatch):
    """What looks like markup is printed as it is."""
    assert "eval-[2]" in shown(monkeypatch, 120)


def test_progress_goes_to_standard_error_and_may_be_silenced(capsys):
    """Data can be piped while a person watches."""
    Output().progress("asking")
    Output(quiet=True).progress("nothing")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "asking\n")


def test_an_empty_table_is_empty_on_standard_output(capsys):
    """Nothing to list is said aside, and is an empty list as data."""
    Output().data([], table("NAME"), empty="no leases")
    Output(as_json=True).data([], table("NAME"), empty="no leases")
    assert capsys.readouterr() == ("[]\n", "no leases\n")


def test_nobody_is_asked_without_a_terminal(monkeypatch):
    """Without a terminal the question is not asked, and the work goes on."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    Output().confirm("End it?", yes=False)


def test_a_person_is_asked_and_may_say_no(monkeypatch, capsys):
    """On a terminal `no` aborts; --yes asks nobody."""
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    monkeypatch.setattr(sys, "stdout", Terminal())
    with pytest.raises(typer.Abort):
        Output().confirm("End it?", yes=False)
    Output().confirm("End it?", yes=True)
    assert capsys.readouterr().err.count("End it?") == 1
