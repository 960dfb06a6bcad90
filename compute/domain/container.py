"""How a lease becomes a container: one builder for every kind, so that limits are never forgotten.

What is here says *what* a container is; the engine adapters say how their engine makes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from compute.domain.lease import Lease, LeaseKind
from compute.domain.timeline import Deadline

LABEL = "io.compute"
MANAGED = f"{LABEL}.managed"
OWNER = f"{LABEL}.owner"
LEASE = f"{LABEL}.lease"
KIND = f"{LABEL}.kind"
DEADLINE = f"{LABEL}.deadline"
TRACE = f"{LABEL}.trace"
LEASE_LABELS = (OWNER, LEASE, KIND, DEADLINE, TRACE)

SSH_PORT = 22
FOLDER = "/run/compute"
HOST_KEY_FILE = "host_key"
AUTHORIZED_KEYS_FILE = "authorized_keys"
PASSWORD_FILE = "password"  # noqa: S105 - the name of a file

# What sshd and a root shell need: files of any owner, users, a low port, a chroot for the
# unprivileged half of sshd. No raw sockets, no devices, no network or mount administration.
# Debian's sshd ends every login that has a terminal when it may not tell the kernel's audit of it.
SSH_CAPABILITIES = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
    "SYS_CHROOT",
)
NAME_PREFIX = "compute-"


class ContainerState(StrEnum):
    """A container's state, in the engine's words."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Publish:
    """One published port."""

    container: int
    host: int
    address: str


@dataclass(frozen=True, slots=True)
class Mount:
    """A named volume and where it appears."""

    volume: str
    target: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may use.

    Attributes:
        cpus: ids of logical processors it runs on; its quota is as many full processors.
        memory_mib: memory and swap together: there is no swap on top.
        disk_mib: quota of its writable layer, where the engine can; 0 sets none.
        pids: processes and threads.
        open_files: descriptors of one process.
    """

    cpus: tuple[int, ...]
    memory_mib: int
    shm_mib: int
    disk_mib: int = 0
    pids: int = 4096
    open_files: int = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container, completely.

    Attributes:
        image: engine id or digest: never a tag.
        command: replaces the image's entry point and command; empty keeps them.
        network: name of a network, or `none`.
        gpus: UUIDs to pass through.
        capabilities: the only ones that it keeps.
        tmpfs: mount point to options.
        stdin: keep standard input open for one attached client.
        logs: whether the engine keeps its output.
    """

    name: str
    image: str
    labels: Mapping[str, str]
    limits: Limits
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    hostname: str = ""
    network: str = "none"
    dns: tuple[str, ...] = ()
    publish: tuple[Publish, ...] = ()
    gpus: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    read_only: bool = False
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    stdin: bool = False
    logs: bool = True


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a host gives every container that it makes.

    Attributes:
        owner: id of the ledger that owns the containers: two miners on one engine never mix.
        network: the network of its leases.
        bind_address: host address of published ports.
        dns: resolvers; empty leaves the engine's own.
    """

    owner: str
    network: str
    bind_address: str
    pids: int = 4096
    open_files: int = 65536
    quota: bool = False
    dns: tuple[str, ...] = ()


def network_of(owner: str) -> str:
    """Name of the network that an owner's leases are on."""
    return f"{NAME_PREFIX}{owner}"


def bridge_of(owner: str) -> str:
    """Name of that network's bridge on the host; interface names have at most 15 characters."""
    return f"cl{owner[:12]}"


def container_name(lease_id: str, deadline: Deadline) -> str:
    """Name of a lease's container; it carries the deadline, because labels cannot be changed."""
    return f"{NAME_PREFIX}{lease_id}.{deadline.token()}"


def deadline_of(name: str, labels: Mapping[str, str]) -> Deadline | None:
    """When a container is due: by its name, else by its label, else unknown."""
    _, _, token = name.lstrip("/").partition(".")
    return Deadline.parse(token) or Deadline.parse(labels.get(DEADLINE, ""))


