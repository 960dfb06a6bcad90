"""The score: a pure function of evidence, a policy and the chain's list of neurons.

All arithmetic is on whole numbers, so that it gives the same bits on every machine. A miner's
score is one exact product, rounded down once::

    score = capacity · reliability · ramp · probe · rental · penalties / 10⁶ for each factor

`docs/scoring.md` derives each term.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from compute.domain.book import PARTIAL, Book, MinerBook
from compute.domain.evidence import EvidenceKind, Outcome, Reason
from compute.domain.measurement import (
    CPU,
    CPU_CLASS,
    PPM,
    ProvenGpu,
    Snapshot,
    SnapshotNeuron,
)
from compute.domain.policy import HOME_CHALLENGE, AddressRule, Policy
from compute.domain.vector import Vector, address, burn, clip, quantise, share_out

COOLING = frozenset({Reason.OPENING_FAILED})
"""Failures that cannot happen to an honest miner: nothing is paid until the cool-down is over."""
DECAY_ONE = 1 << 32
DECAY_STEPS = 16  # steps of the decay table to one half-life
# 2^(-1/16) as a ratio of whole numbers, so that the table needs no floating point.
_DECAY_NUMERATOR = 4_112_874_773
LONGEST_CONTESTED = 100  # characters of a GPU or an address in the name of a ruling
MAX_HALF_LIVES = 64  # beyond it a check's weight is 0


class Term(NamedTuple):
    """One factor of a score: its name, its value in parts per million, and why."""

    name: str
    ppm: int
    why: str


@dataclass(frozen=True, slots=True)
class MinerScore:
    """What one UID earned and how it came about.

    Attributes:
        capacity: verified capacity, in millionths of the policy's unit of rate.
        terms: every factor, in the order of the product.
        zero: why nothing was earned; empty when something was.
    """

    uid: int
    hotkey: str
    score: int
    capacity: int
    terms: tuple[Term, ...]
    zero: str = ""


@dataclass(frozen=True, slots=True)
class Board:
    """The outcome of scoring a subnet once.

    Attributes:
        vector: UID to weight, the largest 65535.
        sha256: address of the vector.
        rulings: contested GPU or address to the hotkey that holds it.
    """

    miners: tuple[MinerScore, ...]
    vector: Vector
    sha256: str
    rulings: Mapping[str, str]

    def explain(self, uid: int) -> MinerScore | None:
        """How one UID's score came about; None when the snapshot has no such UID."""
        return next((miner for miner in self.miners if miner.uid == uid), None)


def score(book: Book, snapshot: Snapshot, policy: Policy) -> Board:
    """Score every neuron of a snapshot and make the vector."""
    judge = _Judge(book, snapshot, policy)
    miners = tuple(judge.miner(neuron) for neuron in snapshot.neurons)
    vector = _vector(book, snapshot, policy, miners)
    return Board(miners, vector, address(vector, snapshot, policy.sha256), judge.rulings)


def decay(age: int, half_life: int) -> int:
    """Weight of a check by its age in blocks: 2³² when new, halved each half-life, rounded down.

    The age is cut to sixteenths of a half-life.
    """
    step = max(0, age) * DECAY_STEPS // half_life
    halves, sixteenths = divmod(step, DECAY_STEPS)
    if halves >= MAX_HALF_LIVES:
        return 0
    return _SIXTEENTHS[sixteenths] >> halves


