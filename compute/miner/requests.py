"""What a request for a lease asks for, checked and reduced to what placement needs."""

from hashlib import sha256

from compute.crypto import envelope, sshkeys
from compute.domain.capacity import Wish
from compute.domain.container import SSH_PORT
from compute.domain.lease import LeaseKind
from compute.domain.recipe import RESERVED_VARIABLES
from compute.domain.requirement import Requirement
from compute.errors import Code, LeaseError
from compute.protocol.synapses import AllocateRequest, DiskEnforcement
from compute.settings.leases import LeaseSettings


def digest(request: AllocateRequest) -> str:
    """What makes two requests under one idempotency key the same request."""
    content = request.model_dump_json(exclude={"idempotency_key", "checking"})
    return sha256(content.encode()).hexdigest()


def disk_of(
    settings: LeaseSettings, disk: DiskEnforcement, wanted: Requirement, *, test: bool = False
) -> int:
    """Size of the disk that a requirement gets, in MiB; 0 where sizes are not enforced.

    Raises:
        LeaseError: `UNSUPPORTED` when a size is asked for that nothing here enforces.
    """
    if disk is DiskEnforcement.NONE:
        if wanted.disk_mib:
            raise LeaseError(Code.UNSUPPORTED, "this host cannot hold a lease to a disk size")
        return 0
    default = settings.test.disk_mib // settings.test.leases if test else settings.default_disk_mib
    return wanted.disk_mib or default


def wish(settings: LeaseSettings, disk: DiskEnforcement, request: AllocateRequest) -> Wish:
    """What is to be placed for a request that holds what the settings allow.

    Raises:
        LeaseError: `TOO_LONG`, `UNSUPPORTED` or `BAD_KEY`.
    """
    test = request.kind is LeaseKind.PROBE
    longest_s = settings.test.longest_s if test else settings.longest_lease_s
    if request.duration_s > longest_s:
        raise LeaseError(Code.TOO_LONG, f"at most {longest_s} s")
    _check_offered(settings, request)
    envelope.load_public_key(request.renter_public_key)
    sshkeys.check_public_key(request.ssh_public_key)
    size = disk_of(settings, disk, request.requirement, test=test)
    return Wish(
        requirement=request.requirement.model_copy(update={"disk_mib": size}),
        ports=(SSH_PORT, *request.ports),
        test=test,
    )


def _check_offered(settings: LeaseSettings, request: AllocateRequest) -> None:
    if len(request.ports) > settings.extra_ports:
        raise LeaseError(Code.UNSUPPORTED, f"at most {settings.extra_ports} ports beside SSH")
    if SSH_PORT in request.ports or len(set(request.ports)) != len(request.ports):
        raise LeaseError(Code.UNSUPPORTED, "ports must differ from each other and from SSH's 22")
    if request.requirement.shm_mib > request.requirement.memory_mib:
        raise LeaseError(Code.UNSUPPORTED, "shared memory counts as memory and cannot exceed it")
    taken = [name for name in request.environment if name.startswith(RESERVED_VARIABLES)]
    if taken:
        raise LeaseError(Code.UNSUPPORTED, f"the variable {taken[0]} is the host's to set")
    if request.password:
        raise LeaseError(Code.UNSUPPORTED, "logins are by key only")
    if request.image and request.dockerfile:
        raise LeaseError(Code.UNSUPPORTED, "an image and instructions exclude each other")
