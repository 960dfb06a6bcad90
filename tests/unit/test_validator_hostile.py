"""A miner whose answers trip the validator: judged itself, and nobody else's trouble."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bittensor.sp_core import Keypair
from structlog.testing import capture_logs

from compute.cli.proving import _judgement
from compute.domain.evidence import EvidenceKind, Outcome, Reason
from compute.domain.hardware import HardwareReport
from compute.domain.measurement import ClaimedGpu, SpecsContent
from compute.domain.metagraph import Metagraph
from compute.domain.requirement import Capacity
from compute.errors import Code, ComputeError, PeerError
from compute.probes.report import Check, ProbeReport
from compute.probes.report import Outcome as Finding
from compute.protocol.address import Peer
from compute.protocol.receipts import Receipt
from compute.protocol.synapses import ChallengeReply, DiskEnforcement, SpecsReply, Terms
from compute.storage.database import Role, open_database
from compute.storage.evidence import EvidenceLog
from compute.testing.axon import metagraph
from compute.validator.chainview import ChainView
from compute.validator.crowd import Exclusion, each
from compute.validator.observing import Desk
from compute.validator.outcomes import PASSED, judge_answer
from compute.validator.probing import ProbeRound, ProbeVerdict
from compute.validator.recorder import Recorder
from compute.validator.specs_round import SpecsRound
from compute.validator.targets import Target
from compute.validator.transport import ChallengeChannel

EVIL = 1
TARGETS = [Target(uid, f"miner{uid}", f"10.0.0.{uid}:8091") for uid in range(1, 8)]
ADDRESS = Keypair.create_from_uri("//Miner").ss58_address
RECEIPT = Receipt(
    method="POST",
    target="/Specs",
    request_body=b"{}",
    request_scheme="sr25519",
    request_signature="0x" + "00" * 64,
    received_at=0.0,
    body=b"{}",
    status=200,
    nonce="1",
    caller=ADDRESS,
    callee=ADDRESS,
    scheme="sr25519",
    signature="0x" + "00" * 64,
)


class Still:
    """A chain that stands still, as far as a view looks at it."""

    async def block(self) -> int:
        """The newest block."""
        return 10

    async def metagraph(self) -> Metagraph:
        """Nobody."""
        return metagraph([], block=10)


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    engine = open_database(f"sqlite:///{tmp_path / 'validator.sqlite'}", Role.VALIDATOR)
    view = ChainView(Still(), poll_s=1)
    await view.look()
    return Desk(Recorder(EvidenceLog(engine, Keypair.create_from_uri("//V"), 1), 1000), view)


def found(desk: Desk, kind: EvidenceKind) -> dict[str, tuple[Outcome, Reason]]:
    return {
        record.miner: (record.outcome, record.reason)
        for record in desk.recorder.log.records(0)
        if record.kind is kind
    }


def claim(memory_mib: int) -> SpecsReply:
    host = HardwareReport(cpu_model="x", cpus=1, memory_mib=memory_mib)
    return SpecsReply(
        software="x",
        hosts=(host, host),
        total=Capacity(),
        free=Capacity(),
        terms=Terms(longest_lease_s=60, internet=True, disk=DiskEnforcement.NONE),
        default_image="",
    )


class Subnet:
    """Answers Specs; the first miner claims two hosts of as much memory as a host can claim."""

    async def call(self, peer: Peer, _synapse: Any, _request: Any, **_: Any) -> Any:
        """A valid, signed answer."""
        reply = claim(2**53 if peer.hotkey == TARGETS[0].hotkey else 1024)
        return SimpleNamespace(reply=reply, receipt=RECEIPT)


async def test_claim_beyond_all_bounds_is_malformed_and_stops_nobody(desk: Desk):
    """Sums that evidence cannot hold fail who claimed them; all others are measured as ever."""
    await SpecsRound(desk, Subnet(), deadline_s=5, at_once=4).run("specs-1", TARGETS)
    outcomes = found(desk, EvidenceKind.SPECS)
    assert outcomes.pop(TARGETS[0].hotkey) == (Outcome.FAILED, Reason.MALFORMED)
    assert outcomes == {t.hotkey: (Outcome.PASSED, Reason.OK) for t in TARGETS[1:]}


class Trap:
    """Rents from miners; whatever comes from the first one trips the probe."""

    def __init__(self, trip: Callable[[], Any]) -> None:
        self.trip = trip

    async def rent(self, peer: Peer, _deadline_s: float) -> ProbeVerdict:
        """Pass all but the first."""
        if peer.hotkey == TARGETS[0].hotkey:
            return ProbeVerdict(PASSED, ready_ms=self.trip())
        return ProbeVerdict(PASSED)


@pytest.mark.parametrize(
    "trip",
    [
        lambda: int("²"),
        lambda: next(iter(())),
        b"\xff".decode,
        lambda: {}["missing"],
        lambda: -1,  # refused only when the verdict becomes evidence
    ],
)
async def test_answer_that_trips_a_probe_fails_its_miner_alone(desk: Desk, trip: Callable[[], Any]):
    """No exception of one miner's making ends a round of probes: it fails as malformed."""
    gpu = ClaimedGpu(uuid="a", model="x", memory_mib=1)
    for target in TARGETS:
        claimed = SpecsContent(gpus=(gpu,))
        await desk.write(desk.observe(EvidenceKind.SPECS, "specs-1", target, PASSED, claimed))
    probes = ProbeRound(
        desk, Trap(trip), deadline_s=5, at_once=2, spread_blocks=1, alone=Exclusion()
    )
    await probes.run("probe-1", TARGETS)
    outcomes = found(desk, EvidenceKind.PROBE)
    assert outcomes.pop(TARGETS[0].hotkey) == (Outcome.FAILED, Reason.MALFORMED)
    assert outcomes == {t.hotkey: (Outcome.PASSED, Reason.OK) for t in TARGETS[1:]}


