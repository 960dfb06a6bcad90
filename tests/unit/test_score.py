"""How evidence becomes a vector: one behaviour of the policy for each test."""

from typing import Any

import pytest

from compute.domain.book import Book
from compute.domain.evidence import EvidenceKind, Outcome, Reason
from compute.domain.measurement import (
    PPM,
    U16,
    PenaltyContent,
    PingContent,
    ProbeContent,
    ProofContent,
    ProvenGpu,
    ScoresContent,
    SpecsContent,
    WeightsContent,
)
from compute.domain.policy import Policy, parse_policy
from compute.domain.score import Board, MinerScore
from compute.proof.classes import known_classes
from compute.testing import evidence
from compute.testing.evidence import NOW, PASSED, proven, snapshot
from compute.validator.policies import load_policy

POLICY = parse_policy(
    """
version = 1
name = "test"
revision = 1
[window]
blocks = 10000
specs_age = 500
proof_age = 1000
cooldown = 2000
half_life = 1000
[rates]
h100-sxm = 1000000
l4 = 120000
cpu-dev = 0
"""
)


class Log(evidence.Log):
    """A log that is scored by the test policy unless told otherwise."""

    def board(self, *miners: str, policy: Policy = POLICY, **more: Any) -> Board:
        """The score of these miners."""
        return super().board(*miners, policy=policy, **more)


def of(board: Board, uid: int = 0) -> MinerScore:
    found = board.explain(uid)
    assert found is not None
    return found


def failing(reason: Reason) -> tuple[Outcome, Reason]:
    return (Outcome.FAILED, reason)


