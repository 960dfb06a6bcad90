"""Settings of everything that leases out a host: a miner nests them as `leases`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from compute.domain.requirement import Requirement
from compute.settings.common import Settings, default_state

Seconds = Annotated[int, Field(ge=1)]
Mebibytes = Annotated[int, Field(ge=0)]


class SlotSettings(Settings):
    """The share of the host that is set aside for probes and challenges."""

    cpus: Annotated[int, Field(ge=1)] = Field(
        1, description="processors that tests share; taken from the rentals while any are left"
    )
    memory_mib: Mebibytes = Field(2048, description="memory for all tests together, MiB")
    disk_mib: Mebibytes = Field(4096, description="disk for all tests together, MiB")
    leases: Annotated[int, Field(ge=1)] = Field(4, description="probes and challenges at once")
    longest_s: Seconds = Field(900, description="longest probe in seconds, extensions included")
    challenge_memory_mib: Annotated[int, Field(ge=64)] = Field(
        1024, description="memory of one challenge, MiB"
    )
    challenge_ttl_s: Seconds = Field(
        180, description="seconds after which a challenge that was not closed is ended"
    )


class WarmSettings(Settings):
    """Containers that are kept ready, so that a lease starts at once."""

    size: Annotated[int, Field(ge=0)] = Field(0, description="ready containers; 0 keeps none")
    ttl_s: Seconds = Field(3600, description="seconds after which a ready container is replaced")
    shape: Requirement = Field(
        Requirement(),
        description="hardware of a ready container; leases that ask for other GPUs, disk or shared "
        "memory start cold, other processors and memory are adjusted",
    )


class ImageSettings(Settings):
    """Images that renters bring, and how much of them is kept."""

    builds: bool = Field(
        False,  # noqa: FBT003
        description="whether renters may send Dockerfile instructions",
    )
    references: bool = Field(
        False,  # noqa: FBT003
        description="whether renters may name images by digest, which are pulled",
    )
    build_s: Seconds = Field(600, description="longest build in seconds")
    build_cpus: Annotated[int, Field(ge=1)] = Field(1, description="processors of a build")
    build_memory_mib: Annotated[int, Field(ge=128)] = Field(
        2048, description="memory of a build, MiB"
    )
    build_disk_mib: Mebibytes = Field(
        8192, description="what a build may add to its image, and write on the way, MiB"
    )
    build_network: bool = Field(
        False,  # noqa: FBT003
        description="whether builds reach the internet, as leases do; packages need it",
    )
    pull_s: Seconds = Field(900, description="longest pull of an image in seconds")
    pull_mib: Mebibytes = Field(30_000, description="largest image that is pulled, MiB")
    budget_mib: Mebibytes = Field(
        60_000, description="disk for renters' images; beyond it the least recently used go"
    )


class LeaseSettings(Settings):
    """How this host is leased out."""

    state: Path = Field(default_factory=default_state, description="folder of the ledger and logs")
    database: str = Field(
        "", description="SQLAlchemy URL of the ledger; empty: miner.sqlite in the state folder"
    )
    engine: str = Field("", description="container engine URL; empty: DOCKER_HOST, else local")
    engine_timeout_s: Seconds = Field(60, description="seconds to wait for one engine call")
    bind_address: str = Field("0.0.0.0", description="host address that leases' ports bind to")  # noqa: S104
    advertised_host: str = Field(
        "", description="address that renters dial; empty: the axon's announced address"
    )
    first_port: Annotated[int, Field(ge=1, le=65535)] = Field(
        20000, description="first host port for leases"
    )
    last_port: Annotated[int, Field(ge=1, le=65535)] = Field(
        20999, description="last host port for leases"
    )
    extra_ports: Annotated[int, Field(ge=0, le=16)] = Field(
        4, description="ports that a lease may publish beside SSH"
    )
    longest_lease_s: Seconds = Field(7 * 86_400, description="longest lease, extensions included")
    most_leases: Annotated[int, Field(ge=1)] = Field(64, description="rentals at once")
    most_per_owner: Annotated[int, Field(ge=1)] = Field(
        64, description="rentals of one hotkey at once; a validator rents for all its customers"
    )
    leases_per_cpu: Annotated[int, Field(ge=1)] = Field(
        1, description="rentals that may share one processor; 1 gives each its own"
    )
    reserve_memory_mib: Mebibytes = Field(1024, description="memory kept for the host itself, MiB")
    reserve_disk_mib: Mebibytes = Field(4096, description="disk kept for the host itself, MiB")
    default_disk_mib: Mebibytes = Field(10_240, description="disk of a lease that asks for none")
    disk: Literal["auto", "quota", "volume", "watch", "none"] = Field(
        "auto", description="how disk sizes are enforced; auto takes the strictest that works here"
    )
    pids: Annotated[int, Field(ge=64)] = Field(4096, description="processes and threads of a lease")
    open_files: Annotated[int, Field(ge=1024)] = Field(
        65536, description="open files of each process in a lease"
    )
    internet: bool = Field(True, description="whether leases reach the internet")  # noqa: FBT003
    firewall: Literal["auto", "require", "off"] = Field(
        "auto",
        description="keep leases from the host, its networks and metadata by packet filter rules: "
        "auto where this process may, require refuses to start otherwise, off never",
    )
    private_networks: bool = Field(
        False,  # noqa: FBT003
        description="whether leases reach private (RFC 1918) addresses behind the host",
    )
    egress_mbit: Annotated[int, Field(ge=0)] = Field(
        0, description="upload rate of each lease in Mbit/s; 0 sets no limit"
    )
    grace_s: Annotated[int, Field(ge=0, le=30)] = Field(
        5, description="seconds between SIGTERM and SIGKILL at the end of a lease"
    )
    ready_s: Seconds = Field(30, description="seconds in which a new container must show SSH")
    workers: Annotated[int, Field(ge=1, le=64)] = Field(
        4, description="leases made at the same time; more only adds latency"
    )
    sweep_s: Annotated[float, Field(gt=0, le=60)] = Field(
        1.0, description="seconds between two comparisons of the ledger with the engine's truth"
    )
    patrol_s: Annotated[float, Field(gt=0, le=300)] = Field(
        5.0, description="seconds between two looks at what leases do: idleness, disks, GPU errors"
    )
    keep_s: Seconds = Field(30 * 86_400, description="seconds that ended leases are remembered")
    guard: bool = Field(
        True,  # noqa: FBT003
        description="run a small separate process that ends overdue containers if the miner dies",
    )
    on_stop: Literal["keep", "end"] = Field(
        "keep", description="what a stop of the miner does to rentals that still run: keep or end"
    )
    test: SlotSettings = SlotSettings()
    warm: WarmSettings = WarmSettings()
    images: ImageSettings = ImageSettings()

    @model_validator(mode="after")
    def _ports_in_order(self) -> "LeaseSettings":
        if self.last_port < self.first_port:
            raise ValueError("last_port is below first_port")
        return self

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the ledger."""
        return self.database or f"sqlite:///{self.state / 'miner.sqlite'}"

    def granted(self, requirement: Requirement) -> Requirement:
        """A requirement with this host's defaults filled in."""
        if requirement.disk_mib:
            return requirement
        return requirement.model_copy(update={"disk_mib": self.default_disk_mib})