async def test_broken_item_stops_no_other():
    """An error that comes through is left with its item; one of our own is told at the end."""
    served: list[int] = []

    async def work(item: int) -> None:
        if item == EVIL:
            raise RuntimeError("a miner's doing")
        served.append(item)

    await each(range(6), work, at_once=2)
    assert served == [0, 2, 3, 4, 5]

    async def failing(item: int) -> None:
        served.append(item)
        if item == EVIL:
            raise ComputeError(Code.STORAGE_FAILED)

    served.clear()
    with pytest.raises(ComputeError):
        await each(range(6), failing, at_once=2)
    assert sorted(served) == list(range(6))


@pytest.mark.parametrize(
    ("code", "judged"),
    [
        (Code.DENIED, (Outcome.FAILED, Reason.REFUSED)),
        (Code.NOT_REGISTERED, (Outcome.FAILED, Reason.REFUSED)),
        (Code.RATE_LIMITED, (Outcome.INCONCLUSIVE, Reason.BUSY)),
        (Code.STALE, (Outcome.INCONCLUSIVE, Reason.BUSY)),
        (Code.CHAIN_AWAY, (Outcome.INCONCLUSIVE, Reason.OUR_FAULT)),
        (Code.STORAGE_FAILED, (Outcome.INCONCLUSIVE, Reason.OUR_FAULT)),
    ],
)
def test_miner_that_turns_a_probe_away_has_failed_it(code: Code, judged: tuple[Outcome, Reason]):
    """A refusal of the prober is the miner's failure, or counts in a row; our own faults do not."""
    unclear = Check(name="allocate", outcome=Finding.INCONCLUSIVE, code=code.spec.slug, reason="x")
    verdict = _judgement(ProbeReport(checks=(unclear,)))
    assert (verdict.outcome, verdict.reason) == judged


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ValueError(), Outcome.FAILED),
        (RecursionError(), Outcome.FAILED),
        (OSError(11, "no such host"), Outcome.FAILED),
        (OSError(24, "too many open files"), Outcome.INCONCLUSIVE),
        (MemoryError(), Outcome.INCONCLUSIVE),
        (NameError(), Outcome.FAILED),
        (AssertionError(), Outcome.FAILED),
        (PeerError(Code.PEER_AWAY), Outcome.FAILED),
        (ComputeError(Code.STORAGE_FAILED), Outcome.INCONCLUSIVE),
    ],
)
def test_only_what_we_lack_ourselves_excuses_a_miner(error: Exception, outcome: Outcome):
    """An error while a miner's answers are worked with is held against it unless it is ours."""
    assert judge_answer(error).outcome is outcome


