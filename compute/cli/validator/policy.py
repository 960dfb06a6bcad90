"""The policy that a validator pays by, found again from what it wrote."""

from compute.domain.measurement import WeightsContent
from compute.domain.policy import Policy
from compute.errors import UsageError
from compute.validator.policies import SHIPPED, load_policy


def policy_for(published: WeightsContent, named: str = "") -> Policy:
    """The policy under which a vector was made.

    Args:
        published: the vector.
        named: a policy's name or file; empty for the shipped one of the vector's own hash.

    Raises:
        UsageError: when no shipped policy is the one, or the named one cannot be read.
    """
    if named:
        return load_policy(named)
    for name in SHIPPED:
        policy = load_policy(name)
        if policy.sha256 == published.policy_sha256:
            return policy
    raise UsageError(
        f"the policy '{published.policy}' of these weights is not one that ships",
        hint="name its file by --policy",
    )
