"""The engine port over the Docker API, from version 20.10 on."""

import io
import tarfile
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound, NotFound
from docker.types import DeviceRequest, LogConfig, Ulimit
from docker.types import Mount as DockerMount
from docker.utils import kwargs_from_env

from compute.adapters.engine.faults import engine_call, missing_is_fine, scrub, translated
from compute.adapters.engine.pipe import AttachedPipe
from compute.domain.container import (
    LEASE,
    LEASE_LABELS,
    MANAGED,
    OWNER,
    ContainerSpec,
    ContainerState,
    Limits,
)
from compute.errors import Code, EngineError
from compute.ports.engine import (
    ContainerView,
    EngineInfo,
    ImageView,
    NetworkSpec,
    Pipe,
    PlacedFile,
    VolumeSpec,
)

MIB = 1024 * 1024
CPU_PERIOD_US = 100_000
MOST_LOG_BYTES = 256 * 1024
REMOVAL_S = 20.0
# A tenant can write to its log without end: the engine keeps this much of it.
_KEPT_LOG = {"max-size": "1m", "max-file": "1"}
_NOT_PAUSED = frozenset({HTTPStatus.CONFLICT, HTTPStatus.INTERNAL_SERVER_ERROR})
_QUOTA_DRIVERS = frozenset({"btrfs", "zfs"})


