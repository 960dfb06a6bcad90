"""Starting and stopping the engine's two daemons, and clearing all that they leave.

The engine gets a containerd of its own: on a machine with a system engine both would otherwise
share one, and see each other's containers.
"""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from compute.adapters.engine.private import network, processes, storage
from compute.adapters.engine.private.api import answers, call
from compute.adapters.engine.private.layout import Layout
from compute.adapters.engine.private.tools import require_tools
from compute.errors import Code, EngineError

_START_LIMIT_S = 60.0
_STOP_GRACE_S = 15.0
_POLL_S = 0.05
_HOST_SETTINGS = Path("/etc/docker/daemon.json")
_HOST_KEYS = ("registry-mirrors", "insecure-registries", "dns", "mtu", "runtimes", "proxies")
_TOOLS = ("dockerd", "containerd", "ip", "iptables", "mount")

Progress = Callable[[str], None]

# Plugins that a private engine never uses and whose start costs time or prints warnings.
_CONTAINERD_CONFIG = """\
version = 2
root = "{data}/containerd-root"
state = "{run}/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{run}/containerd.sock"
"""


@dataclass(frozen=True, slots=True)
class Choices:
    """What was chosen for one engine, kept with its data.

    Attributes:
        block: the /16 that it takes its addresses from.
        driver: its storage driver; data made with one cannot be read with another.
    """

    block: str
    driver: str

    @property
    def subnets(self) -> network.Subnets:
        """The block, cut up."""
        return network.Subnets(IPv4Network(self.block))


def start(layout: Layout, progress: Progress) -> None:
    """Start the engine and wait until it answers.

    Raises:
        EngineError: `HOST_UNFIT` if this machine cannot run one, `ENGINE_FAILED` with the end
            of its log if it does not come up.
    """
    if os.geteuid() != 0:
        raise EngineError(
            Code.HOST_UNFIT,
            "a private container engine needs root",
            hint="run this as root, or start Docker and point DOCKER_HOST at it",
        )
    require_tools(*_TOOLS)
    clear(layout)
    choices = _choose(layout, progress)
    for folder in (layout.data, layout.run):
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    processes.make_room()
    network.note_host()
    network.create_bridge(layout.bridge, choices.subnets)
    others = network.engine_rules()
    try:
        _launch(layout, choices)
        network.put_back(others)
    except BaseException:
        clear(layout)
        layout.record.unlink()  # the next start may choose better
        raise


def stop(layout: Layout) -> None:
    """End this engine's containers, then the engine, then whatever it left behind."""
    if answers(layout.socket):
        _end_containers(layout)
        _remove_networks(layout)
    clear(layout)


def clear(layout: Layout) -> None:
    """End all processes of this engine and remove its mounts, bridges, rules and run folder.

    Also heals what an engine that was killed left behind.
    """
    main = [pid for pid in (processes.read_pid(layout.pid_file),) if pid]
    ours = processes.engine_processes(layout)
    processes.end_processes([pid for pid in main if pid in ours], grace_s=_STOP_GRACE_S)
    processes.end_processes(processes.container_processes(layout), grace_s=0)
    processes.end_processes(processes.engine_processes(layout), grace_s=_STOP_GRACE_S)
    processes.remove_cgroups(layout)
    storage.unmount_below(layout.root, layout.run)
    storage.detach_loops_below(layout.root.parent)
    choices = _read_choices(layout)
    if choices:
        bridges = {layout.bridge, *network.bridges_within(choices.subnets)}
        network.remove_rules(choices.subnets, bridges)
        for bridge in bridges:
            network.remove_bridge(bridge)
    shutil.rmtree(layout.run, ignore_errors=True)
    network.restore_host()


def _choose(layout: Layout, progress: Progress) -> Choices:
    layout.root.mkdir(mode=0o711, parents=True, exist_ok=True)
    before = _read_choices(layout)
    driver = before.driver if before else storage.choose_driver(layout.data)
    if driver == storage.COPIES:
        progress("the file system cannot overlay folders: each image layer is copied (slow)")
    subnets = network.choose_subnets(layout.ident, network.routed_networks())
    choices = Choices(block=str(subnets.block), driver=driver)
    layout.record.write_text(json.dumps(asdict(choices)))
    return choices


def _read_choices(layout: Layout) -> Choices | None:
    try:
        return Choices(**json.loads(layout.record.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _launch(layout: Layout, choices: Choices) -> None:
    config = layout.run / "containerd.toml"
    config.write_text(_CONTAINERD_CONFIG.format(data=layout.data, run=layout.run))
    with layout.log.open("w") as log:
        containerd = _spawn(["containerd", "--config", str(config)], log.fileno())
        layout.containerd_pid_file.write_text(str(containerd.pid))
        _wait_for(containerd, layout, (layout.run / "containerd.sock").exists)
        settings = layout.run / "daemon.json"
        settings.write_text(json.dumps(_engine_settings(layout, choices)))
        dockerd = _spawn(["dockerd", f"--config-file={settings}"], log.fileno())
    _wait_for(dockerd, layout, lambda: answers(layout.socket))


def _engine_settings(layout: Layout, choices: Choices) -> dict[str, Any]:
    return _host_settings() | {
        "hosts": [layout.docker_host],
        "data-root": str(layout.data),
        "exec-root": str(layout.run / "docker"),
        "pidfile": str(layout.pid_file),
        "containerd": str(layout.run / "containerd.sock"),
        "storage-driver": choices.driver,
        "bridge": layout.bridge,
        "default-address-pools": [{"base": choices.subnets.pool, "size": network.NETWORK_PREFIX}],
        "cgroup-parent": layout.cgroup,
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "log-opts": {"max-size": "10m"},
    }


def _host_settings() -> dict[str, Any]:
    """What the host's own engine settings say about the way to registries and to GPUs."""
    try:
        settings: dict[str, Any] = json.loads(_HOST_SETTINGS.read_text())
    except (OSError, ValueError):
        return {}
    return {key: settings[key] for key in _HOST_KEYS if key in settings}


def _spawn(command: list[str], log: int) -> "subprocess.Popen[bytes]":
    """Start a daemon in a session of its own, so that Ctrl-C does not reach it."""
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )


def _wait_for(
    process: "subprocess.Popen[bytes]", layout: Layout, ready: Callable[[], bool]
) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise EngineError(
                Code.ENGINE_FAILED,
                f"the private engine did not start: {_last_words(layout)}",
                hint=f"the whole log is {layout.log}",
            )
        time.sleep(_POLL_S)


def _last_words(layout: Layout) -> str:
    lines = layout.log.read_text(errors="replace").strip().splitlines()
    return lines[-1][-300:] if lines else "it printed nothing"


def _end_containers(layout: Layout) -> None:
    found = call(layout.socket, "GET", "/containers/json?all=1") or []
    for container in found:
        target = f"/containers/{container['Id']}"
        with contextlib.suppress(EngineError):
            if container["State"] == "paused":
                call(layout.socket, "POST", f"{target}/unpause")
        with contextlib.suppress(EngineError):
            call(layout.socket, "DELETE", f"{target}?force=1&v=1")


def _remove_networks(layout: Layout) -> None:
    own = {"bridge", "host", "none"}
    for item in call(layout.socket, "GET", "/networks") or []:
        if item["Name"] not in own:
            with contextlib.suppress(EngineError):
                call(layout.socket, "DELETE", f"/networks/{item['Id']}")
