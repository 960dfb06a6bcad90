"""The floor: what the bare engine takes for the same container, driven by its SDK alone.

Create with the same limits and network, put the keys in, start, and wait for the SSH banner; no
ledger, no placement, no disk of its own, no sealing, no checks.
"""

import contextlib
import io
import secrets
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import docker
from docker.types import LogConfig, Ulimit

from compute.adapters.engine.ready import wait_for_banner
from compute.crypto import sshkeys
from compute.domain.container import SSH_CAPABILITIES
from compute.testing.leases import ADDRESS

MIB = 1024 * 1024
NETWORK = "compute-bench-floor"


class Floor:
    """Containers made by the engine's SDK.

    Args:
        engine_url: of the engine.
        image: that starts an SSH server once it has its keys.
        port: host port to publish.
        memory_mib: of each container.
    """

    def __init__(self, engine_url: str, image: str, port: int, memory_mib: int) -> None:
        self._api: Any = docker.APIClient(base_url=engine_url, timeout=120)
        self._image = image
        self._port = port
        self._memory = memory_mib * MIB

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """The bridge that the containers are on."""
        options = {"com.docker.network.bridge.enable_icc": "false"}
        self._api.create_network(NETWORK, driver="bridge", options=options)
        try:
            yield
        finally:
            self._api.remove_network(NETWORK)
            self._api.close()

    def start_s(self) -> float:
        """Seconds from nothing to the SSH banner; the container is removed afterwards."""
        began = time.perf_counter()
        container = self._api.create_container(
            self._image,
            name=f"compute-bench-{secrets.token_hex(4)}",
            ports=[22],
            host_config=self._host_config(),
        )["Id"]
        self._api.put_archive(container, "/", _keys())
        self._api.start(container)
        wait_for_banner(ADDRESS, self._port, 30)
        took = time.perf_counter() - began
        self._api.remove_container(container, force=True, v=True)
        return took

    def _host_config(self) -> Any:
        return self._api.create_host_config(
            network_mode=NETWORK,
            port_bindings={22: (ADDRESS, self._port)},
            cpuset_cpus="0",
            cpu_period=100_000,
            cpu_quota=100_000,
            mem_limit=self._memory,
            memswap_limit=self._memory,
            shm_size=64 * MIB,
            pids_limit=4096,
            ulimits=[Ulimit(name="nofile", soft=4096, hard=4096)],
            cap_drop=["ALL"],
            cap_add=list(SSH_CAPABILITIES),
            security_opt=["no-new-privileges"],
            log_config=LogConfig(type="json-file", config={"max-size": "1m", "max-file": "1"}),
        )


def _keys() -> bytes:
    host, user = sshkeys.generate(), sshkeys.generate()
    target = io.BytesIO()
    files = (("authorized_keys", user.public, 0o644), ("host_key", host.private, 0o600))
    with tarfile.open(fileobj=target, mode="w") as tar:
        top = tarfile.TarInfo("run/compute")
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(top)
        for name, text, mode in files:
            entry = tarfile.TarInfo(f"run/compute/{name}")
            entry.size, entry.mode = len(text), mode
            tar.addfile(entry, io.BytesIO(text.encode()))
    return target.getvalue()
