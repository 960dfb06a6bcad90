"""`compute receipt verify`, `transcript verify` and `calibrate`: what anybody can check."""

import json

import pytest

from compute.errors import Code
from compute.proof.classes import load_classes
from compute.protocol.address import Peer
from compute.protocol.axon import Axon
from compute.protocol.context import RequestContext
from compute.protocol.dendrite import Dendrite
from compute.protocol.receipts import save_receipt
from compute.protocol.synapses import LEASE, LeaseReply, LeaseRequest
from compute.testing.axon import TEST_LIMITS, view_of
from compute.testing.wallets import dev_wallet
from tests.command import run

REQUEST = LeaseRequest(lease_id="0" * 32, action="pause", nonce=1, proof=b"p" * 384)
REPLY = LeaseReply.model_validate(
    {
        "lease_id": "0" * 32, "kind": "rental", "state": "paused", "created_at": 1.0,
        "expires_at": 2.0, "requirement": {},
    }
)  # fmt: skip


def answer(_request: LeaseRequest, _context: RequestContext) -> LeaseReply:
    return REPLY


@pytest.fixture
async def receipt_file(tmp_path):
    caller, callee = dev_wallet("Alice"), dev_wallet("Bob")
    axon = Axon(callee, metagraph=view_of(caller.address), limits=TEST_LIMITS)
    axon.attach(LEASE, answer)
    async with axon.serving("127.0.0.1"), Dendrite(caller, allow_private=True) as dendrite:
        peer = Peer(callee.address, "127.0.0.1", axon.port)
        answered = await dendrite.call(peer, LEASE, REQUEST)
    save_receipt(tmp_path / "receipt.json", answered.receipt)
    return tmp_path / "receipt.json"


async def test_a_receipt_is_checked_offline(receipt_file):
    """It says who asked what and who answered; nothing but the file is needed."""
    found = run("receipt", "verify", str(receipt_file), "--json").json("receipt verify")
    assert found["holds"]
    assert found["asked"] == "Lease pause"
    assert found["callee"] == dev_wallet("Bob").address
    assert "holds: " in run("receipt", "verify", str(receipt_file)).out


async def test_a_changed_receipt_does_not_hold(receipt_file):
    """One changed field is found, with the exit code of receipts."""
    content = json.loads(receipt_file.read_text())
    receipt_file.write_text(json.dumps({**content, "status": 201}))
    assert run("receipt", "verify", str(receipt_file)).code == Code.RECEIPT.spec.exit_code
    receipt_file.write_text("{}")
    assert run("receipt", "verify", str(receipt_file)).code == Code.RECEIPT.spec.exit_code
    assert run("receipt", "verify", "/no/such").code == Code.USAGE.spec.exit_code


def test_what_is_no_transcript_is_refused(tmp_path):
    """Garbage is malformed, a missing file is a usage error; neither is a traceback."""
    (tmp_path / "t").write_bytes(b"MGX transcript 1\n\xff\xff\xff\xff")
    assert run("transcript", "verify", str(tmp_path / "t")).code == Code.MALFORMED.spec.exit_code
    assert run("transcript", "verify", str(tmp_path / "u")).code == Code.USAGE.spec.exit_code


def test_calibrate_prints_a_row_that_the_class_table_takes(tmp_path):
    """What it prints is a `[[class]]` that loads."""
    found = run(
        *("calibrate", "--device", "numpy", "--n", "256", "--blocks", "4", "--runs", "2"),
        *("--name", "mine", "--json"),
    ).json("calibrate")
    assert (found["n"], found["blocks"], len(found["chain_s"])) == (256, 4, 2)
    assert found["tops"] > 0
    table = load_classes("version = 1\nsweep_width = 1024\n" + found["row"])
    mine = table.named("mine")
    assert mine is not None
    assert mine.reference_tops.value == pytest.approx(found["tops"], rel=1e-3)


@pytest.mark.parametrize("extra", [("--device", "tpu"), ("--n", "100"), ("--blocks", "99999")])
def test_sizes_that_cannot_be_run_are_usage_errors(extra):
    """A wrong device or size says so."""
    ran = run("calibrate", "--device", "numpy", "--n", "256", "--blocks", "4", *extra)
    assert ran.code in (Code.USAGE.spec.exit_code, Code.PROVER_FAILED.spec.exit_code)
    assert len(ran.err.splitlines()[-1:]) == 1
