"""Receipts: what is signed, what verifies offline, and what does not."""

from pathlib import Path

import pytest
from bittensor.sp_core import CRYPTO_ED25519

from compute.errors import Code, PeerError, UsageError
from compute.protocol.address import Peer
from compute.protocol.axon import Axon
from compute.protocol.context import RequestContext
from compute.protocol.dendrite import Dendrite
from compute.protocol.receipts import (
    Parties,
    Receipt,
    load_receipt,
    save_receipt,
    statement,
    verify_receipt,
)
from compute.protocol.synapses import Message, Synapse
from compute.testing.axon import TEST_LIMITS, view_of
from compute.testing.wallets import dev_wallet


class Text(Message):
    """Any text."""

    text: str


TELL = Synapse("Tell", Text, Text, 4096, 4096, 5)


def tell(request: Text, _context: RequestContext) -> Text:
    """The same text."""
    return request


@pytest.fixture(params=[("Bob", 1), ("BobEd", CRYPTO_ED25519)], ids=["sr25519", "ed25519"])
async def receipt(request: pytest.FixtureRequest) -> Receipt:
    """A receipt of a real exchange."""
    caller, callee = dev_wallet("Alice"), dev_wallet(request.param[0], crypto_type=request.param[1])
    axon = Axon(callee, metagraph=view_of(caller.address), limits=TEST_LIMITS)
    axon.attach(TELL, tell)
    async with axon.serving("127.0.0.1"), Dendrite(caller, allow_private=True) as dendrite:
        peer = Peer(callee.address, "127.0.0.1", axon.port)
        return (await dendrite.call(peer, TELL, Text(text="é"))).receipt


def test_the_statement_is_six_lines() -> None:
    """The signed bytes are exactly those of the specification."""
    assert statement(200, b"", Parties("caller", "callee", "17")) == (
        b"receipt/1\n200\n"
        b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n17\ncaller\ncallee"
    )


def test_a_saved_receipt_verifies_offline(receipt: Receipt, tmp_path: Path) -> None:
    """A record read back from its file holds, and holds the exact bytes."""
    save_receipt(tmp_path / "r.json", receipt)
    loaded = load_receipt(tmp_path / "r.json")
    verify_receipt(loaded)
    assert loaded == receipt
    assert loaded.body == Text(text="é").model_dump_json().encode()


ELSE = "5DAAnrj7VHTznn2AWBemMuyBwZWs6FNFjdyVXUeYum3PTXFy"


@pytest.mark.parametrize(
    "change",
    [
        {"status": 403},
        {"body": b"{}"},
        {"nonce": "1"},
        {"caller": ELSE},
        {"callee": ELSE},
        {"signature": "0x" + "00" * 64},
        {"request_body": b"{}"},
        {"method": "GET"},
        {"target": "/Specs"},
        {"request_signature": "0x" + "00" * 64},
    ],
)
def test_a_changed_receipt_does_not_verify(receipt: Receipt, change: dict[str, object]) -> None:
    """Every part that a reader relies on is under a signature."""
    with pytest.raises(PeerError) as caught:
        verify_receipt(receipt.model_copy(update=change))
    assert caught.value.code is Code.RECEIPT


def test_schemes_cannot_be_swapped(receipt: Receipt) -> None:
    """A signature counts under its own scheme only."""
    other = "sr25519" if receipt.scheme == "ed25519" else "ed25519"
    with pytest.raises(PeerError):
        verify_receipt(receipt.model_copy(update={"scheme": other}))


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"version":2}'])
def test_a_file_that_is_no_receipt_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    """A wrong file ends in one clear error."""
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(PeerError) as caught:
        load_receipt(path)
    assert caught.value.code is Code.RECEIPT


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    """No traceback for a path that is not there."""
    with pytest.raises(UsageError):
        load_receipt(tmp_path / "none")
