"""Verbs about a validator, on evidence that a real log holds."""

import json
from pathlib import Path

import pytest

from compute.adapters.chain import make_wallet
from compute.cli.context import Context
from compute.cli.offers import reliabilities
from compute.cli.plotting import bar, chart, spark
from compute.domain import publication
from compute.domain.book import Book
from compute.domain.evidence import EvidenceKind, Observation, Outcome, Reason
from compute.domain.measurement import (
    PPM,
    ProbeContent,
    ProofContent,
    ProvenGpu,
    Snapshot,
    SnapshotNeuron,
    SpecsContent,
    WeightsContent,
)
from compute.domain.publication import Publication
from compute.domain.score import score
from compute.errors import Code, UsageError
from compute.storage.database import Role, open_database
from compute.storage.evidence import EvidenceLog
from compute.storage.evidence_weights import WeightsStore
from compute.validator.policies import load_policy
from tests.command import run

POLICY = load_policy("dev")
MINERS = ("good", "cheat", "newcomer")
EPOCHS = (100, 110, 120)
CPU = ProvenGpu(gpu="cpu", gpu_class="cpu-dev", credit_ppm=PPM)


class Validator:
    """A validator's state folder, written as the validator writes it."""

    def __init__(self, root: Path) -> None:
        self.state = root / "state"
        self.wallets = root / "wallets"
        self.key = make_wallet(self.wallets, "validator", "default").hotkey
        self.engine = open_database(f"sqlite:///{self.state / 'validator.sqlite'}", Role.VALIDATOR)
        self.log = EvidenceLog(self.engine, self.key, 1)

    def write(self, kind, miner, content, block, outcome=Outcome.PASSED, reason=Reason.OK):
        """Append one measurement."""
        observation = Observation(
            kind=kind, round=f"{kind.value}-{block}", miner=miner, block=block,
            at_ms=block * 1000, outcome=outcome, reason=reason,
            content=content.model_dump(mode="json"),
        )  # fmt: skip
        return self.log.append([observation])[0]

    def pay(self, epoch: int) -> None:
        """Compute, record and publish an epoch's vector."""
        book = Book().extend(self.log.records())
        neurons = tuple(
            SnapshotNeuron(uid=uid, hotkey=hotkey, address=f"10.0.0.{uid}:8091")
            for uid, hotkey in enumerate(MINERS)
        )
        taken = Snapshot(netuid=1, block=epoch, epoch_block=epoch, neurons=neurons)
        board = score(book, taken, POLICY)
        content = WeightsContent(
            snapshot=taken, upto=book.head, policy=POLICY.name, policy_sha256=POLICY.sha256,
            vector={str(uid): weight for uid, weight in board.vector.items()},
            vector_sha256=board.sha256, rulings=dict(board.rulings),
        )  # fmt: skip
        record = self.write(EvidenceKind.WEIGHTS, "", content, epoch)
        unsigned = Publication(
            netuid=1, sha256=content.vector_sha256, vector=content.vector, epoch_block=epoch,
            block=epoch, policy=POLICY.name, policy_sha256=POLICY.sha256, evidence_seq=record.seq,
            evidence_hash=record.hash, validator=record.validator, created_ms=1,
        )  # fmt: skip
        signed = publication.sign(unsigned, self.key.sign)
        WeightsStore(self.engine).plan(epoch, signed.sha256, signed.model_dump_json())


@pytest.fixture
def validator(tmp_path):
    made = Validator(tmp_path)
    for epoch in EPOCHS:
        for miner in MINERS[: 2 if epoch == EPOCHS[0] else 3]:
            made.write(EvidenceKind.SPECS, miner, SpecsContent(), epoch - 8)
            made.write(EvidenceKind.PROOF, miner, ProofContent(gpus=(CPU,)), epoch - 6)
            made.write(EvidenceKind.PROBE, miner, ProbeContent(), epoch - 5)
        if epoch == EPOCHS[-1]:
            made.write(
                EvidenceKind.PROOF, "cheat", ProofContent(), epoch - 4,
                Outcome.FAILED, Reason.OPENING_FAILED,
            )  # fmt: skip
        made.pay(epoch)
    yield made
    made.engine.dispose()


def look(validator, verb, *arguments):
    """A verb's output on the validator's folder, by its schema."""
    ran = run("--state", str(validator.state), *verb.split(), *arguments, "--json")
    assert ran.code == 0, ran
    return ran.json(verb)


def text(validator, *arguments) -> str:
    ran = run("--state", str(validator.state), *arguments)
    assert ran.code == 0, ran
    return ran.out


