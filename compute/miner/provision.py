"""From a placed lease to a container that its user can log in to."""

import json
from dataclasses import replace

from compute.crypto import envelope, sshkeys
from compute.domain import lease as life
from compute.domain.capacity import Wish, place
from compute.domain.container import (
    AUTHORIZED_KEYS_FILE,
    FOLDER,
    HOST_KEY_FILE,
    SSH_PORT,
    build,
)
from compute.domain.lease import Lease, Warm
from compute.domain.timeline import Event
from compute.errors import Code, EngineError
from compute.miner.blocked import BlockedPorts
from compute.miner.host import Host
from compute.miner.network import LeaseNetwork
from compute.ports.engine import PlacedFile
from compute.protocol.synapses import Credentials, DiskEnforcement, PublishedPort

LOGIN_USER = "root"
PORT_ATTEMPTS = 4


class Provisioner:
    """Makes containers for leases; whatever goes wrong is raised, and cleaned up by the caller.

    Args:
        host: where.
        network: of the leases.
        blocked: host ports found taken by others; added to here.
        advertised: address that renters dial.
    """

    def __init__(
        self, host: Host, network: LeaseNetwork, blocked: BlockedPorts, advertised: str
    ) -> None:
        self._host = host
        self._network = network
        self._blocked = blocked
        self._advertised = advertised

    def provision(self, lease: Lease) -> Lease:
        """Make the container of a placed lease, and wait until it can be logged in to.

        Raises:
            EngineError: what the engine refused.
        """
        ledger = self._host.ledger
        lease = ledger.change(lease.id, life.provision, Event.PROVISIONING)
        self._network.ensure()
        pair = sshkeys.generate()
        for attempt in range(PORT_ATTEMPTS):
            try:
                lease = self._run(lease, pair)
                break
            except EngineError as error:
                if error.code is not Code.PORT_TAKEN or attempt == PORT_ATTEMPTS - 1:
                    raise
                lease = self._elsewhere(self._host.ledger.get(lease.id))
        return self._activate(lease, pair)

    def adopt(self, lease: Lease, warm: Warm) -> Lease:
        """Hand a warm container over to the lease that claimed it.

        Raises:
            EngineError: what the engine refused.
        """
        engine = self._host.engine
        lease = self._host.ledger.change(
            lease.id,
            lambda one: life.created(life.provision(one), warm.container),
            Event.PROVISIONING,
            "from the warm pool",
        )
        spec = build(lease, self._host.surroundings)
        if (lease.assignment.cpus, lease.assignment.memory_mib) != (
            warm.assignment.cpus,
            warm.assignment.memory_mib,
        ):
            engine.update(warm.container, spec.limits)
        engine.rename(warm.container, spec.name)
        pair = sshkeys.generate()
        engine.put_files(warm.container, FOLDER, _keys(lease, pair))
        engine.unpause(warm.container)
        self._await_login(lease)
        return self._activate(lease, pair)

    def _activate(self, lease: Lease, pair: sshkeys.SshKeyPair) -> Lease:
        sealed = self._seal(lease, pair)
        now = self._host.clock.now()
        return self._host.ledger.change(
            lease.id, lambda one: life.activate(one, now, sealed), Event.READY
        )

    def _await_login(self, lease: Lease) -> None:
        settings = self._host.settings
        port = lease.assignment.host_port(SSH_PORT)
        self._host.ready(settings.bind_address, port, settings.ready_s)

    def _run(self, lease: Lease, pair: sshkeys.SshKeyPair) -> Lease:
        engine = self._host.engine
        container = engine.create(build(lease, self._host.surroundings))
        lease = self._host.ledger.change(
            lease.id, lambda one: life.created(one, container), Event.CREATED
        )
        self.attach_disk(lease)
        engine.put_files(container, FOLDER, _keys(lease, pair))
        engine.start(container)
        self._network.started(container)
        self._await_login(lease)
        return lease

    def attach_disk(self, lease: Lease) -> None:
        """Put a stopped container under its disk limit, where that needs a file system."""
        if self._host.disks.enforcement is DiskEnforcement.VOLUME:
            layer = self._host.engine.layer(lease.container)
            self._host.disks.attach(lease.id, lease.assignment.disk_mib, layer)

    def _elsewhere(self, lease: Lease) -> Lease:
        """Give a lease other host ports, because something else has taken one of its own."""
        self._blocked.add(port.host for port in lease.assignment.ports)
        if lease.container:
            self._host.engine.remove(lease.container)
            self._host.disks.destroy(lease.id)
        wish = Wish(
            requirement=lease.requirement,
            ports=tuple(port.container for port in lease.assignment.ports),
            gpus=lease.assignment.gpus,
            test=lease.assignment.test_slot,
        )
        return self._host.ledger.replace(
            lease.id,
            lambda one, others: replace(
                one,
                container="",
                assignment=place(self._host.supply, others, wish, self._blocked.obstacles()),
            ),
            Event.PLACED,
            "another port",
        )

    def _seal(self, lease: Lease, pair: sshkeys.SshKeyPair) -> str:
        credentials = Credentials(
            lease_id=lease.id,
            host=self._advertised,
            port=lease.assignment.host_port(SSH_PORT),
            user=LOGIN_USER,
            host_key=pair.public,
            host_key_fingerprint=sshkeys.fingerprint(pair.public),
            ports=tuple(
                PublishedPort(container=port.container, host=port.host)
                for port in lease.assignment.ports
                if port.container != SSH_PORT
            ),
            expires_at=lease.expires_at,
        )
        return envelope.seal(
            json.dumps(credentials.model_dump(mode="json")).encode(),
            envelope.load_public_key(lease.renter_public_key),
            envelope.context(lease.id, self._host.key.ss58_address, lease.owner),
        )


def authorized_keys(line: str) -> PlacedFile:
    """The file that says who may log in."""
    return PlacedFile(AUTHORIZED_KEYS_FILE, f"{line}\n".encode(), mode=0o644)


def _keys(lease: Lease, pair: sshkeys.SshKeyPair) -> tuple[PlacedFile, ...]:
    # The host key comes last: the entry point waits for it.
    return (
        authorized_keys(lease.ssh_public_key),
        PlacedFile(HOST_KEY_FILE, pair.private.encode(), mode=0o600),
    )