class DockerEngine:
    """A Docker engine.

    Args:
        url: of its API; empty takes `DOCKER_HOST`, else the system's socket.
        timeout_s: for one call, on top of what the call itself waits for.
    """

    def __init__(self, url: str = "", timeout_s: int = 60) -> None:
        with translated():
            options = {"base_url": url} if url else kwargs_from_env()
            self._api: Any = docker.APIClient(
                **options, version="auto", timeout=timeout_s, num_pools=64
            )
        base = str(options.get("base_url") or "unix://")
        self._local = base.startswith(("unix://", "http+unix://"))

    @engine_call
    def info(self) -> EngineInfo:
        """What the engine is."""
        told = self._api.info()
        return EngineInfo(
            version=told["ServerVersion"],
            cpus=told["NCPU"],
            memory_mib=told["MemTotal"] // MIB,
            root=told["DockerRootDir"],
            storage_driver=told["Driver"],
            quota=_has_quota(told),
            user_namespaces=any("userns" in option for option in told["SecurityOptions"] or ()),
            local=self._local,
            kernel=told["KernelVersion"],
        )

    @engine_call
    def create(self, spec: ContainerSpec) -> str:
        """Make a container, not started; answers its id."""
        answer = self._api.create_container(
            image=spec.image,
            name=spec.name,
            labels=dict(spec.labels),
            hostname=spec.hostname or None,
            user=spec.user or None,
            environment=dict(spec.environment),
            entrypoint=list(spec.command) or None,
            stdin_open=spec.stdin,
            ports=[port.container for port in spec.publish],
            host_config=self._host_config(spec),
        )
        return str(answer["Id"])

    @engine_call
    def put_files(self, container: str, folder: str, files: Sequence[PlacedFile]) -> None:
        """Write files into a folder of a container that is created or runs."""
        self._api.put_archive(container, "/", _archive(folder, files))

    @engine_call
    def start(self, container: str) -> None:
        """Start it."""
        self._api.start(container)

    @engine_call
    def stop(self, container: str, grace_s: int) -> None:
        """Ask it to end, and kill it after the grace; works on a paused one too."""
        with missing_is_fine():
            if self._state(container) is ContainerState.PAUSED:
                self._thaw(container)
            self._api.stop(container, timeout=grace_s)

    @engine_call
    def restart(self, container: str, grace_s: int) -> None:
        """Stop and start it; its disk stays."""
        self._api.restart(container, timeout=grace_s)

    @engine_call
    def remove(self, container: str) -> None:
        """Remove it in whatever state it is, with its anonymous volumes."""
        until = time.monotonic() + REMOVAL_S
        while not self._removed(container):
            if time.monotonic() > until:
                raise EngineError(Code.ENGINE_FAILED, "the container does not go away")
            time.sleep(0.05)

    @engine_call
    def pause(self, container: str) -> None:
        """Freeze its processes."""
        self._api.pause(container)

    @engine_call
    def unpause(self, container: str) -> None:
        """Let them run again."""
        self._api.unpause(container)

    @engine_call
    def rename(self, container: str, name: str) -> None:
        """Give it another name."""
        self._api.rename(container, name)

    @engine_call
    def update(self, container: str, limits: Limits) -> None:
        """Change CPU and memory limits while it runs."""
        self._api.update_container(
            container,
            cpuset_cpus=_cpuset(limits),
            cpu_period=CPU_PERIOD_US,
            cpu_quota=CPU_PERIOD_US * len(limits.cpus),
            mem_limit=limits.memory_mib * MIB,
            memswap_limit=limits.memory_mib * MIB,
        )

    @engine_call
    def inspect(self, container: str) -> ContainerView | None:
        """One container by id or name; None when it is not there or not ours."""
        try:
            told = self._api.inspect_container(container)
        except NotFound:
            return None
        labels = told["Config"]["Labels"] or {}
        if not labels.get(LEASE):
            return None
        state = ContainerState(told["State"]["Status"])
        return ContainerView(
            id=told["Id"],
            name=told["Name"].lstrip("/"),
            labels=labels,
            state=state,
            image=told["Image"],
            exit_code=told["State"]["ExitCode"] if state is ContainerState.EXITED else None,
            pid=told["State"]["Pid"],
        )

    @engine_call
    def containers(self, owner: str | None = None) -> tuple[ContainerView, ...]:
        """All labelled containers, in any state, of one owner or of all."""
        rows = self._api.containers(all=True, filters={"label": [LEASE, *_labels(owner)]})
        return tuple(
            ContainerView(
                id=row["Id"],
                name=row["Names"][0].lstrip("/") if row["Names"] else "",
                labels=row["Labels"],
                state=ContainerState(row["State"]),
                image=row["ImageID"],
            )
            for row in rows
            if row["Labels"][LEASE]  # inherited from an image, and emptied there
        )

    @engine_call
    def layer(self, container: str) -> str:
        """Folder of its own writable layer on the engine's host; empty where it does not say."""
        driver = self._api.inspect_container(container).get("GraphDriver") or {}
        upper = (driver.get("Data") or {}).get("UpperDir", "")
        return upper.removesuffix("/diff") if driver.get("Name") == "overlay2" else ""

    @engine_call
    def logs(self, container: str, tail: int) -> str:
        """The last lines of its output, at most 256 KiB."""
        text: bytes = self._api.logs(container, stdout=True, stderr=True, tail=tail)
        return text[-MOST_LOG_BYTES:].decode(errors="replace")

    @engine_call
    def attach(self, container: str) -> Pipe:
        """Attach to its standard input and output; before it is started."""
        wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        raw = self._api.attach_socket(container, params=wanted)
        return AttachedPipe(getattr(raw, "_sock", raw))

    @engine_call
    def ensure_network(self, spec: NetworkSpec) -> None:
        """Make the network unless it is there."""
        if spec.name in self._network_names(spec.labels.get(OWNER)):
            return
        self._api.create_network(
            spec.name,
            driver="bridge",
            labels=dict(spec.labels),
            options={
                "com.docker.network.bridge.name": spec.bridge,
                "com.docker.network.bridge.enable_icc": "false",
            },
        )

    @engine_call
    def remove_network(self, name: str) -> None:
        """Remove a network that no container uses."""
        with missing_is_fine():
            self._api.remove_network(name)

    @engine_call
    def networks(self, owner: str | None = None) -> tuple[str, ...]:
        """Names of labelled networks."""
        return self._network_names(owner)

    @engine_call
    def create_volume(self, spec: VolumeSpec) -> None:
        """Make a volume."""
        self._api.create_volume(
            spec.name, driver="local", driver_opts=dict(spec.options), labels=dict(spec.labels)
        )

    @engine_call
    def remove_volume(self, name: str) -> None:
        """Remove a volume that no container uses."""
        with missing_is_fine():
            self._api.remove_volume(name)

    @engine_call
    def volumes(self, owner: str | None = None) -> tuple[str, ...]:
        """Names of labelled volumes."""
        rows = self._api.volumes(filters={"label": _labels(owner)})["Volumes"] or ()
        return tuple(row["Name"] for row in rows)

    @engine_call
    def image(self, reference: str) -> ImageView | None:
        """An image by id, digest or name; None when it is not held."""
        try:
            told = self._api.inspect_image(reference)
        except ImageNotFound:
            return None
        return _image(told)

    @engine_call
    def images(self) -> tuple[ImageView, ...]:
        """All images that are held."""
        return tuple(
            ImageView(
                id=row["Id"],
                references=(*(row["RepoTags"] or ()), *(row["RepoDigests"] or ())),
                size_mib=row["Size"] // MIB,
                created_at=row["Created"],
                labels=row["Labels"] or {},
            )
            for row in self._api.images()
        )

    @engine_call
    def commit(self, container: str, like: str, environment: Mapping[str, str]) -> ImageView:
        """Make an image of a stopped container's disk."""
        base = self._api.inspect_image(like)["Config"]
        variables = {**_variables(base), **environment}
        config = {
            "Entrypoint": base.get("Entrypoint"),
            "Cmd": base.get("Cmd") or [],
            "User": base.get("User") or "",
            "WorkingDir": base.get("WorkingDir") or "",
            "Env": [f"{name}={value}" for name, value in variables.items()],
            # The container's own labels would be taken over: what says whose lease it is must not.
            "Labels": {**dict.fromkeys(LEASE_LABELS, ""), **(base.get("Labels") or {})},
        }
        made = self._api.commit(container, conf=config)
        return _image(self._api.inspect_image(made["Id"]))

    @engine_call
    def pull(self, reference: str, timeout_s: float) -> ImageView:
        """Fetch an image by digest."""
        until = time.monotonic() + timeout_s
        try:
            events = self._api.pull(reference, stream=True, decode=True)
        except APIError as error:
            raise EngineError(Code.IMAGE_MISSING, scrub(str(error.explanation))) from error
        for event in events:
            if "error" in event:
                raise EngineError(Code.IMAGE_MISSING, scrub(str(event["error"])))
            if time.monotonic() > until:
                raise EngineError(Code.IMAGE_MISSING, f"not pulled within {timeout_s:.0f} s")
        return _image(self._api.inspect_image(reference))

    @engine_call
    def remove_image(self, image: str) -> None:
        """Remove an image that no container uses."""
        with missing_is_fine():
            self._api.remove_image(image)

    def close(self) -> None:
        """Let go of connections."""
        self._api.close()

    def _host_config(self, spec: ContainerSpec) -> Any:
        limits = spec.limits
        return self._api.create_host_config(
            network_mode=spec.network,
            dns=list(spec.dns) or None,
            port_bindings={port.container: (port.address, port.host) for port in spec.publish},
            cpuset_cpus=_cpuset(limits),
            cpu_period=CPU_PERIOD_US,
            cpu_quota=CPU_PERIOD_US * len(limits.cpus),
            mem_limit=limits.memory_mib * MIB,
            memswap_limit=limits.memory_mib * MIB,
            shm_size=limits.shm_mib * MIB,
            pids_limit=limits.pids,
            ulimits=[Ulimit(name="nofile", soft=limits.open_files, hard=limits.open_files)],
            storage_opt={"size": f"{limits.disk_mib}m"} if limits.disk_mib else None,
            cap_drop=["ALL"],
            cap_add=list(spec.capabilities) or None,
            security_opt=["no-new-privileges"],
            read_only=spec.read_only,
            tmpfs=dict(spec.tmpfs) or None,
            mounts=[_mount(mount.volume, mount.target) for mount in spec.mounts] or None,
            device_requests=[_gpus(spec.gpus)] if spec.gpus else None,
            log_config=_log(keep=spec.logs),
        )

    def _state(self, container: str) -> ContainerState:
        return ContainerState(self._api.inspect_container(container)["State"]["Status"])

    def _removed(self, container: str) -> bool:
        """Try to remove; False when a removal is under way already, or somebody paused it again."""
        try:
            if self._state(container) is ContainerState.PAUSED:
                self._thaw(container)
            self._api.remove_container(container, force=True, v=True)
        except NotFound:
            return True
        except APIError as error:
            if error.status_code != HTTPStatus.CONFLICT:
                raise
            return False
        return True

    def _thaw(self, container: str) -> None:
        try:
            self._api.unpause(container)
        except APIError as error:
            if error.status_code not in _NOT_PAUSED:
                raise

    def _network_names(self, owner: str | None) -> tuple[str, ...]:
        return tuple(row["Name"] for row in self._api.networks(filters={"label": _labels(owner)}))