def labels_of(lease: Lease, owner: str) -> dict[str, str]:
    """Labels of every object that is made for a lease."""
    return {
        MANAGED: "1",
        OWNER: owner,
        LEASE: lease.id,
        KIND: lease.kind.value,
        DEADLINE: lease.deadline.token(),
        TRACE: lease.trace,
    }


def build(lease: Lease, around: Surroundings, mounts: tuple[Mount, ...] = ()) -> ContainerSpec:
    """The container of a lease."""
    if lease.kind is LeaseKind.CHALLENGE:
        return _prover(lease, around)
    return ContainerSpec(
        name=container_name(lease.id, lease.deadline),
        image=lease.image,
        labels=labels_of(lease, around.owner),
        limits=_limits(lease, around),
        environment=_environment(lease),
        hostname=f"lease-{lease.id[:8]}",
        network=around.network,
        dns=around.dns,
        publish=tuple(
            Publish(port.container, port.host, around.bind_address)
            for port in lease.assignment.ports
        ),
        gpus=lease.assignment.gpus,
        capabilities=SSH_CAPABILITIES,
        mounts=mounts,
    )


def build_job(
    lease: Lease,
    around: Surroundings,
    script: str,
    environment: Mapping[str, str],
    *,
    network: bool,
) -> ContainerSpec:
    """The container of a job that runs a shell script to its end."""
    return ContainerSpec(
        name=container_name(lease.id, lease.deadline),
        image=lease.image,
        labels=labels_of(lease, around.owner),
        limits=_limits(lease, around),
        command=("sh", "-c", script),
        environment=_environment(lease, environment),
        user="0:0",
        hostname=f"job-{lease.id[:8]}",
        network=around.network if network else "none",
        dns=around.dns,
        gpus=lease.assignment.gpus,
        capabilities=SSH_CAPABILITIES,
    )


# Reads a program's length and bytes from standard input, and becomes that program: nothing has to
# be mounted, and the root file system stays read-only.
_BOOTSTRAP = f"""
import os, sys
def read(count):
    data = b""
    while len(data) < count:
        part = os.read(0, min(65536, count - len(data)))
        if not part:
            sys.exit(3)
        data += part
    return data
path = "{FOLDER}/prover.pyz"
with open(path, "wb") as file:
    file.write(read(int.from_bytes(read(8), "big")))
os.execv(sys.executable, [sys.executable, path])
"""
PROVER_USER = "1000:1000"


def _prover(lease: Lease, around: Surroundings) -> ContainerSpec:
    memory = f"size={max(16, lease.assignment.memory_mib // 4)}m"
    return ContainerSpec(
        name=container_name(lease.id, lease.deadline),
        image=lease.image,
        labels=labels_of(lease, around.owner),
        limits=_limits(lease, around),
        command=("python3", "-c", _BOOTSTRAP),
        environment=_environment(lease),
        user=PROVER_USER,
        hostname="prover",
        gpus=lease.assignment.gpus,
        read_only=True,
        tmpfs={
            FOLDER: "size=16m,mode=0700,uid=1000,gid=1000,nosuid,nodev",
            "/tmp": f"{memory},mode=1777,nosuid,nodev,exec",  # noqa: S108 - inside the container
        },
        stdin=True,
        logs=False,
    )


def _environment(lease: Lease, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The container's variables, and on top the GPUs that it has.

    Where the engine's default runtime is NVIDIA's, this variable alone decides: without it an
    image whose own says `all` gets every GPU of the host; `void` gives none.
    """
    variables = lease.environment if given is None else given
    return {**variables, "NVIDIA_VISIBLE_DEVICES": ",".join(lease.assignment.gpus) or "void"}


def _limits(lease: Lease, around: Surroundings) -> Limits:
    share = lease.assignment
    return Limits(
        cpus=share.cpus,
        memory_mib=share.memory_mib,
        shm_mib=share.shm_mib,
        disk_mib=share.disk_mib if around.quota else 0,
        pids=around.pids,
        open_files=around.open_files,
    )