# --- A defect of ours, or the answer of some -----------------------------------------------------


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    """What is logged, unprinted: traces of many errors take seconds to print."""
    with capture_logs() as events:
        yield events


GPU = ClaimedGpu(uuid="a", model="x", memory_mib=1)
ALL = frozenset(target.hotkey for target in TARGETS)
MALFORMED = (Outcome.FAILED, Reason.MALFORMED)
EXCUSED = (Outcome.INCONCLUSIVE, Reason.OUR_FAULT)
FINE = (Outcome.PASSED, Reason.OK)


def answers(struck: frozenset[str]) -> dict[str, tuple[Outcome, Reason]]:
    """What is to be found where those that are struck are judged malformed."""
    return {key: MALFORMED if key in struck else FINE for key in ALL}


class Defective:
    """Stands for code of ours that breaks over the answers of some miners, or over everybody's."""

    def __init__(self, struck: frozenset[str]) -> None:
        self.struck = struck

    async def call(self, peer: Peer, _synapse: Any, _request: Any, **_: Any) -> Any:
        """Specs, the receipt of which is missing for those that are struck."""
        receipt = None if peer.hotkey in self.struck else RECEIPT
        return SimpleNamespace(reply=claim(1024), receipt=receipt)

    async def rent(self, peer: Peer, _deadline_s: float) -> ProbeVerdict:
        """Rent; breaks for those that are struck."""
        return ProbeVerdict(PASSED, ready_ms=int("²") if peer.hotkey in self.struck else 1)


async def specs(desk: Desk, number: int, struck: frozenset[str]) -> None:
    rounds = SpecsRound(desk, Defective(struck), deadline_s=5, at_once=4)
    await rounds.run(f"specs-{number}", TARGETS)


async def probes(desk: Desk, number: int, struck: frozenset[str]) -> None:
    if not desk.recorder.book.miners:
        for target in TARGETS:
            claimed = SpecsContent(gpus=(GPU,))
            await desk.write(desk.observe(EvidenceKind.SPECS, "specs-1", target, PASSED, claimed))
    rounds = ProbeRound(
        desk, Defective(struck), deadline_s=5, at_once=2, spread_blocks=1, alone=Exclusion()
    )
    await rounds.run(f"probe-{number}", TARGETS)


KINDS = pytest.mark.parametrize(
    ("kind", "measure"), [(EvidenceKind.SPECS, specs), (EvidenceKind.PROBE, probes)]
)


@KINDS
async def test_defect_of_ours_is_held_against_nobody(
    desk: Desk,
    logged: list[Any],
    kind: EvidenceKind,
    measure: Callable[[Desk, int, frozenset[str]], Any],
):
    """What breaks over all answers of a round is our fault, in the next round as well."""
    await measure(desk, 1, frozenset())
    for number in (2, 3):
        await measure(desk, number, ALL)
        assert found(desk, kind) == dict.fromkeys(ALL, EXCUSED)
        latest = [desk.recorder.book.miner(key).latest(kind, 0) for key in ALL]
        assert all(check and check.outcome is Outcome.PASSED for check in latest)
    told = [event for event in logged if event["event"] == "most_answers_broke_a_check"]
    assert [(event["log_level"], event["struck"]) for event in told] == [("error", len(ALL))] * 2


