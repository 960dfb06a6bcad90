"""The network of a host's leases: made once, filtered, and removed with the last lease."""

import threading

from compute.errors import Code, EngineError
from compute.miner.host import Host


class LeaseNetwork:
    """One network for all leases of a host; its members cannot reach each other."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._used = False
        self._made = False

    def ensure(self, *, afresh: bool = False) -> None:
        """Have the network and its filter; afresh where something may have removed them.

        Raises:
            EngineError: what the engine or the host's packet filter refused.
        """
        with self._lock:
            self._used = True
            if afresh or not self._made:
                self._put()

    def repair(self) -> None:
        """Put back what was changed since, if the network is in use."""
        with self._lock:
            if self._used:
                self._put()

    def started(self, container: str) -> None:
        """A container has a network namespace, perhaps a new one: limit its upload rate."""
        mbit = self._host.settings.egress_mbit
        if not mbit:
            return
        view = self._host.engine.inspect(container)
        if view is None or not view.pid:
            raise EngineError(Code.ENGINE_FAILED, "the container does not run")
        self._host.limit_egress(view.pid, mbit)

    def remove(self) -> None:
        """Remove network and filter; the caller knows that no lease is left."""
        with self._lock:
            self._host.engine.remove_network(self._host.network.name)
            self._host.firewall.release(self._host.network.bridge)
            self._used = self._made = False

    def _put(self) -> None:
        self._made = False
        self._host.engine.ensure_network(self._host.network)
        self._host.firewall.protect(self._host.network.bridge)
        self._made = True
