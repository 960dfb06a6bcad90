"""What people type, read as they mean it."""

import pytest

from compute.cli.output import duration
from compute.errors import UsageError
from compute.renter import parsing


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("20m", 1200), ("1h30m", 5400), ("1.5h", 5400), ("7d", 604_800)],
)
def test_durations(text, seconds):
    """A number with units is seconds."""
    assert parsing.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "2x", "-5m", "1,5h", "2h;"])
def test_nonsense_is_no_duration(text):
    """Anything else is a usage error, never a guess."""
    with pytest.raises(UsageError):
        parsing.seconds(text)


@pytest.mark.parametrize(
    ("text", "mib"), [("512", 512), ("512m", 512), ("8g", 8192), ("8GiB", 8192), ("1t", 2**20)]
)
def test_sizes(text, mib):
    """A number with a unit is MiB."""
    assert parsing.mebibytes(text) == mib


@pytest.mark.parametrize("text", ["", "g", "8k", "8 gigs", "-1g"])
def test_nonsense_is_no_size(text):
    """Anything else is a usage error."""
    with pytest.raises(UsageError):
        parsing.mebibytes(text)


def test_durations_are_shown_with_two_units():
    """A person reads the two largest units."""
    assert duration(93_784) == "1d 2h"
    assert duration(61) == "1m 1s"
    assert duration(0) == "over"
