"""What keeps tenants away from the host, from its networks and from link-local metadata."""

from typing import Protocol


class Firewall(Protocol):
    """Packet filter rules for the bridge that leases are on. Safe to call from any thread."""

    def protect(self, bridge: str) -> None:
        """Put the rules of a bridge in place, or put them right; a repeat changes nothing.

        Raises:
            EngineError: `ENGINE_FAILED` when the host's packet filter refuses.
        """
        ...

    def release(self, bridge: str) -> None:
        """Remove the rules of a bridge; those that are not there are no error."""
        ...