@KINDS
@pytest.mark.parametrize("struck", [1, 3])
@pytest.mark.usefixtures("logged")
async def test_answers_that_trip_us_are_malformed(
    desk: Desk, kind: EvidenceKind, measure: Callable[[Desk, int, frozenset[str]], Any], struck: int
):
    """One miner, or three of seven in league, gain nothing by answers that trip our code."""
    tripping = frozenset(sorted(ALL)[:struck])
    await measure(desk, 1, frozenset())
    await measure(desk, 2, tripping)
    assert found(desk, kind) == answers(tripping)


@KINDS
@pytest.mark.usefixtures("logged")
async def test_crowd_of_strangers_excuses_nobody(
    desk: Desk, kind: EvidenceKind, measure: Callable[[Desk, int, frozenset[str]], Any]
):
    """Miners that never passed make no majority: all that they send that trips us is malformed."""
    strangers = frozenset(sorted(ALL)[:3])
    await measure(desk, 1, strangers)
    tripping = frozenset(sorted(ALL)[:4])  # four of seven, but one of the four that are any good
    await measure(desk, 2, tripping)
    assert found(desk, kind) == answers(tripping)


# --- Which GPUs a miner says are leased ----------------------------------------------------------


class Refusing:
    """A miner that refuses to open a session over some GPUs; notes what it was asked to prove."""

    def __init__(self, says: dict[str, Any], code: Code = Code.NO_CAPACITY) -> None:
        self.says, self.code = says, code
        self.asked: list[tuple[str, ...]] = []

    async def call(self, _peer: Peer, _synapse: Any, request: Any, **_: Any) -> Any:
        """Refuse the first time, and let anything open after that."""
        self.asked.append(request.gpus)
        if len(self.asked) == 1:
            raise ComputeError(self.code, data=self.says)
        return SimpleNamespace(reply=ChallengeReply(session="0" * 32), receipt=RECEIPT)


def channel_to(miner: Refusing) -> ChallengeChannel:
    return ChallengeChannel(miner, TARGETS[0].peer(), ("a", "b", "c"))


async def test_free_gpus_are_challenged_without_the_leased_ones():
    """A miner that names its leased GPUs is asked again, once, for all the others."""
    miner = Refusing({"peer": "m", "gpus": ["b", "stranger"]})
    channel = channel_to(miner)
    await channel.open(5)
    assert (channel.leased, channel.error) == (frozenset("b"), None)
    assert miner.asked == [("a", "b", "c"), ("a", "c")]


@pytest.mark.parametrize(
    ("says", "code"),
    [
        ({"peer": "m"}, Code.NO_CAPACITY),
        ({"peer": "m", "gpus": ["a", "b", "c"]}, Code.NO_CAPACITY),
        ({"peer": "m", "gpus": []}, Code.NO_CAPACITY),
        ({"peer": "m", "gpus": ["stranger"]}, Code.NO_CAPACITY),
        ({"peer": "m", "gpus": {"a": 1}}, Code.NO_CAPACITY),
        ({"peer": "m", "gpus": "a"}, Code.NO_CAPACITY),
        ({"peer": "m", "gpus": [["a"], {"b": 1}, None, 3]}, Code.NO_CAPACITY),
        ({"peer": "m", "gpus": ["a"]}, Code.PROVER_FAILED),
        ({"gpus": ["a"]}, Code.NO_CAPACITY),
    ],
)
async def test_refusal_that_frees_nothing_is_a_refusal(says: dict[str, Any], code: Code):
    """Whatever else a refusal holds, nobody is asked twice, and the refusal is told."""
    miner = Refusing(says, code)
    channel = channel_to(miner)
    with pytest.raises(ComputeError) as refusal:
        await channel.open(5)
    assert refusal.value.code is code
    assert channel.error is refusal.value
    assert (len(miner.asked), channel.leased) == (1, frozenset())