def test_scores_say_who_earns_what_and_how_it_went(validator):
    """Shares sum to one, add up to the published vector, and have a history."""
    rows = {row["hotkey"]: row for row in look(validator, "scores")}
    assert sum(row["share"] for row in rows.values()) == pytest.approx(1)
    assert rows["good"]["share"] == rows["good"]["published"] > 0
    assert rows["cheat"]["share"] == 0
    assert "cool-down" in rows["cheat"]["zero"]
    assert rows["cheat"]["history"][0] > 0 == rows["cheat"]["history"][-1]
    assert rows["newcomer"]["history"][0] == 0
    assert [row["uid"] for row in look(validator, "scores", "--paid")] == [0, 2]
    shown = text(validator, "scores")
    assert "RELIABILITY" in shown
    assert "█" in shown


def test_a_share_is_drawn_over_time(validator):
    """The plot has an axis from 0 to the largest share, and as many columns as epochs."""
    lines = text(validator, "scores", "--plot", "1").splitlines()
    assert lines[0].startswith("UID 1 cheat")
    assert lines[1].startswith("0.5▕")
    assert "3 epochs" in lines[-1]
    assert run("--state", str(validator.state), "scores", "--plot", "9").code == 2


def test_explain_tells_every_factor_and_what_was_measured(validator):
    """The product of the factors is the score; the newest measurements stand below."""
    good = look(validator, "score explain", "0")
    product = 1.0
    for term in good["miner"]["terms"]:
        product *= term["value"]
    assert round(product * PPM) == good["miner"]["score"]
    assert {term["name"] for term in good["miner"]["terms"]} >= {"capacity", "reliability"}
    assert [check["kind"] for check in good["checks"][:3]] == ["probe", "proof", "specs"]
    shown = text(validator, "score", "explain", "cheat")
    assert "earns nothing: cool-down after a failed opening" in shown
    assert "opening_failed" in shown
    assert run("--state", str(validator.state), "score", "explain", "77").code == 2


def test_miners_are_listed_as_they_were_measured(validator):
    """Claims, proofs and how long ago each check was."""
    rows = {row["hotkey"]: row for row in look(validator, "miners")}
    assert rows["cheat"]["newest"]["proof"]["outcome"] == "failed"
    assert rows["good"]["proven"][0]["gpu_class"] == "cpu-dev"
    assert "FAILED -4" in text(validator, "miners")


def test_status_tells_what_was_done(validator):
    """Records, outcomes by kind, the newest vector and its fate."""
    found = look(validator, "validator status")
    assert found["validator"] == validator.key.ss58_address
    proofs = next(each for each in found["recent"] if each["kind"] == "proof")
    assert (proofs["passed"], proofs["failed"]) == (8, 1)
    assert (found["paid"], found["submission"]["state"]) == (2, "planned")
    assert "evidence" in text(validator, "validator", "status")


def test_weights_are_shown_only_when_their_signature_holds(validator):
    """The newest by default, any by its hash; a changed document is refused."""
    shown = look(validator, "weights show")
    assert shown["weights"]["epoch_block"] == EPOCHS[-1]
    assert sum(shown["shares"].values()) == pytest.approx(1)
    sha = shown["weights"]["sha256"]
    assert look(validator, "weights show", sha)["weights"] == shown["weights"]
    assert run("--state", str(validator.state), "weights", "show", "0" * 64).code == 2
    forged = {**shown["weights"], "vector": {"1": 65535}}
    WeightsStore(validator.engine).plan(999, "f" * 64, json.dumps(forged))
    refused = run("--state", str(validator.state), "weights", "show", "f" * 64)
    assert refused.code == Code.PEER_INVALID.spec.exit_code


def test_exported_evidence_gives_the_same_vectors_anywhere(validator, tmp_path):
    """From a folder, from an export, under the shipped policy or a named file: bit for bit."""
    file = tmp_path / "evidence.jsonl"
    assert look(validator, "validator export", str(file))["records"] == 28
    for source in (file, validator.state, validator.state / "validator.sqlite"):
        again = look(validator, "weights replay", str(source))
        assert [each["epoch_block"] for each in again] == list(EPOCHS)
        assert all(each["same"] and each["complete"] for each in again)
    assert all(
        each["same"] for each in look(validator, "weights replay", str(file), "--policy", "dev")
    )


