"""Scoring is a pure function of evidence: however it is folded, exported or cut, same bits."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from compute.domain.book import Book
from compute.domain.evidence import EvidenceKind, Outcome, Reason, from_line, to_line
from compute.domain.measurement import PPM, U16, PenaltyContent, WeightsContent
from compute.domain.policy import Policy
from compute.domain.score import decay, score
from compute.domain.vector import clip, quantise
from compute.testing.evidence import PASSED, Log, proven, snapshot
from compute.validator.policies import load_policy
from compute.validator.replay import replay

MINERS = ("m0", "m1", "m2", "m3")
GPUS = ("a", "b", "c")
POLICY = load_policy("production").model_copy(
    update={
        "window": load_policy("production").window.model_copy(
            update={"blocks": 600, "specs_age": 200, "proof_age": 300, "cooldown": 150}
        )
    }
)
OUTCOMES = st.sampled_from(
    [
        PASSED,
        PASSED,
        (Outcome.FAILED, Reason.LATE),
        (Outcome.FAILED, Reason.OPENING_FAILED),
        (Outcome.FAILED, Reason.SLOW),
        (Outcome.INCONCLUSIVE, Reason.OUR_FAULT),
    ]
)
STEPS = st.tuples(
    st.sampled_from(["claim", "proof", "probe", "penalty", "weights"]),
    st.sampled_from(MINERS),
    st.sets(st.sampled_from(GPUS)),
    OUTCOMES,
    st.integers(0, PPM),
    st.integers(0, 60),
)


def tell(steps: list[Any], policy: Policy) -> tuple[Log, list[WeightsContent]]:
    """Write a story as a validator would: one book, grown record by record and pruned."""
    log, book, vectors, block = Log(), Book(), [], 10_000
    for step, miner, gpus, outcome, credit, blocks in steps:
        block += blocks
        before = len(log.records)
        if step == "claim":
            log.claim(miner, *sorted(gpus), outcome=outcome, block=block)
        elif step == "proof":
            shown = tuple(proven(g, credit=credit) for g in sorted(gpus))
            if shown and credit % 3 == 0:  # one of them is leased
                away = {"credit_ppm": 0, "reason": Reason.BUSY}
                shown = (*shown[1:], shown[0].model_copy(update=away))
            log.proof(miner, *shown, outcome=outcome, block=block)
        elif step == "probe":
            log.probe(miner, outcome, block)
        elif step == "penalty":
            content = PenaltyContent(
                penalty="p", factor_ppm=credit, until_block=block + 90, reason="r"
            )
            log.write(EvidenceKind.PENALTY, miner, content, block=block)
        else:
            taken = snapshot(*MINERS, block=block, same_host=bool(gpus))
            board = score(book, taken, policy)
            content = WeightsContent(
                snapshot=taken,
                upto=book.head,
                policy=policy.name,
                policy_sha256=policy.sha256,
                vector={str(uid): weight for uid, weight in board.vector.items()},
                vector_sha256=board.sha256,
                rulings=dict(board.rulings),
            )
            vectors.append(content)
            log.write(EvidenceKind.WEIGHTS, "", content, block=block)
            book.prune(block - policy.window.blocks * 3 // 2)
        book.extend(log.records[before:])
    return log, vectors


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, min_size=5, max_size=60))
def test_replay_of_an_export_gives_every_vector(steps: list[Any]):
    """What was computed record by record in memory comes out of the exported lines, to the bit."""
    log, vectors = tell([*steps, ("weights", "m0", set(), PASSED, 0, 5)], POLICY)
    lines = [to_line(record) for record in log.records]
    replayed = list(replay((from_line(line) for line in lines), POLICY))
    assert [each.published for each in replayed] == vectors
    assert all(each.same and each.complete and each.policy_matches for each in replayed)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, min_size=20, max_size=60), st.integers(0, 30))
def test_records_before_the_window_change_nothing(steps: list[Any], cut: int):
    """A log whose old end was removed gives the same vector wherever it covers the window."""
    log, _ = tell([*steps, ("weights", "m0", set(), PASSED, 0, 5)], POLICY)
    for each in replay(log.records[cut:], POLICY):
        assert each.same or not each.complete


@given(st.lists(STEPS, max_size=40))
@settings(max_examples=40, deadline=None)
def test_nobody_earns_without_a_passed_proof(steps: list[Any]):
    """Whatever else happens, a miner whose newest conclusive proof did not pass earns nothing."""
    log, _ = tell(steps, POLICY)
    book = Book().extend(log.records)
    block = max((record.block for record in log.records), default=1)
    board = score(book, snapshot(*MINERS, block=block), POLICY)
    for miner in board.miners:
        proof = book.miner(miner.hotkey).proof(0)
        if proof is None or proof.reason in (Reason.LATE, Reason.OPENING_FAILED):
            assert miner.score == 0


SESSIONS = st.lists(st.dictionaries(st.sampled_from("abcd"), st.booleans()), max_size=8)


@given(SESSIONS)
def test_nobody_is_paid_for_more_than_one_session_has_shown(sessions: list[dict[str, bool]]):
    """Whatever is called leased when, all that is paid was shown at once, not long ago."""
    log = Log()
    for index, session in enumerate(sessions):
        shown = [
            proven(gpu)
            if there
            else proven(gpu, credit=0).model_copy(update={"reason": Reason.BUSY})
            for gpu, there in session.items()
        ]
        log.proof("m", *shown, block=100 + index)
    oldest = 100 + len(sessions) - 6
    book = Book().extend(log.records).miner("m")
    paid = {gpu.gpu for gpu in book.shown(0, oldest) if gpu.credit_ppm}
    recent = [p for p in book.proofs if p.block > oldest] or [*book.proofs][-1:]
    together = [{gpu.gpu for gpu in proof.gpus if gpu.credit_ppm} for proof in recent]
    assert not paid or any(paid <= each for each in together)
    if sessions:
        assert paid >= {gpu for gpu, there in sessions[-1].items() if there}


@given(
    st.dictionaries(st.integers(0, 300), st.integers(1, 10**30), min_size=1, max_size=64),
    st.integers(1, U16),
)
def test_clipped_vectors_meet_the_chain_s_limit(weights: dict[int, int], limit: int):
    """After clipping and rounding, the largest share is within the limit where it can be at all."""
    vector = quantise(clip(weights, limit))
    assert vector.keys() == weights.keys()
    assert max(vector.values()) == U16
    if len(weights) * limit > U16:
        assert max(vector.values()) * U16 <= limit * sum(vector.values())


@given(st.integers(0, 100_000), st.integers(1, 10_000))
def test_decay_never_grows_with_age(age: int, half_life: int):
    """An older check never weighs more than a newer one."""
    assert decay(age, half_life) >= decay(age + 1, half_life) >= 0
