"""What a development chain and its subnets are made with. Stored in the file at creation."""

from pydantic import BaseModel, ConfigDict, Field

U16_MAX = 65_535
RAO = 1_000_000_000
"""Rao in one TAO or one alpha."""


class ChainParams(BaseModel):
    """Constants of a whole chain; every process that opens the file reads them from it.

    Attributes:
        block_s: seconds per block; the real chain's is 12.
        fee_rao: fee of one transaction; on the real chain it varies with the call's weight.
        manual: blocks do not come from the clock but only when asked for; for tests.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    block_s: float = Field(default=12.0, gt=0.001, le=3600)
    fee_rao: int = Field(default=136_000, ge=0)
    manual: bool = False


class SubnetParams(BaseModel):
    """A subnet's hyperparameters, in blocks, counts and u16 unless the name says otherwise.

    Defaults follow the real chain, but for `max_registrations_per_block`, which is 1 there and
    would make every local set-up wait.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tempo: int = Field(default=360, ge=1, le=U16_MAX)
    weights_rate_limit: int = Field(default=100, ge=0)
    serving_rate_limit: int = Field(default=50, ge=0)
    min_allowed_weights: int = Field(default=1, ge=0, le=U16_MAX)
    max_weights_limit: int = Field(default=U16_MAX, ge=1, le=U16_MAX)
    weights_version: int = Field(default=0, ge=0)
    stake_threshold_rao: int = Field(default=0, ge=0)
    commit_reveal: bool = False
    reveal_period_epochs: int = Field(default=1, ge=1, le=100)
    max_uids: int = Field(default=256, ge=1, le=4096)
    max_validators: int = Field(default=64, ge=1, le=4096)
    immunity_period: int = Field(default=5000, ge=0)
    activity_cutoff: int = Field(default=5000, ge=1)
    registration_allowed: bool = True
    max_registrations_per_block: int = Field(default=16, ge=1)
    burn_rao: int = Field(default=500_000, ge=0)
    commitment_space: int = Field(default=3100, ge=1)
    kappa: int = Field(default=32_767, ge=0, le=U16_MAX)