def test_a_changed_byte_of_evidence_is_found(validator, tmp_path):
    """Broken evidence, and a policy that gives other weights, end with codes of their own."""
    file = tmp_path / "evidence.jsonl"
    look(validator, "validator export", str(file))
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:3], lines[3].replace('"block":9', '"block":8'), *lines[4:]]))
    broken = run("weights", "replay", str(file))
    assert broken.code == Code.EVIDENCE_BROKEN.spec.exit_code
    file.write_bytes(b"\xff\xfe")
    assert run("weights", "replay", str(file)).code == Code.EVIDENCE_BROKEN.spec.exit_code
    other = run("weights", "replay", str(validator.state), "--policy", "production")
    assert other.code == Code.REPLAY_DIFFERS.spec.exit_code
    assert run("weights", "replay", str(tmp_path / "nothing")).code == Code.USAGE.spec.exit_code


def signed(validator, *arguments):
    """Arguments with the validator's own wallet in front."""
    own = ("--wallet", "validator", "--wallet-path", str(validator.wallets))
    return run(*own, "--state", str(validator.state), *arguments, "--json")


def test_a_penalty_counts_until_it_is_lifted(validator):
    """Penalise, see it count in the score, pardon, see it gone; all of it signed evidence."""
    dry = signed(validator, "validator", "penalise", "0", "--reason", "try", "--dry-run")
    assert dry.json("validator penalise")["penalty"] == ""
    assert look(validator, "validator penalties") == []
    made = signed(validator, "validator", "penalise", "0", "--reason", "down", "--factor", "0.5")
    penalty = made.json("validator penalise")["penalty"]
    assert [p["penalty"] for p in look(validator, "validator penalties")] == [penalty]
    terms = look(validator, "score explain", "0")["miner"]["terms"]
    assert ("penalty", 0.5) in [(term["name"], term["value"]) for term in terms]
    assert signed(validator, "validator", "pardon", penalty).code == 0
    assert look(validator, "validator penalties") == []
    assert signed(validator, "validator", "pardon", penalty).code == Code.USAGE.spec.exit_code


def test_only_the_validators_own_key_writes(validator):
    """Another hotkey is refused before anything is written."""
    make_wallet(validator.wallets, "other", "default")
    refused = run(
        *("--wallet", "other", "--wallet-path", str(validator.wallets)),
        *("--state", str(validator.state), "validator", "penalise", "0", "--reason", "x"),
    )
    assert refused.code == Code.USAGE.spec.exit_code
    assert look(validator, "validator penalties") == []


@pytest.mark.parametrize(
    "settings",
    ["state: {state}\nvalidation:\n  policy: dev\n", "validation:\n  database: {url}\n"],
    ids=["its state folder", "a database elsewhere"],
)
def test_the_validators_own_settings_say_where_it_is(validator, tmp_path, settings):
    """With the file that the validator runs by, nothing else has to be named."""
    file = tmp_path / "validator.yaml"
    file.write_text(settings.format(state=validator.state, url=validator.engine.url))
    assert run("--config", str(file), "scores", "--json").json("scores")
    assert run("--config", str(file), "validator", "tenant", "list").code == 0


def test_offers_know_reliability_wherever_the_evidence_is(validator, tmp_path, monkeypatch):
    """A renter on the validator's machine filters by its evidence, whichever database holds it."""
    by_folder = reliabilities(Context({"state": str(validator.state)}), needed=False)
    elsewhere = Context({"state": str(tmp_path / "empty")})
    assert reliabilities(elsewhere, needed=False) == {}
    with pytest.raises(UsageError, match="no validator's database"):
        reliabilities(elsewhere, needed=True)
    monkeypatch.setenv("COMPUTE_VALIDATION_DATABASE", str(validator.engine.url))
    assert reliabilities(Context(elsewhere.flags), needed=True) == by_folder
    assert by_folder["good"] > 0


def test_nothing_there_is_said_plainly(tmp_path):
    """A folder without a validator, and a validator before its first epoch."""
    assert run("--state", str(tmp_path), "scores").code == Code.USAGE.spec.exit_code
    fresh = Validator(tmp_path)
    assert "first epoch" in run("--state", str(fresh.state), "scores").err
    assert run("--state", str(fresh.state), "validator", "status").code == 0
    fresh.engine.dispose()


def test_plots_are_drawn_to_scale():
    """Bars to an eighth of a cell, sparklines by their largest, charts with their ends."""
    assert (bar(1, 4), bar(0.5, 4), bar(1 / 32, 4), bar(0, 4)) == ("████", "██", "▏", "")
    assert spark([0, 1, 4, 8], 4) == "·▁▄█"
    assert spark([0, 0], 4) == "··"
    assert chart([0.0, 0.5, 1.0], 20, 2, "x") == ["1▕  █", "0▕ ██", "  x"]
    assert chart(list(range(100)), 12, 1)[0].endswith("█")
    assert max(map(len, chart(list(range(1000)), 40, 5, "label"))) <= 40
