"""Settings of measuring and paying: what a validator does, how often and how much at once."""

from typing import Annotated

from pydantic import Field

from compute.settings.common import Names, Settings

Blocks = Annotated[int, Field(ge=1, le=1_000_000)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class CadenceSettings(Settings):
    """How often each round runs, in blocks of the chain."""

    specs: Blocks = Field(150, description="blocks between rounds of specs")
    proofs: Blocks = Field(360, description="blocks between rounds of proofs")
    probes: Blocks = Field(720, description="blocks between rounds of rental probes")
    pings: Blocks = Field(5, description="blocks between pings of rentals")
    scores: Blocks = Field(60, description="blocks between looks at other challenges' scores")
    offers: Blocks = Field(10, description="blocks between looks at what miners offer to tenants")
    jitter: Annotated[int, Field(ge=0, le=100_000)] = Field(
        10, description="blocks by which a round's start may vary, so that it cannot be foreseen"
    )
    retain: Blocks = Field(
        50_400, description="blocks after which evidence is removed, never inside the window"
    )


class DeadlineSettings(Settings):
    """How long a miner may take, in seconds."""

    specs_s: Seconds = Field(10.0, description="seconds that a miner has to answer Specs")
    setup_s: Seconds = Field(30.0, description="seconds until a prover is ready")
    open_s: Seconds = Field(3.0, description="seconds for one opening of a proof")
    ping_s: Seconds = Field(5.0, description="seconds that a miner with rentals has to answer")
    probe_s: Seconds = Field(180.0, description="seconds for one rental probe")


class BoundSettings(Settings):
    """How much happens at once."""

    calls: Annotated[int, Field(ge=1, le=4096)] = Field(
        128, description="miners asked for specs at once"
    )
    sessions: Annotated[int, Field(ge=1, le=4096)] = Field(
        64, description="proof sessions in one slot; more miners are split at random"
    )
    openings: Annotated[int, Field(ge=1, le=256)] = Field(
        16, description="proofs whose openings are held in memory at once"
    )
    probes: Annotated[int, Field(ge=1, le=256)] = Field(4, description="rental probes at once")
    processes: Annotated[int, Field(ge=0, le=256)] = Field(
        0, description="processes that check proofs; 0 takes one for each processor"
    )
    units: Annotated[int, Field(ge=1, le=256)] = Field(
        32, description="places that are opened of each GPU"
    )


class ValidationSettings(Settings):
    """What a validator measures and how it pays."""

    policy: str = Field("production", description="scoring policy: production, dev, or a file")
    database: str = Field(
        "",
        description="SQLAlchemy URL of the evidence, such as postgresql+psycopg://…; empty: "
        "validator.sqlite in the state folder",
    )
    poll_s: Annotated[float, Field(gt=0, le=60)] = Field(
        3.0, description="seconds between looks at the chain's block"
    )
    metagraph_every: Blocks = Field(10, description="blocks between reads of the metagraph")
    weights_at: Annotated[float, Field(ge=0, le=0.9)] = Field(
        0.5, description="share of the epoch after which weights are set"
    )
    version_key: Annotated[int, Field(ge=0, le=2**63 - 1)] = Field(
        0, description="version key sent with weights"
    )
    challenges: Names = Field(
        (), description="other challenges of the subnet and where they answer, as name=URL"
    )
    private_webhooks: bool = Field(
        False,  # noqa: FBT003
        description="deliver webhooks to loopback and private addresses (your own network)",
    )
    cadence: CadenceSettings = CadenceSettings()
    deadline: DeadlineSettings = DeadlineSettings()
    bound: BoundSettings = BoundSettings()
