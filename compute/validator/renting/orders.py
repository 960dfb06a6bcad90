"""What a tenant orders, as JSON over the API, and the request to a miner that it becomes."""

from typing import Annotated

from pydantic import Field

from compute.crypto.envelope import load_public_key
from compute.crypto.sshkeys import check_public_key
from compute.domain.hardware import Value
from compute.domain.requirement import Requirement
from compute.protocol.synapses import (
    MAX_LEASE_S,
    AllocateRequest,
    EnvironmentName,
    EnvironmentValue,
    ImageReference,
    Port,
    PublicKeyPem,
    Ss58,
    SshPublicKey,
)


class Order(Value):
    """A lease that a tenant wants; see `AllocateRequest` for what each field means.

    Attributes:
        hotkey: the miner to lease from; empty takes the best that fits.
    """

    hotkey: Ss58 | None = None
    requirement: Requirement = Requirement()
    duration_s: Annotated[int, Field(ge=5, le=MAX_LEASE_S)]
    renter_public_key: PublicKeyPem
    ssh_public_key: SshPublicKey
    image: ImageReference = ""
    dockerfile: Annotated[str, Field(max_length=16_384)] = ""
    ports: Annotated[tuple[Port, ...], Field(max_length=16)] = ()
    environment: Annotated[
        dict[EnvironmentName, EnvironmentValue], Field(max_length=64, default_factory=dict)
    ]
    managers: Annotated[tuple[Ss58, ...], Field(max_length=4)] = ()
    password: bool = False
    idle_stop_s: Annotated[int, Field(ge=0, le=MAX_LEASE_S)] = 0

    def check_keys(self) -> None:
        """Refuse keys that no miner would take.

        Raises:
            LeaseError: `BAD_KEY`.
        """
        load_public_key(self.renter_public_key)
        check_public_key(self.ssh_public_key)

    def request(self, rental_id: str) -> AllocateRequest:
        """What is asked of a miner; the same for each repeat of one rental."""
        fields = self.model_dump(exclude={"hotkey"})
        return AllocateRequest(idempotency_key=f"rental-{rental_id}", **fields)


class Inquiry(Value):
    """What a tenant asks a quote for."""

    hotkey: Ss58 | None = None
    requirement: Requirement = Requirement()
    duration_s: Annotated[int, Field(ge=5, le=MAX_LEASE_S)] = 3600
