"""The policies that ship with the product."""

from importlib.resources import files
from pathlib import Path

from compute.domain.policy import Policy, parse_policy
from compute.errors import UsageError

SHIPPED = ("production", "dev")


def load_policy(name: str) -> Policy:
    """Load a shipped policy by name, or one's own by path.

    Args:
        name: `production`, `dev`, or the path of a TOML file.

    Raises:
        UsageError: when there is no such policy, or it is not valid.
    """
    if name in SHIPPED:
        return parse_policy(files(__name__).joinpath(f"{name}.toml").read_text())
    try:
        text = Path(name).expanduser().read_text()
    except OSError as error:
        raise UsageError(f"the policy '{name}' cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"the policy '{name}' is not text") from None
    return parse_policy(text)
