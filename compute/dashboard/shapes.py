"""What the dashboard's readings answer.

Shares and factors are in parts per million, times in Unix milliseconds.
"""

from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict

from compute.domain.history import Range

PAGE_SIZE = 50
MOST_PAGE_SIZE = 200


class Shape(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True)


class About(Shape):
    """Whose dashboard this is.

    Attributes:
        network: name of the chain.
    """

    role: Literal["validator", "miner"]
    hotkey: str
    netuid: int
    network: str
    version: str
    now_ms: int


class Series(Shape):
    """One line of a plot: a value for each bucket, None where there is none.

    Attributes:
        least, most: envelope of the bucket, where one is known.
    """

    name: str
    values: tuple[float | None, ...]
    least: tuple[float | None, ...] = ()
    most: tuple[float | None, ...] = ()


class Plot(Shape):
    """Lines over a common axis of time.

    Attributes:
        times_ms: middle of each bucket.
    """

    range: Range
    start_ms: int
    end_ms: int
    times_ms: tuple[int, ...]
    series: tuple[Series, ...]


# --- The validator's ---------------------------------------------------------------------------


class EpochNow(Shape):
    """The epoch under way."""

    first_block: int
    position: int
    tempo: int


class SubmissionShape(Shape):
    """What became of one epoch's weights."""

    epoch_block: int
    state: str
    attempts: int
    sent_block: int
    included_block: int | None
    message: str


class Counts(Shape):
    """How many miners stand how."""

    miners: int
    earning: int
    failing: int
    waiting: int
    gpus: int
    tops: float


class Activity(Shape):
    """One measurement, in a line."""

    seq: int
    kind: str
    at_ms: int
    hotkey: str
    uid: int | None
    outcome: str
    reason: str
    detail: str = ""


class ValidatorOverview(Shape):
    """The subnet now.

    Attributes:
        away: whether the chain cannot be reached.
        evidence: seq of the newest record.
        classes: proven GPUs by class.
        troubles: why miners earn nothing, with how many.
    """

    block: int
    away: bool
    epoch: EpochNow | None
    policy: str
    policy_sha256: str
    evidence: int
    counts: Counts
    classes: dict[str, int]
    troubles: tuple[tuple[str, int], ...]
    submission: SubmissionShape | None
    activity: tuple[Activity, ...]


class Standing(Shape):
    """One UID on the map of the subnet."""

    uid: int
    hotkey: str
    state: Literal["earning", "failing", "waiting"]
    share_ppm: int
    zero: str


class MinerRow(Shape):
    """One miner in the list.

    Attributes:
        share_ppm: of the newest published vector.
        score: as of now, in millionths of the policy's unit of rate.
        gpus: what is proven, class and how many.
        tops: operations of all its GPUs, as last proven.
        proven_block: of the newest proof that was conclusive.
        spark: mean scores of the last days.
    """

    uid: int
    hotkey: str
    address: str
    state: Literal["earning", "failing", "waiting"]
    share_ppm: int
    score: int
    reliability_ppm: int | None
    gpus: str
    tops: float
    proven_block: int
    zero: str
    spark: tuple[float | None, ...] = ()


class MinerPage(Shape):
    """One page of the list."""

    total: int
    page: int
    size: int
    rows: tuple[MinerRow, ...]


class TermShape(Shape):
    """One factor of a score: the first, `capacity`, in millionths of the unit of rate."""

    name: str
    ppm: int
    why: str


class GpuShape(Shape):
    """One GPU, as claimed and as proven."""

    uuid: str
    model: str
    claimed_mib: int
    gpu_class: str
    credit_ppm: int | None
    reason: str
    tops: float
    chain_ms: int
    sweep_ms: int
    memory_mib: int


class CheckShape(Shape):
    """One check of a miner inside the policy's window."""

    seq: int
    block: int
    kind: str
    outcome: str
    reason: str


class PenaltyShape(Shape):
    """One penalty that counts now."""

    penalty: str
    factor_ppm: int
    until_block: int
    reason: str


