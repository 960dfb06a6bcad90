"""The fingerprint of an axon's certificate in the chain's own form."""

import pytest

from compute.adapters.chain import certificates
from compute.adapters.chain.certificates import SHA256_OF_CERTIFICATE as OURS

PIN = bytes(range(32))


def test_what_is_published_is_read():
    """An algorithm byte, then the fingerprint, within what the chain takes."""
    entry = bytes.fromhex(certificates.published(PIN).removeprefix("0x"))
    assert (entry[0], entry[1:]) == (OURS, PIN)
    forms = (entry[1:], "0x" + entry[1:].hex(), list(entry[1:]))
    for form in forms:
        assert certificates.read({"algorithm": entry[0], "public_key": form}) == PIN


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        {"algorithm": 0, "public_key": "0x"},
        {"algorithm": 1, "public_key": PIN},
        {"algorithm": OURS, "public_key": PIN[:31]},
        {"algorithm": OURS, "public_key": "not hex"},
        {"algorithm": OURS, "public_key": [300] * 32},
        {"algorithm": OURS},
        "0x00",
    ],
)
def test_what_others_put_there_pins_nothing(entry):
    """Entries of other algorithms, of other lengths or of no sense are nobody's certificate."""
    assert certificates.read(entry) is None
