"""What is inside a record of evidence: the typed contents of each kind.

Whole numbers only. A share or a factor is in parts per million (`_ppm`), a rate of operations in
thousandths of a tera-operation per second (`_milli`).
"""

from typing import Annotated

from pydantic import Field

from compute.domain.evidence import Detail, Hex32, Reason
from compute.domain.hardware import Count, Name, Value

PPM = 1_000_000
U16 = 65_535
Ppm = Annotated[int, Field(ge=0, le=PPM)]
Weight = Annotated[int, Field(ge=0, le=U16)]
CPU = "cpu"  # the name under which a miner without GPUs proves its processor
CPU_CLASS = "cpu-dev"  # the class that it is proven on: a pass says nothing about any GPU


class ClaimedGpu(Value):
    """One GPU as its miner claims it."""

    uuid: Name
    model: Name
    memory_mib: Count


class SpecsContent(Value):
    """A miner's claim, reduced to what scoring and rounds read.

    Attributes:
        address: where the miner was called, `host:port`.
        gpus: every GPU of every host, in order.
        hosts: number of machines.
        body_sha256: of the whole reply, which the receipt signs; empty without a reply.
    """

    address: Name = ""
    software: Name = ""
    gpus: Annotated[tuple[ClaimedGpu, ...], Field(max_length=4096)] = ()
    hosts: Count = 0
    cpus: Count = 0
    memory_mib: Count = 0
    body_sha256: Annotated[str, Field(max_length=64)] = ""


class ProvenGpu(Value):
    """One GPU (or the CPU) as its proof showed it.

    Attributes:
        gpu: UUID, or `cpu`.
        gpu_class: row of the class table; empty for a GPU that the table does not know.
        credit_ppm: share of the class reference that was reached, at most one; 0 when not passed.
        reason: why the credit is what it is.
    """

    gpu: Name
    gpu_class: Name
    credit_ppm: Ppm
    reason: Reason = Reason.OK
    tops_milli: Count = 0
    chain_ms: Count = 0
    sweep_ms: Count = 0
    memory_mib: Count = 0


class ProofContent(Value):
    """One proof session over a miner's GPUs.

    Attributes:
        slot: SHA-256 of the slot seed: equal for all GPUs that were challenged together.
        rtt_ms: round trip before the run, for people; never subtracted.
        roots: commitment of each GPU, in order.
    """

    address: Name = ""
    gpus: Annotated[tuple[ProvenGpu, ...], Field(max_length=4096)] = ()
    slot: Annotated[str, Field(max_length=64)] = ""
    roots: Annotated[tuple[Hex32, ...], Field(max_length=4096)] = ()
    mode: Name = ""
    seconds_ms: Count = 0
    verify_ms: Count = 0


class CheckEntry(Value):
    """One check of a rental probe."""

    name: Name
    passed: bool
    detail: Detail = ""
    ms: Count = 0


class ProbeContent(Value):
    """One rental probe: what a renter would have met."""

    address: Name = ""
    checks: Annotated[tuple[CheckEntry, ...], Field(max_length=64)] = ()
    ready_ms: Count = 0


class PingCredit(Value):
    """Lease time owed to a renter.

    Attributes:
        lease: id of the lease on the miner.
        tenant: opaque name of the renter.
    """

    lease: Name
    tenant: Name
    credit_ms: Count


class PingContent(Value):
    """Whether a miner with rentals could be reached.

    Attributes:
        down_ms: how long it had been unreachable.
        credits: what that cost, by rental, since the last record.
    """

    address: Name = ""
    down_ms: Count = 0
    credits: Annotated[tuple[PingCredit, ...], Field(max_length=4096)] = ()


class PenaltyContent(Value):
    """A penalty, or (with the same id and a factor of one million) its withdrawal.

    Attributes:
        penalty: id.
        factor_ppm: what the score is multiplied by while it lasts; 0 pays nothing.
        until_block: last block at which it counts.
        reason: for the miner to read.
    """

    penalty: Name
    factor_ppm: Ppm
    until_block: Count
    reason: Detail


class ScoresContent(Value):
    """Scores from another challenge of the subnet, as they were received.

    Attributes:
        challenge: name of the challenge in the policy.
        scores: hotkey to score, on any scale of that challenge's own.
    """

    challenge: Name
    scores: Annotated[dict[Name, Count], Field(max_length=65536)] = Field(default_factory=dict)


class SnapshotNeuron(Value):
    """One UID at the block of a vector."""

    uid: Annotated[int, Field(ge=0, le=U16)]
    hotkey: Name
    address: Name = ""


class Snapshot(Value):
    """What scoring reads of the chain: everything else it reads is evidence.

    Attributes:
        block: at which the neurons were read.
        epoch_block: first block of the epoch that the vector is for.
        max_weight: the subnet's limit on one share of the vector, of 65535; 65535 is no limit.
    """

    netuid: Annotated[int, Field(ge=0, le=U16)]
    block: Count
    epoch_block: Count = 0
    max_weight: Annotated[int, Field(ge=1, le=U16)] = U16
    neurons: Annotated[tuple[SnapshotNeuron, ...], Field(max_length=65536)] = ()


class WeightsContent(Value):
    """A vector, and all that is needed to compute it again.

    Attributes:
        upto: seq of the last record that was taken into account.
        policy_sha256: of the policy's canonical form.
        vector: UID (decimal text) to weight, largest 65535; UIDs without weight are left out.
        vector_sha256: address of the vector, see `compute.domain.vector`.
        rulings: contested GPU or address to the hotkey that holds it: precedents for the next.
    """

    snapshot: Snapshot
    upto: Count
    policy: Name
    policy_sha256: Hex32
    vector: Annotated[dict[str, Weight], Field(max_length=65536)] = Field(default_factory=dict)
    vector_sha256: Hex32
    rulings: Annotated[dict[Name, Name], Field(max_length=65536)] = Field(default_factory=dict)