def _sixteenths() -> tuple[int, ...]:
    values = [DECAY_ONE]
    while len(values) < DECAY_STEPS:
        values.append(values[-1] * _DECAY_NUMERATOR // DECAY_ONE)
    return tuple(values)


_SIXTEENTHS = _sixteenths()


def contested(kind: str, what: str) -> str:
    """The name under which a ruling is kept: readable, or a hash where it would be too long.

    What is contested is named by miners, so that its length is theirs to choose.
    """
    if len(what) <= LONGEST_CONTESTED:
        return f"{kind}:{what}"
    return f"{kind}:sha256:{sha256(what.encode()).hexdigest()}"


def host_of(endpoint: str) -> str:
    """The host part of `ip:port` or `[v6]:port`."""
    return endpoint.rpartition(":")[0].strip("[]")


def _vector(
    book: Book, snapshot: Snapshot, policy: Policy, miners: tuple[MinerScore, ...]
) -> Vector:
    parts = {HOME_CHALLENGE: {miner.uid: miner.score for miner in miners if miner.score > 0}}
    uids = {neuron.hotkey: neuron.uid for neuron in snapshot.neurons}
    for name, (block, content) in book.scores.items():
        challenge = policy.challenges.get(name)
        if name == HOME_CHALLENGE or challenge is None:
            continue
        if block > snapshot.block - challenge.max_age:
            parts[name] = {uids[k]: v for k, v in content.scores.items() if k in uids and v > 0}
    shares = {name: challenge.share for name, challenge in policy.challenges.items()}
    shared = share_out(parts, shares)
    return quantise(clip(burn(shared, policy.burn.uid, policy.burn.share), snapshot.max_weight))


@dataclass
class _Judge:
    """Scores the miners of one snapshot; holds what needs all of them at once."""

    book: Book
    snapshot: Snapshot
    policy: Policy
    rulings: dict[str, str] = field(default_factory=dict)
    paid: dict[str, tuple[ProvenGpu, ...]] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)  # hotkey -> who holds its address

    def __post_init__(self) -> None:
        self.now = self.snapshot.block
        self.start = self.now - self.policy.window.blocks
        self.books = {n.hotkey: self.book.miner(n.hotkey) for n in self.snapshot.neurons}
        self.zero = {n.hotkey: self._barred(n) for n in self.snapshot.neurons}
        self.held = {
            hotkey: self.books[hotkey].held_since(
                self.start,
                self._oldest(self.books[hotkey]),
                self.policy.window.proof_age,
                self._holds,
            )
            for hotkey, zero in self.zero.items()
            if not zero
        }
        self._rule_gpus()
        self._rule_addresses()
        self._carry()

    # --- What bars a miner from any pay ------------------------------------------------------

    def _barred(self, neuron: SnapshotNeuron) -> str:
        book = self.books[neuron.hotkey]
        if not any(check.block > self.start for check in book.checks):
            return "not measured yet"
        if until := self._cooling(book):
            return f"cool-down after a failed opening, until block {until}"
        return self._bad_claim(book) or self._bad_proof(book)

    def _cooling(self, book: MinerBook) -> int:
        until = 0
        for proof in book.proofs:
            if proof.block > self.start and proof.reason in COOLING:
                until = proof.block + self.policy.window.cooldown
        return until if until >= self.now else 0

    def _bad_claim(self, book: MinerBook) -> str:
        claim = book.claim(self.start)
        if claim is None or claim.block <= self.now - self.policy.window.specs_age:
            return "no fresh claim of its hardware"
        if claim.outcome is Outcome.FAILED:
            return f"its claim failed: {claim.reason}"
        return ""

    def _bad_proof(self, book: MinerBook) -> str:
        proof = book.proof(self.start)
        if proof is None:
            return "nothing proven yet"
        if proof.block <= self._oldest(book):
            return "its last proof is too old"
        if proof.outcome is Outcome.FAILED and proof.reason not in PARTIAL:
            return f"its proof failed: {proof.reason}"
        return ""

    def _oldest(self, book: MinerBook) -> int:
        """The block after which a proof of hardware that may be leased now still counts."""
        return self.start if self._rented(book) else self.now - self.policy.window.proof_age

    def _shown(self, hotkey: str) -> tuple[ProvenGpu, ...]:
        book = self.books[hotkey]
        return book.shown(self.start, self._oldest(book))

    def _rented(self, book: MinerBook) -> bool:
        """Whether a rental of ours vouches for it: leased hardware cannot be challenged."""
        ping = book.latest(EvidenceKind.PING, self.now - self.policy.window.specs_age)
        return ping is not None and ping.outcome is Outcome.PASSED

    # --- Duplicates --------------------------------------------------------------------------

    def _precedents(self) -> Mapping[str, str]:
        return self.book.weights.rulings if self.book.weights else {}

    def _rule(self, what: str, claimants: Mapping[str, int], places: int) -> set[str]:
        """Who holds what several claim: who held it before, then who was proven longest."""
        before = self._precedents().get(what)
        order = sorted(claimants, key=lambda hotkey: (hotkey != before, claimants[hotkey], hotkey))
        if len(order) > places:
            self.rulings[what] = order[0]
        return set(order[:places])

    def _holds(self, gpu: ProvenGpu) -> bool:
        """Whether a proof gives a title to a GPU: only one of hardware that is paid for does."""
        paid = self.policy.rates.get(gpu.gpu_class, 0) > 0
        return gpu.credit_ppm > 0 and paid and (gpu.gpu == CPU or gpu.gpu_class != CPU_CLASS)

    def _carry(self) -> None:
        """Keep rulings whose holder was proven inside the window, though it may not be now.

        Else a rival would only have to wait for one failed proof.
        """
        for what, holder in self._precedents().items():
            if what not in self.rulings and what in self._titles(holder):
                self.rulings[what] = holder

    def _titles(self, hotkey: str) -> set[str]:
        titles: set[str] = set()
        for proof in self.books[hotkey].proofs if hotkey in self.books else ():
            gpus = [gpu.gpu for gpu in proof.gpus if self._holds(gpu)]
            if gpus and proof.block > self.start:
                titles.update(contested("gpu", gpu) for gpu in gpus)
                titles.add(contested("address", self._place(proof.address)))
        return titles

    def _rule_gpus(self) -> None:
        claimants: dict[str, dict[str, int]] = {}
        for hotkey, held in self.held.items():
            for gpu, since in held.items():
                if gpu != CPU:
                    claimants.setdefault(gpu, {})[hotkey] = since
        holders = {
            gpu: self._rule(contested("gpu", gpu), who, 1)
            for gpu, who in sorted(claimants.items())
            if self.policy.duplicates.gpus and len(who) > 1
        }
        for hotkey in self.held:
            self.paid[hotkey] = tuple(
                gpu for gpu in self._shown(hotkey) if hotkey in holders.get(gpu.gpu, {hotkey})
            )

    def _rule_addresses(self) -> None:
        places = self.policy.duplicates.miners_per_address
        if not places:
            return
        tenants: dict[str, dict[str, int]] = {}
        for neuron in self.snapshot.neurons:
            placed = self.books[neuron.hotkey].placed(self.start, self._place)
            if self.held.get(neuron.hotkey) and placed:
                where, since = placed
                tenants.setdefault(where, {})[neuron.hotkey] = since
        for where, who in sorted(tenants.items()):
            if len(who) > places:
                kept = self._rule(contested("address", where), who, places)
                self.lost |= dict.fromkeys(who.keys() - kept, where)

    def _place(self, endpoint: str) -> str:
        rule = self.policy.duplicates.address
        return endpoint if rule is AddressRule.ENDPOINT else host_of(endpoint)

    # --- One miner ---------------------------------------------------------------------------

    def miner(self, neuron: SnapshotNeuron) -> MinerScore:
        """Score one neuron."""
        if zero := self.zero[neuron.hotkey]:
            return MinerScore(neuron.uid, neuron.hotkey, 0, 0, (), zero)
        book = self.books[neuron.hotkey]
        capacity, why = self._capacity(book, neuron.hotkey)
        terms = (
            *self._reliability(book),
            *self._rental(book),
            *self._penalties(book),
            self._address(neuron),
        )
        product, unit = capacity, 1
        for term in terms:
            product, unit = product * term.ppm, unit * PPM
        earned = product // unit
        zero = "" if earned else self._why_zero(capacity, why, terms)
        shown = (Term("capacity", capacity, why), *terms)
        return MinerScore(neuron.uid, neuron.hotkey, earned, capacity, shown, zero)

    def _why_zero(self, capacity: int, why: str, terms: tuple[Term, ...]) -> str:
        if not capacity:
            return why
        return next((f"{term.name}: {term.why}" for term in terms if not term.ppm), "too little")

    def _capacity(self, book: MinerBook, hotkey: str) -> tuple[int, str]:
        claim = book.claim(self.start)
        claimed = {gpu.uuid for gpu in claim.content.gpus} if claim else set()
        mine = {gpu.gpu for gpu in self.paid[hotkey]}
        total, parts = 0, []
        for gpu in self._shown(hotkey):
            worth, why = self._worth(gpu, claimed, mine)
            total += worth
            parts.append(f"{gpu.gpu_class or 'unknown'}: {why}")
        return total, "; ".join(_counted(parts)) or "nothing proven"

    def _worth(self, gpu: ProvenGpu, claimed: set[str], mine: set[str]) -> tuple[int, str]:
        rate = self.policy.rates.get(gpu.gpu_class)
        refusals = (
            (not gpu.gpu_class or rate is None, "unknown GPU, explicit zero"),
            (gpu.gpu != CPU and gpu.gpu not in claimed, "no longer claimed"),
            (gpu.gpu == CPU and bool(claimed), "GPUs claimed, only the processor proven"),
            (gpu.gpu != CPU and gpu.gpu_class == CPU_CLASS, "a processor under a GPU's name"),
            (gpu.gpu not in mine, "duplicate of another miner's GPU"),
            (not gpu.credit_ppm, f"not passed: {gpu.reason}"),
            (not rate, "this class is not paid"),
        )
        if why := next((why for refused, why in refusals if refused), ""):
            return 0, why
        worth = (rate or 0) * gpu.credit_ppm // PPM
        leased = ", leased and proven before" if gpu.reason is Reason.BUSY else ""
        return worth, f"{_share(gpu.credit_ppm)} of {rate}{leased}"

    def _reliability(self, book: MinerBook) -> tuple[Term, Term]:
        policy = self.policy.reliability
        passed = total = passes = 0
        for check in book.checks:
            if check.block <= self.start or check.outcome is Outcome.INCONCLUSIVE:
                continue
            weight = policy.of(check.kind) * decay(
                self.now - check.block, self.policy.window.half_life
            )
            total += weight
            if check.outcome is Outcome.PASSED:
                passed += weight
            paying = check.outcome is Outcome.PASSED or check.reason in PARTIAL
            passes += paying and check.kind is EvidenceKind.PROOF
        share = passed * PPM // total if total else PPM
        share = share**policy.power * PPM // PPM**policy.power
        ramp = min(PPM, passes * PPM // policy.ramp_passes)
        ramp_why = f"{min(passes, policy.ramp_passes)} of {policy.ramp_passes} proofs passed"
        return Term("reliability", share, "decayed share of passed checks"), Term(
            "ramp", ramp, ramp_why
        )

    def _rental(self, book: MinerBook) -> tuple[Term, Term]:
        policy, first = self.policy.rental, self._probe(book)
        ping = book.latest(EvidenceKind.PING, self.start)
        if ping is not None and ping.outcome is Outcome.FAILED:
            return first, Term("rental", policy.rental_down, "a rental is unreachable")
        return first, Term("rental", PPM, "no rental is down")

    def _probe(self, book: MinerBook) -> Term:
        policy, window = self.policy.rental, self.policy.window
        probe = book.latest(EvidenceKind.PROBE, self.start)
        if probe is not None and probe.outcome is Outcome.FAILED:
            why = f"the last rental probe failed: {probe.reason}"
            return Term("probe", policy.probe_failed, why)
        if (busy := book.busy_run(EvidenceKind.PROBE, self.start)) >= policy.probe_busy:
            return Term("probe", policy.probe_failed, f"busy at the last {busy} rental probes")
        if probe is None:
            return Term("probe", policy.probe_missing, "no rental probe yet")
        if probe.block <= self.now - (window.probe_age or window.blocks):
            return Term("probe", policy.probe_missing, "its last rental probe is too old")
        return Term("probe", PPM, "the last rental probe passed")

    def _penalties(self, book: MinerBook) -> tuple[Term, ...]:
        active = sorted(
            (name, penalty.content)
            for name, penalty in book.penalties.items()
            if penalty.block > self.start
            and penalty.content.until_block >= self.now
            and penalty.content.factor_ppm < PPM
        )
        if not active:
            return (Term("penalties", PPM, "none"),)
        return tuple(
            Term("penalty", content.factor_ppm, f"{content.reason} (until {content.until_block})")
            for _, content in active
        )

    def _address(self, neuron: SnapshotNeuron) -> Term:
        if where := self.lost.get(neuron.hotkey):
            return Term("address", 0, f"others were proven at {where} before")
        return Term("address", PPM, "its own")


def _share(ppm: int) -> str:
    return f"{ppm // 10_000}.{ppm % 10_000 // 1000}%"


def _counted(parts: list[str]) -> list[str]:
    """Join equal neighbours: `8 x H100: …`."""
    runs: list[tuple[int, str]] = []
    for part in parts:
        if runs and runs[-1][1] == part:
            runs[-1] = (runs[-1][0] + 1, part)
        else:
            runs.append((1, part))
    return [f"{count} x {part}" if count > 1 else part for count, part in runs]