def _image(told: Mapping[str, Any]) -> ImageView:
    config = told.get("Config") or {}
    return ImageView(
        id=told["Id"],
        references=(*(told["RepoTags"] or ()), *(told["RepoDigests"] or ())),
        size_mib=told["Size"] // MIB,
        created_at=datetime.fromisoformat(told["Created"]).timestamp(),
        labels=config.get("Labels") or {},
        environment=_variables(config),
    )


def _variables(config: Mapping[str, Any]) -> dict[str, str]:
    pairs = (row.partition("=") for row in config.get("Env") or ())
    return {name: value for name, _, value in pairs}


def _labels(owner: str | None) -> list[str]:
    return [f"{MANAGED}=1", *([f"{OWNER}={owner}"] if owner else [])]


def _cpuset(limits: Limits) -> str:
    return ",".join(str(cpu) for cpu in limits.cpus)


def _mount(volume: str, target: str) -> DockerMount:
    return DockerMount(target=target, source=volume, type="volume", no_copy=True)


def _gpus(uuids: Sequence[str]) -> DeviceRequest:
    return DeviceRequest(driver="nvidia", device_ids=list(uuids), capabilities=[["gpu"]])


def _log(*, keep: bool) -> LogConfig:
    return LogConfig(type="json-file", config=_KEPT_LOG) if keep else LogConfig(type="none")