class MinerDetail(Shape):
    """Everything about one miner.

    Attributes:
        terms: the product that makes its score, as of now.
        window_blocks: how far back evidence counts.
        checks: oldest first.
    """

    row: MinerRow
    coldkey: str
    stake: float
    incentive: float
    software: str
    hosts: int
    cpus: int
    memory_mib: int
    terms: tuple[TermShape, ...]
    gpus: tuple[GpuShape, ...]
    checks: tuple[CheckShape, ...]
    penalties: tuple[PenaltyShape, ...]
    window_blocks: int
    block: int


class MeasureRow(Shape):
    """One measurement with its figures."""

    seq: int
    kind: str
    at_ms: int
    block: int
    uid: int | None
    hotkey: str
    outcome: str
    reason: str
    note: str
    gpu_class: str
    gpus: int
    tops: float
    chain_ms: int
    sweep_ms: int
    verify_ms: int
    total_ms: int


class MeasurePage(Shape):
    """One page of measurements, newest first."""

    total: int
    page: int
    size: int
    rows: tuple[MeasureRow, ...]


class StepShape(Shape):
    """One check of a rental probe, or one step of a lease."""

    name: str
    passed: bool
    detail: str
    ms: int


class MeasureDetail(Shape):
    """One measurement, with what its record says while evidence is kept.

    Attributes:
        kept: whether the signed record is still there; the rest is empty otherwise.
        signed: whether the miner's own signature goes with it.
    """

    row: MeasureRow
    kept: bool
    hash: str = ""
    prev: str = ""
    round: str = ""
    slot: str = ""
    mode: str = ""
    signed: int = 0
    gpus: tuple[GpuShape, ...] = ()
    steps: tuple[StepShape, ...] = ()


class EpochShape(Shape):
    """One epoch's weights in the list."""

    epoch_block: int
    block: int
    at_ms: int
    miners: int
    earning: int
    score: int
    vector: str
    submission: SubmissionShape | None


class WeightsPage(Shape):
    """Shares over time and the newest epochs.

    Attributes:
        plot: one line for each of the largest earners, and one for all others.
        hotkeys: of those lines, in order; empty for the others.
    """

    plot: Plot
    hotkeys: tuple[str, ...]
    epochs: tuple[EpochShape, ...]
    older: int | None


class WeightShape(Shape):
    """One UID's part of a vector."""

    uid: int
    hotkey: str
    weight: int
    share_ppm: int


class EpochDetail(Shape):
    """One published vector."""

    epoch_block: int
    block: int
    created_ms: int
    sha256: str
    policy: str
    policy_sha256: str
    evidence_seq: int
    evidence_hash: str
    validator: str
    signature: str
    submission: SubmissionShape | None
    weights: tuple[WeightShape, ...]


class RentalShape(Shape):
    """One rental of a tenant, without anything that is the tenant's secret.

    Attributes:
        miner: hotkey; empty until one was chosen.
        lease: id on that miner.
        credited_ms: time that the miner was unreachable, credited to the tenant.
    """

    id: str
    state: str
    tenant: str
    miner: str
    uid: int | None
    lease: str
    gpus: int
    cpus: int
    memory_mib: int
    created_ms: int
    expires_ms: int
    ended_ms: int | None
    credited_ms: int
    detail: str


class RentalPage(Shape):
    """One page of rentals, newest first."""

    total: int
    page: int
    size: int
    rows: tuple[RentalShape, ...]


class RentalEventShape(Shape):
    """One line of a rental's timeline."""

    at_ms: int
    event: str
    detail: str


class RentalDetail(Shape):
    """One rental with its timeline."""

    row: RentalShape
    events: tuple[RentalEventShape, ...]


# --- What readings are asked with ----------------------------------------------------------------

Page = Annotated[int, Query(ge=0, le=100_000)]
Size = Annotated[int, Query(ge=1, le=MOST_PAGE_SIZE)]
Text = Annotated[str, Query(max_length=100)]
