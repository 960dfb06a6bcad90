"""The scoring policy: every number that turns evidence into weights, in one versioned file.

A policy is data. Two validators with the same evidence and the same policy give the same vector,
so the policy's hash stands in every vector. Shares and factors are in parts per million.
"""

import tomllib
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from compute.domain.evidence import EvidenceKind, canonical
from compute.domain.hardware import Name, Value
from compute.domain.measurement import PPM, U16, Ppm
from compute.errors import UsageError

Blocks = Annotated[int, Field(ge=1, le=2**31)]
Share = Annotated[int, Field(ge=0, le=1000 * PPM)]
HOME_CHALLENGE = "compute"  # the challenge that this product itself scores


class AddressRule(StrEnum):
    """What counts as the same address: the host, or host and port."""

    HOST = "host"
    ENDPOINT = "endpoint"


class WindowPolicy(Value):
    """How far back evidence counts, in blocks.

    Attributes:
        blocks: older records change nothing.
        specs_age: a claim older than this is no claim.
        proof_age: a proof older than this verifies no capacity.
        probe_age: a passed rental probe older than this is none; None for the whole window.
        cooldown: how long a failed opening pays nothing, whatever follows it.
        half_life: age at which a check counts half in the reliability.
    """

    blocks: Blocks
    specs_age: Blocks
    proof_age: Blocks
    probe_age: Blocks | None = None
    cooldown: Blocks
    half_life: Blocks

    @model_validator(mode="after")
    def _inside(self) -> "WindowPolicy":
        ages = (self.specs_age, self.proof_age, self.probe_age or 1, self.cooldown)
        if max(ages) > self.blocks:
            raise ValueError(
                "specs_age, proof_age, probe_age and cooldown must lie inside the window"
            )
        return self


class ReliabilityPolicy(Value):
    """How the decayed share of passed checks is made.

    Attributes:
        specs, proof, probe, ping: how much one check of each kind counts.
        power: the share is raised to this power.
        ramp_passes: a newcomer's share grows linearly until so many proofs have passed.
    """

    specs: Annotated[int, Field(ge=0, le=1000)] = 1
    proof: Annotated[int, Field(ge=0, le=1000)] = 2
    probe: Annotated[int, Field(ge=0, le=1000)] = 3
    ping: Annotated[int, Field(ge=0, le=1000)] = 1
    power: Annotated[int, Field(ge=0, le=8)] = 1
    ramp_passes: Annotated[int, Field(ge=1, le=1000)] = 1

    def of(self, kind: EvidenceKind) -> int:
        """How much one check of a kind counts; 0 for kinds that are no checks."""
        weights = {
            EvidenceKind.SPECS: self.specs,
            EvidenceKind.PROOF: self.proof,
            EvidenceKind.PROBE: self.probe,
            EvidenceKind.PING: self.ping,
        }
        return weights.get(kind, 0)


class RentalPolicy(Value):
    """Factors for whether the miner can really be rented.

    Attributes:
        probe_failed: while the latest conclusive probe failed.
        probe_missing: while no probe was conclusive yet, or the last one that passed is too old.
        probe_busy: a miner that said so many times in a row that it is busy has failed its probes:
            the share that is kept for them can be taken by others, but not for ever.
        rental_down: while the latest ping of a rental failed.
    """

    probe_failed: Ppm = 0
    probe_missing: Ppm = PPM
    probe_busy: Annotated[int, Field(ge=1, le=1000)] = 3
    rental_down: Ppm = 0


class DuplicatePolicy(Value):
    """How many may share what should be one's own.

    Attributes:
        address: what counts as the same address.
        miners_per_address: the longest-proven so many are paid, the rest are not; 0 for no limit.
        gpus: whether a GPU identity counts for one miner only.
    """

    address: AddressRule = AddressRule.HOST
    miners_per_address: Annotated[int, Field(ge=0, le=65536)] = 1
    gpus: bool = True


class BurnPolicy(Value):
    """A share of the vector that goes to the subnet owner's UID, and so is burnt.

    Attributes:
        uid: the owner's UID; None burns nothing, and pays nobody when nobody earned.
        share: of the whole vector.
    """

    uid: Annotated[int, Field(ge=0, le=U16)] | None = None
    share: Ppm = 0

    @model_validator(mode="after")
    def _named(self) -> "BurnPolicy":
        if self.share and self.uid is None:
            raise ValueError("a burn share needs a burn uid")
        return self


class ChallengePolicy(Value):
    """One challenge of the subnet, and its part of the vector.

    Attributes:
        share: relative to the other challenges' shares.
        max_age: blocks after which scores received from it are dead; unused for `compute`.
    """

    share: Share
    max_age: Blocks = 720


class Policy(Value):
    """A whole policy.

    Attributes:
        version: of the file's form.
        revision: of its content, for people; the hash is what counts.
        rates: payment for one GPU of each class at full credit, relative to each other.
        challenges: by name; `compute` is this product's own.
    """

    version: Literal[1]
    name: Name
    revision: Annotated[int, Field(ge=1, le=2**31)]
    window: WindowPolicy
    reliability: ReliabilityPolicy = ReliabilityPolicy()
    rental: RentalPolicy = RentalPolicy()
    duplicates: DuplicatePolicy = DuplicatePolicy()
    burn: BurnPolicy = BurnPolicy()
    challenges: Annotated[dict[Name, ChallengePolicy], Field(min_length=1, max_length=64)] = Field(
        default_factory=lambda: {HOME_CHALLENGE: ChallengePolicy(share=PPM)}
    )
    rates: Annotated[dict[Name, Share], Field(max_length=1024)]

    @model_validator(mode="after")
    def _inside(self) -> "Policy":
        if any(challenge.max_age > self.window.blocks for challenge in self.challenges.values()):
            raise ValueError("a challenge's max_age must lie inside the window")
        return self

    @property
    def sha256(self) -> str:
        """Hash of the policy's canonical form: layout and comments of the file do not matter."""
        return sha256(canonical(self.model_dump(mode="json"))).hexdigest()


def parse_policy(text: str) -> Policy:
    """Read a policy from TOML.

    Raises:
        UsageError: when it is not TOML, or not a policy; the message names the field.
    """
    try:
        return Policy.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the policy is not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"the policy's '{where}': {first['msg']}") from None