def _archive(folder: str, files: Sequence[PlacedFile]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        base = folder.strip("/")
        top = tarfile.TarInfo(base)
        top.type, top.mode, top.mtime = tarfile.DIRTYPE, 0o755, int(time.time())
        tar.addfile(top)
        for file in files:
            entry = tarfile.TarInfo(f"{base}/{file.name}")
            entry.size, entry.mode, entry.mtime = len(file.content), file.mode, top.mtime
            entry.uid = entry.gid = file.uid
            tar.addfile(entry, io.BytesIO(file.content))
    return target.getvalue()


def _has_quota(told: Mapping[str, Any]) -> bool:
    if told["Driver"] in _QUOTA_DRIVERS:
        return True
    facts = {str(row[0]): str(row[1]) for row in told["DriverStatus"] or ()}
    return told["Driver"] == "overlay2" and facts.get("Backing Filesystem") == "xfs"


def wait_for_engine(url: str, timeout_s: float) -> "DockerEngine":
    """Connect to an engine that may still be starting.

    Raises:
        EngineError: `ENGINE_AWAY` when it has not answered in time.
    """
    until = time.monotonic() + timeout_s
    while True:
        try:
            return DockerEngine(url)
        except EngineError as error:
            if error.code is not Code.ENGINE_AWAY or time.monotonic() > until:
                raise
            time.sleep(0.2)
