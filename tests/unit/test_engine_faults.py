"""What the engine says, and what a renter is told of it."""

import pytest

from compute.adapters.engine.faults import meaning, scrub
from compute.errors import Code


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (
            "driver failed: Bind for 0.0.0.0:20001 failed: port is already allocated",
            Code.PORT_TAKEN,
        ),
        ("write /var/lib/docker/tmp: no space left on device", Code.DISK_FULL),
        ("no available IPv4 addresses on this network's address pools: x", Code.NO_CAPACITY),
        ("an entirely new complaint", Code.ENGINE_FAILED),
    ],
)
def test_engine_messages_have_their_own_codes(message, code):
    """A taken port, a full disk and a full network are told apart; the rest is the engine's."""
    assert meaning(message) is code


def test_strangers_learn_no_paths():
    """The host's folders do not leave with an engine's message."""
    assert "/var/lib" not in scrub("open /var/lib/docker/overlay2/x: permission denied")
