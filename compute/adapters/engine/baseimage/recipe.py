"""What the base image is made of, and the hash by which a finished one is found again."""

import hashlib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from compute.errors import Code, EngineError

GPU_BASE = "pytorch/pytorch:2.7.0-cuda12.6-cudnn9-runtime"
CPU_BASE = "debian:bookworm-slim"

# The SSH server, tools that a renter expects, and a compiler.
PACKAGES = (
    "openssh-server",
    "ca-certificates",
    "curl",
    "procps",
    "iproute2",
    "gcc",
    "g++",
    "make",
    "libc6-dev",
)
# OpenBLAS multiplies some twenty times faster than the BLAS that NumPy brings by default.
PYTHON_PACKAGES = (
    "python3",
    "python3-pip",
    "python3-venv",
    "python3-numpy",
    "libopenblas0-pthread",
)

ENTRYPOINT = "/usr/local/sbin/compute-entry"
KEYS_FOLDER = "/run/compute"
SSH_PORT = 22
USER = "renter"
USER_ID = 1000

_FILES = ("entry.sh", "sshd.conf", "customize.sh", "Dockerfile")
_GPU_DEVICE = Path("/dev/nvidiactl")
_DIGITS = 12


def gpu_present() -> bool:
    """Whether this host's NVIDIA driver is loaded."""
    return _GPU_DEVICE.exists()


def default_base(*, gpu: bool) -> str:
    """The configured base: PyTorch with CUDA where GPUs are, slim Debian where none is."""
    return GPU_BASE if gpu else CPU_BASE


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what is in a base image.

    Attributes:
        base: reference of the image that it starts from where a registry answers.
        files: name and content of each file that goes in.
    """

    base: str
    files: dict[str, bytes] = field(default_factory=lambda: {n: read_file(n) for n in _FILES})

    @property
    def digest(self) -> str:
        """SHA-256 of the recipe, hexadecimal."""
        total = hashlib.sha256()
        parts = [self.base.encode(), *(p.encode() for p in PACKAGES + PYTHON_PACKAGES)]
        for name in sorted(self.files):
            parts += [name.encode(), self.files[name]]
        for part in parts:
            total.update(len(part).to_bytes(8, "big") + part)
        return total.hexdigest()

    @property
    def tag(self) -> str:
        """The tag under which the image can be seen; it is never started by tag."""
        return self.digest[:_DIGITS]


def read_file(name: str) -> bytes:
    """One of the files that go into the image.

    Raises:
        EngineError: `HOST_UNFIT` if the installation lacks it.
    """
    try:
        return resources.files(__package__).joinpath("files", name).read_bytes()
    except FileNotFoundError as error:
        raise EngineError(Code.HOST_UNFIT, f"this installation lacks {name}") from error