def test_capacity_is_paid_by_class_and_credit():
    """Two H100 at full credit weigh more than one L4 at 90%, in the proportion of the rates."""
    log = Log().proven("big", "a", "b").claim("small", "c", model="NVIDIA L4")
    log.proof("small", proven("c", "l4", 900_000))
    board = log.board("big", "small")
    assert [m.score for m in board.miners] == [2_000_000, 108_000]
    assert board.vector == {0: U16, 1: -(-108_000 * U16 // 2_000_000)}


def test_unknown_gpu_is_an_explicit_zero():
    """A GPU that no class knows earns nothing, and the reason says so."""
    log = (
        Log()
        .claim("m", "x")
        .proof(
            "m",
            ProvenGpu(gpu="x", gpu_class="", credit_ppm=0, reason=Reason.UNKNOWN_GPU),
            outcome=failing(Reason.UNKNOWN_GPU),
        )
    )
    assert of(log.board("m")).zero == "unknown: unknown GPU, explicit zero"


def test_class_without_a_rate_is_not_paid():
    """A processor is proven on the development class, and earns nothing in production."""
    log = Log().claim("m").proof("m", proven("cpu", "cpu-dev"))
    assert "not paid" in of(log.board("m")).zero
    assert of(log.board("m", policy=load_policy("production"))).score == 0
    assert of(log.board("m", policy=load_policy("dev"))).score > 0


@pytest.mark.parametrize(
    "reason", [Reason.MALFORMED, Reason.UNREACHABLE, Reason.LATE, Reason.BAD_RECEIPT]
)
def test_failure_shows_in_the_very_next_vector(reason: Reason):
    """Any failed proof, a malformed one included, pays nothing at once, however good the past."""
    log = Log()
    for block in range(NOW - 5000, NOW - 100, 300):
        log.proven("m", "a", block=block)
    assert of(log.board("m")).score > 0
    log.proof("m", outcome=failing(reason), block=NOW - 1)
    assert of(log.board("m")).score == 0


def test_failed_claim_pays_nothing():
    """A malformed Specs answer pays nothing although the last proof passed."""
    log = (
        Log()
        .proven("m", "a")
        .write(
            EvidenceKind.SPECS,
            "m",
            SpecsContent(),
            outcome=failing(Reason.MALFORMED),
            block=NOW - 1,
        )
    )
    assert of(log.board("m")).zero == "its claim failed: malformed"


def test_inconclusive_changes_nothing():
    """A measurement that failed through our own fault leaves the score as it was, to the unit."""
    log = Log().proven("m", "a")
    before = of(log.board("m"))
    for kind, content in (
        (EvidenceKind.PROOF, ProofContent()),
        (EvidenceKind.SPECS, SpecsContent()),
        (EvidenceKind.PROBE, ProbeContent()),
    ):
        log.write(kind, "m", content, outcome=(Outcome.INCONCLUSIVE, Reason.OUR_FAULT), block=NOW)
    assert of(log.board("m")) == before


def test_failed_opening_cools_down_whatever_follows():
    """After a failed opening nothing is paid until the cool-down is over, clean passes or not."""
    log = Log().proof("m", outcome=failing(Reason.OPENING_FAILED), block=NOW - 100)
    log.proven("m", "a")
    assert "cool-down" in of(log.board("m")).zero
    later = NOW - 100 + POLICY.window.cooldown + 1
    log.proven("m", "a", block=later - 1)
    assert of(log.board("m", block=later)).score > 0


def test_slow_gpu_costs_only_itself():
    """One GPU below its class earns nothing; the others of the same node keep their credit."""
    slow = ProvenGpu(gpu="b", gpu_class="h100-sxm", credit_ppm=0, reason=Reason.SLOW)
    log = Log().claim("m", "a", "b").proof("m", proven("a"), slow, outcome=failing(Reason.SLOW))
    found = of(log.board("m"))
    assert found.capacity == 1_000_000
    assert 0 < found.score < 1_000_000


def test_gpu_no_longer_claimed_is_not_paid():
    """A GPU that was proven and has gone from the claim is not paid for."""
    log = Log().proven("m", "a", "b").claim("m", "a", block=NOW - 1)
    assert of(log.board("m")).capacity == 1_000_000


def test_stale_proof_pays_nothing():
    """A proof older than the policy allows verifies no capacity."""
    log = Log().proven("m", "a", block=NOW - POLICY.window.proof_age).claim("m", "a")
    assert of(log.board("m")).zero == "its last proof is too old"


def test_rental_keeps_a_proof_alive():
    """Leased hardware cannot be challenged: while pings of a rental pass, the old proof counts."""
    old = NOW - POLICY.window.proof_age
    log = Log().proven("m", "a", block=old).claim("m", "a")
    log.write(EvidenceKind.PING, "m", PingContent(), block=NOW - 50)
    assert of(log.board("m")).score > 0
    later = NOW + POLICY.window.specs_age
    log.claim("m", "a", block=later)
    assert of(log.board("m", block=later)).zero == "its last proof is too old"


def test_of_claims_the_newest_conclusive_one_is_kept():
    """A failed call of ours takes no claim away, and a window of claims takes no room."""
    log = Log().proven("m", "a", "b")
    for _ in range(3):
        log.claim("m", "a")
    log.claim("m", outcome=(Outcome.INCONCLUSIVE, Reason.CHAIN_AWAY))
    assert of(log.board("m")).capacity == 1_000_000
    assert len(Book().extend(log.records).miner("m").claims) == 1


# --- GPUs that are leased through others while the rest is proven ---------------------------------


def leased(*gpus: str) -> tuple[ProvenGpu, ...]:
    return tuple(
        ProvenGpu(gpu=gpu, gpu_class="h100-sxm", credit_ppm=0, reason=Reason.BUSY) for gpu in gpus
    )


def test_leased_gpu_counts_as_last_proven_until_that_is_too_old():
    """While the rest is proven, a leased GPU is paid as before, and never longer than proof_age."""
    age = POLICY.window.proof_age
    log = Log().claim("m", "a", "b").proof("m", proven("a"), proven("b"), block=NOW - age + 1)
    log.proof("m", proven("a"), *leased("b"))
    assert of(log.board("m")).capacity == 2_000_000
    assert "leased and proven before" in of(log.board("m")).terms[0].why
    assert of(log.board("m", block=NOW + 1)).capacity == 1_000_000
    log.proof("m", proven("a"), *leased("b"), block=NOW)
    assert of(log.board("m", block=NOW + 1)).capacity == 1_000_000


def test_rental_of_ours_vouches_for_a_leased_gpu():
    """A leased GPU stands on while pings of a rental made here pass, as a whole node does."""
    old = NOW - 2 * POLICY.window.proof_age
    log = Log().claim("m", "a", "b").proof("m", proven("a"), proven("b"), block=old)
    log.proof("m", proven("a"), *leased("b"))
    assert of(log.board("m")).capacity == 1_000_000
    log.write(EvidenceKind.PING, "m", PingContent(), block=NOW - 50)
    assert of(log.board("m")).capacity == 2_000_000


def test_gpu_that_was_never_proven_gains_nothing_by_being_leased():
    """To call an imagined GPU leased, in every round, pays nothing for it."""
    log = Log().claim("m", "a", "imagined")
    for block in range(NOW - 900, NOW, 100):
        log.proof("m", proven("a"), *leased("imagined"), block=block)
    assert of(log.board("m")).capacity == 1_000_000


def test_one_device_under_two_names_in_turn_is_paid_once():
    """GPUs that no session has shown together are not paid together: they may be one device."""
    log = Log().claim("m", "a", "b", "c")
    for block, now, away in ((3, "a", "bc"), (2, "b", "ac"), (1, "c", "ab")):
        log.proof("m", proven(now), *leased(*away), block=NOW - 10 * block)
    assert of(log.board("m")).capacity == 1_000_000
    log = Log().claim("two", "a", "b", "c")
    for block, now, away in ((3, "ab", "c"), (2, "bc", "a"), (1, "ac", "b")):
        shown = tuple(proven(gpu) for gpu in now)
        log.proof("two", *shown, *leased(*away), block=NOW - 10 * block)
    assert of(log.board("two")).capacity == 2_000_000


def test_fast_device_shown_as_several_slow_ones_is_paid_once():
    """GPUs shown together as another class than they are paid as may be one device as well."""
    log = Log().claim("m", "a", "b", "c", model="NVIDIA L4")
    log.proof("m", *(proven(gpu, "l4") for gpu in "abc"), block=NOW - 50)
    log.claim("m", "a", "b", "c")
    for block, now, away in ((3, "a", "bc"), (2, "b", "ac"), (1, "c", "ab")):
        log.proof("m", proven(now), *leased(*away), block=NOW - 10 * block)
    assert of(log.board("m")).capacity == 1_000_000


def test_failed_gpu_cannot_hide_in_a_lease():
    """What failed last, alone or with its node, is not revived by being called leased."""
    both = (proven("a"), proven("b"))
    slow = ProvenGpu(gpu="b", gpu_class="h100-sxm", credit_ppm=0, reason=Reason.SLOW)
    log = Log().claim("m", "a", "b").proof("m", *both, block=NOW - 50)
    log.proof("m", proven("a"), slow, outcome=failing(Reason.SLOW), block=NOW - 40)
    log.proof("m", proven("a"), *leased("b"))
    assert of(log.board("m")).capacity == 1_000_000
    log = Log().claim("m", "a", "b").proof("m", *both, block=NOW - 50)
    log.proof("m", outcome=failing(Reason.MALFORMED), block=NOW - 40)
    log.proof("m", proven("a"), *leased("b"))
    assert of(log.board("m")).capacity == 1_000_000


def test_leased_gpu_is_not_lost_to_a_rival():
    """Who proves another's leased GPU under its name is the duplicate, as long as it stands."""
    log = Log().proven("owner", "a", "b", block=NOW - 300)
    log.proof("owner", proven("a"), *leased("b"), block=NOW - 100)
    log.proven("rival", "b", block=NOW - 90)
    board = log.board("rival", "owner")
    assert (of(board, 0).score, of(board, 1).capacity) == (0, 2_000_000)
    assert board.rulings == {"gpu:b": "owner"}


def test_duplicate_gpu_pays_who_was_proven_first():
    """The same GPU identity under two hotkeys is paid once: to whom it was proven for longest."""
    log = Log().proven("first", "a", block=NOW - 800).proven("second", "a", block=NOW - 700)
    log.proven("second", "a").proven("first", "a")
    board = log.board("second", "first")
    assert of(board, 0).score == 0
    assert "duplicate" in of(board, 0).zero
    assert of(board, 1).score > 0
    assert board.rulings == {"gpu:a": "first"}


def test_ruling_outlives_the_records_that_it_was_made_from():
    """Who held a contested GPU in the last vector holds it in the next, whatever the window shows.

    Else two miners could wait until both seem equally old, and take turns.
    """
    log = Log().proven("thief", "a", block=NOW - 300).proven("owner", "a", block=NOW - 200)
    assert log.board("thief", "owner").rulings == {"gpu:a": "thief"}
    content = WeightsContent(
        snapshot=snapshot("thief", "owner"),
        upto=4,
        policy="test",
        policy_sha256="0" * 64,
        vector_sha256="0" * 64,
        rulings={"gpu:a": "owner"},
    )
    log.write(EvidenceKind.WEIGHTS, "", content)
    assert log.board("thief", "owner").rulings == {"gpu:a": "owner"}


def test_contested_gpu_of_any_name_is_ruled_on():
    """A ruling on an identity of the greatest length is evidence like any other, and is honoured.

    Else two hotkeys that contest such a name would end all weights.
    """
    name = "G" * 200
    log = Log().proven("first", name, block=NOW - 300).proven("second", name, block=NOW - 200)
    board = log.board("second", "first")
    assert list(board.rulings.values()) == ["first"]
    content = WeightsContent(
        snapshot=snapshot("second", "first"),
        upto=4,
        policy="test",
        policy_sha256="0" * 64,
        vector_sha256=board.sha256,
        rulings=dict.fromkeys(board.rulings, "second"),
    )
    log.write(EvidenceKind.WEIGHTS, "", content)
    assert set(log.board("second", "first").rulings.values()) == {"second"}


def test_duplicate_address_pays_one():
    """Two miners behind one host are one too many for a policy of one per host."""
    log = Log().proven("first", "a", block=NOW - 400, address="10.0.0.1:8091")
    log.proven("first", "a", address="10.0.0.1:8091")
    log.proven("second", "b", address="10.0.0.1:8092")
    board = log.board("second", "first")
    assert of(board, 0).zero.startswith("address:")
    assert of(board, 1).score > 0
    log.proven("second", "b", address="10.0.0.2:8091", block=NOW - 1)
    assert all(m.score for m in log.board("second", "first").miners)


def test_address_that_is_only_announced_is_nobodys():
    """An old miner that announces a younger one's address takes nothing from it.

    Nor does its seniority move with it: a tenure begins with the first proof made at an address.
    """
    log = Log().proven("squatter", "a", block=NOW - 800, address="10.6.6.6:8091")
    log.proven("squatter", "a", block=NOW - 400, address="10.6.6.6:8091")
    log.proven("victim", "b", block=NOW - 300, address="10.0.0.1:8091")
    board = log.board("victim", "squatter", same_host=True)  # both announce 10.0.0.1 by now
    assert all(miner.score for miner in board.miners)
    log.proven("squatter", "a", block=NOW - 5, address="10.0.0.1:1")
    board = log.board("victim", "squatter", same_host=True)
    assert of(board, 0).score > 0
    assert of(board, 1).zero.startswith("address:")


@pytest.mark.parametrize("policy", [POLICY, load_policy("dev"), load_policy("production")])
def test_processor_gives_no_title_to_a_gpu(policy: Policy):
    """A proof on a processor or an unpaid class, however old, takes no GPU from who proves it."""
    log = Log().claim("squatter", "a").proof("squatter", proven("a", "cpu-dev"), block=NOW - 600)
    log.proven("victim", "a").claim("squatter", "a")
    board = log.board("victim", "squatter", policy=policy)
    assert board.rulings == {}
    assert of(board, 0).score > 0
    assert of(board, 1).score == 0


def test_failed_round_hands_no_gpu_to_whoever_waited_for_it():
    """One failed proof breaks no tenure, and a ruling stands while its holder is away."""
    log = Log().proven("owner", "a", block=NOW - 800)
    log.proof("owner", outcome=failing(Reason.UNREACHABLE), block=NOW - 500)
    log.proven("rival", "a", block=NOW - 400).proven("owner", "a", block=NOW - 200)
    log.proven("rival", "a", block=NOW - 150)
    board = log.board("owner", "rival")
    assert board.rulings == {"gpu:a": "owner"}
    content = WeightsContent(
        snapshot=snapshot("owner", "rival"),
        upto=len(log.records),
        policy="test",
        policy_sha256="0" * 64,
        vector_sha256=board.sha256,
        rulings=dict(board.rulings),
    )
    log.write(EvidenceKind.WEIGHTS, "", content)
    log.proof("owner", outcome=failing(Reason.UNREACHABLE), block=NOW - 1)
    board = log.board("owner", "rival")
    assert of(board, 1).score > 0
    assert board.rulings == {"gpu:a": "owner"}


def test_failed_probe_stands_until_a_clean_pass():
    """A miner that cannot be rented from earns nothing until a probe passes again."""
    log = Log().proven("m", "a").probe("m", failing(Reason.PROBE_FAILED))
    assert "probe" in of(log.board("m")).zero
    log.probe("m", (Outcome.INCONCLUSIVE, Reason.OUR_FAULT), NOW - 4)
    assert of(log.board("m")).score == 0
    log.probe("m", PASSED, NOW - 3)
    assert of(log.board("m")).score > 0


def test_passed_probe_does_not_count_for_ever():
    """A miner that cannot be probed any more falls back to what an unprobed one is paid."""
    policy = load_policy("production")
    old = NOW - (policy.window.probe_age or 0)
    log = Log().proven("m", "a").probe("m", PASSED, old)
    term = of(log.board("m", policy=policy)).terms[3]
    assert (term.name, term.ppm, term.why) == ("probe", 500_000, "its last rental probe is too old")
    assert of(log.board("m", policy=policy, block=NOW - 1)).terms[3].ppm == PPM


def test_probes_cannot_be_put_off_for_ever():
    """Busy once or twice is nobody's fault; each time is a failure, until a probe passes."""
    log = Log().proven("m", "a").probe("m", PASSED, NOW - 9)
    full = of(log.board("m")).score
    busy = (Outcome.INCONCLUSIVE, Reason.BUSY)
    log.probe("m", busy, NOW - 8).probe("m", busy, NOW - 7)
    log.probe("m", (Outcome.INCONCLUSIVE, Reason.OUR_FAULT), NOW - 6)
    assert of(log.board("m")).score == full
    log.probe("m", busy, NOW - 5)
    assert of(log.board("m")).zero == "probe: busy at the last 3 rental probes"
    log.probe("m", PASSED, NOW - 4)
    assert of(log.board("m")).score == full


def test_newcomer_ramps_up():
    """A newcomer's pay grows with each passed proof until the policy's number is reached."""
    policy = load_policy("production")
    log, shares = Log(), []
    for index in range(policy.reliability.ramp_passes + 2):
        block = NOW + 360 * index
        log.proven("m", "a", block=block)
        shares.append(of(log.board("m", policy=policy, block=block)).score)
    assert shares[0] > 0
    assert shares == sorted(shares)
    assert shares[-1] == shares[-3] == pytest.approx(12 * shares[0], abs=12)


def test_reliability_forgets_by_half_lives():
    """One failed check weighs half as much a half-life later."""
    log = Log().claim("m", "a", block=NOW - 2000, outcome=failing(Reason.LATE))
    log.proven("m", "a")
    recent = of(log.board("m")).terms[1].ppm
    log = Log().claim("m", "a", block=NOW - 3000, outcome=failing(Reason.LATE))
    log.proven("m", "a")
    older = of(log.board("m")).terms[1].ppm
    assert (PPM - older) / (PPM - recent) == pytest.approx(0.5, rel=0.1)


def test_penalty_counts_until_it_expires_or_is_withdrawn():
    """A penalty multiplies the score, says why, and ends by itself or by its withdrawal."""
    log = Log().proven("m", "a")
    full = of(log.board("m")).score
    half = PenaltyContent(penalty="p1", factor_ppm=500_000, until_block=NOW, reason="told lies")
    log.write(EvidenceKind.PENALTY, "m", half)
    assert of(log.board("m")).score == full // 2
    assert any("told lies" in term.why for term in of(log.board("m")).terms)
    assert of(log.board("m", block=NOW + 1)).score == full
    log.write(EvidenceKind.PENALTY, "m", half.model_copy(update={"factor_ppm": PPM}))
    assert of(log.board("m")).score == full


def test_dead_challenge_blanks_nobody():
    """A challenge whose scores are too old contributes nothing, and the others pay as before."""
    text = POLICY.model_dump() | {
        "challenges": {"compute": {"share": 600_000}, "other": {"share": 400_000, "max_age": 100}}
    }
    policy = Policy.model_validate(text)
    log = Log().proven("m", "a")
    scores = ScoresContent(challenge="other", scores={"n": 7})
    log.write(EvidenceKind.SCORES, "", scores, block=NOW - 50)
    both = log.board("m", "n", policy=policy).vector
    assert both == {0: U16, 1: -(-U16 * 4 // 6)}
    assert log.board("m", "n", policy=policy, block=NOW + 60).vector == {0: U16}


def test_reregistered_hotkey_keeps_its_evidence_and_moves_its_uid():
    """Evidence belongs to a hotkey: under another UID it earns the same."""
    log = Log().proven("m", "a")
    first = log.board("m").vector
    moved = log.board("stranger", "m").vector
    assert (first, moved) == ({0: U16}, {1: U16})


def test_changed_hotkey_starts_from_nothing():
    """A new hotkey on the same UID has no evidence, so it earns nothing yet."""
    assert of(Log().proven("old", "a").board("new")).zero == "not measured yet"


def test_shipped_policies_pay_only_classes_that_exist():
    """Every class that a shipped policy pays for stands in the class table."""
    known = {each.name for each in known_classes().classes}
    for name in ("production", "dev"):
        assert set(load_policy(name).rates) <= known
