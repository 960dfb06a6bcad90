"""What tests left in the engine: containers, networks and volumes that should be gone.

Asked only of a private engine that nobody keeps: there everything is the tests' own.
"""

import os
from pathlib import Path

import docker

from compute.adapters.engine.private import Layout

_OWN_NETWORKS = {"bridge", "host", "none"}


def find_leftovers() -> list[str]:
    """One line for each thing that is left; empty where there is no telling whose it is."""
    layout = Layout.of(Path(os.environ["COMPUTE_STATE"]))
    if os.environ["DOCKER_HOST"] != layout.docker_host or layout.keep_mark.exists():
        return []
    client = docker.DockerClient(base_url=layout.docker_host)
    try:
        return [
            *(f"container {c.name} ({c.status})" for c in client.containers.list(all=True)),
            *(f"network {n.name}" for n in client.networks.list() if n.name not in _OWN_NETWORKS),
            *(f"volume {v.name}" for v in client.volumes.list()),
        ]
    finally:
        client.close()
