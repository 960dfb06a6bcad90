"""Rents from a miner: asks, opens the sealed credentials, and operates with proof of possession."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

from pydantic import ValidationError

from compute.crypto import envelope, possession
from compute.domain.lease import LeaseKind
from compute.domain.metagraph import Metagraph, Neuron
from compute.domain.requirement import Requirement
from compute.errors import Code, ComputeError, LeaseError, PeerError
from compute.protocol.dendrite import Answer, Dendrite, Peer
from compute.protocol.synapses import (
    ALLOCATE,
    LEASE,
    SPECS,
    AllocateReply,
    AllocateRequest,
    Credentials,
    LeaseAction,
    LeaseArguments,
    LeaseReply,
    LeaseRequest,
    SpecsReply,
    SpecsRequest,
)
from compute.renter.book import LeaseBook, LeaseRecord, new_keys

REQUEST_FILE = "request.json"
# Looking changes nothing; everything else is worth a receipt.
RECORDED = frozenset(LeaseAction) - {LeaseAction.STATUS, LeaseAction.LOGS}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a renter wants, in his own words; see `AllocateRequest` for each field."""

    duration_s: int
    requirement: Requirement = field(default_factory=Requirement)
    kind: LeaseKind = LeaseKind.RENTAL
    image: str = ""
    dockerfile: str = ""
    ports: tuple[int, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    managers: tuple[str, ...] = ()
    idle_stop_s: int = 0


@dataclass(frozen=True, slots=True)
class Offer:
    """One miner's answer to `Specs`: what it claims, and how fast it answered.

    Attributes:
        stale: age of the miner's view of the chain where that is too old, else empty.
    """

    uid: int
    peer: Peer
    specs: SpecsReply
    elapsed_s: float
    stale: str = ""

    def fits(self, wanted: Requirement) -> bool:
        """Whether the claim says that the requirement is free now."""
        free = self.specs.free
        gpus = [
            gpu
            for host in self.specs.hosts
            for gpu in host.gpus
            if wanted.gpu_model.lower() in gpu.model.lower()
            and gpu.memory_mib >= wanted.gpu_memory_mib
        ]
        return (
            free.leases > 0
            and min(free.gpus, len(gpus)) >= wanted.gpus
            and free.cpus >= wanted.cpus
            and free.memory_mib >= wanted.memory_mib
            and free.disk_mib >= wanted.disk_mib
        )


class Renter:
    """The renter's side of a lease.

    Args:
        dendrite: signs with the hotkey that the miner admits.
        book: where keys and records are kept.
        hotkey: address (ss58) of that hotkey; credentials are bound to it.
        netuid: subnet that the records belong to.
        trace: id of the operation that this renter works for; the miner logs it too.
        now: Unix seconds.
    """

    def __init__(
        self,
        dendrite: Dendrite,
        book: LeaseBook,
        *,
        hotkey: str,
        netuid: int,
        trace: str = "",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._dendrite = dendrite
        self._book = book
        self._hotkey = hotkey
        self._netuid = netuid
        self._trace = trace or None
        self._now = now

    @property
    def book(self) -> LeaseBook:
        """Where keys and records are kept."""
        return self._book

    async def offers(self, metagraph: Metagraph) -> tuple[list[Offer], dict[int, ComputeError]]:
        """Ask every miner that announces an axon; gives offers and, by UID, what went wrong."""
        asked = [neuron for neuron in metagraph.neurons if neuron.axon]

        async def ask(neuron: Neuron) -> Offer | tuple[int, ComputeError]:
            uid = neuron.uid
            try:
                peer = Peer.parse(neuron.hotkey, neuron.axon or "", neuron.certificate_sha256)
                answer = await self._dendrite.call(peer, SPECS, SpecsRequest(), trace=self._trace)
            except ComputeError as error:
                return uid, error
            return Offer(uid, peer, answer.reply, answer.elapsed_s, answer.stale)

        results = await asyncio.gather(*(ask(neuron) for neuron in asked))
        offers = [item for item in results if isinstance(item, Offer)]
        faults = dict(item for item in results if not isinstance(item, Offer))
        return sorted(offers, key=lambda offer: offer.uid), faults

    async def quote(self, peer: Peer, wish: Wish) -> AllocateReply:
        """Ask whether a wish could be had from this miner now; nothing is reserved."""
        keys = await asyncio.to_thread(new_keys)
        request = _request(wish, keys.public_pem, keys.ssh.public, f"quote-{uuid4().hex}")
        checking = request.model_copy(update={"checking": True})
        return (await self._dendrite.call(peer, ALLOCATE, checking, trace=self._trace)).reply

    async def up(self, peer: Peer, wish: Wish, *, name: str = "") -> LeaseRecord:
        """Lease from a miner and open the credentials.

        The keys and the idempotency key are on disk before the request leaves; if the answer is
        late, they stay there, and `resume` asks again and gets the same lease.

        Raises:
            ComputeError: the miner's own refusal, or a `PeerError` when it did not answer rightly.
        """
        record = LeaseRecord(
            name=name or self._book.new_name(),
            miner=peer.hotkey,
            address=peer.address,
            certificate_sha256=(peer.certificate_sha256 or b"").hex(),
            idempotency_key=f"up-{uuid4().hex}",
            netuid=self._netuid,
            created_at=self._now(),
        )
        keys = await asyncio.to_thread(self._book.open, record)
        request = _request(wish, keys.public_pem, keys.ssh.public, record.idempotency_key)
        self._book.attach(record.name, REQUEST_FILE, request.model_dump_json())
        try:
            answer = await self._allocate(peer, request)
        except ComputeError as error:
            if error.code is not Code.PEER_LATE:
                self._book.forget(record.name)
                raise
            hint = f"there may be a lease: 'compute up --resume {record.name}' asks for it again"
            raise PeerError(Code.PEER_LATE, error.detail, hint=hint) from error
        return self._opened(record, answer)

    async def _allocate(self, peer: Peer, request: AllocateRequest) -> Answer[AllocateReply]:
        """Send a request; once more when its answer was spoilt on the way, for the same lease."""
        try:
            return await self._dendrite.call(peer, ALLOCATE, request, trace=self._trace)
        except PeerError as error:
            if error.code is not Code.PEER_INVALID:
                raise
        return await self._dendrite.call(peer, ALLOCATE, request, trace=self._trace)

    async def resume(self, record: LeaseRecord) -> LeaseRecord:
        """Ask again for a lease whose answer was lost; the same request gives the same lease."""
        text = self._book.attached(record.name, REQUEST_FILE)
        request = AllocateRequest.model_validate_json(text)
        answer = await self._dendrite.call(record.peer, ALLOCATE, request, trace=self._trace)
        return self._opened(record, answer)

    def _opened(self, record: LeaseRecord, answer: Answer[AllocateReply]) -> LeaseRecord:
        reply = answer.reply
        keys = self._book.keys(record.name)
        bound_to = envelope.context(reply.lease_id, record.miner, self._hotkey)
        content = envelope.unseal(reply.credentials, keys.rsa, bound_to)
        try:
            credentials = Credentials.model_validate_json(content)
        except ValidationError as error:
            raise LeaseError(Code.CREDENTIALS, "what was sealed is not credentials") from error
        try:
            self._dendrite.check(Peer(record.miner, credentials.host, credentials.port))
        except PeerError as error:
            raise LeaseError(Code.CREDENTIALS, "their address is none that is called") from error
        if credentials.lease_id != reply.lease_id:
            raise LeaseError(Code.CREDENTIALS, "they are of another lease")
        record = record.model_copy(update={"credentials": credentials})
        self._book.save(record)
        self._book.keep_receipt(record.name, answer.receipt)
        return record

    async def operate(
        self, record: LeaseRecord, action: LeaseAction, arguments: LeaseArguments | None = None
    ) -> LeaseReply:
        """Do something with a lease, proving possession of its key.

        Raises:
            ComputeError: the miner's own refusal, or a `PeerError`.
        """
        arguments = arguments or LeaseArguments()
        keys = self._book.keys(record.name)
        nonce = time.time_ns()
        signed = possession.statement(record.lease_id, action, arguments.digest(), nonce)
        request = LeaseRequest(
            lease_id=record.lease_id,
            action=action,
            arguments=arguments,
            nonce=nonce,
            proof=possession.prove(keys.rsa, signed),
        )
        answer = await self._dendrite.call(record.peer, LEASE, request, trace=self._trace)
        reply = answer.reply
        if action in RECORDED:
            self._book.keep_receipt(record.name, answer.receipt)
        if reply.lease_id != record.lease_id:
            raise PeerError(Code.PEER_INVALID, "the answer is about another lease")
        self._remember(record, reply)
        return reply

    def _remember(self, record: LeaseRecord, reply: LeaseReply) -> None:
        """Keep a new deadline, and that a lease has ended."""
        credentials = record.credentials
        over = reply.ended_at is not None
        if credentials and (over != record.ended or credentials.expires_at != reply.expires_at):
            credentials = credentials.model_copy(update={"expires_at": reply.expires_at})
            self._book.save(record.model_copy(update={"credentials": credentials, "ended": over}))

    async def down(self, record: LeaseRecord) -> LeaseReply:
        """Release a lease; a lease that is over already is no error."""
        return await self.operate(record, LeaseAction.RELEASE)


def _request(wish: Wish, public_pem: str, ssh_public: str, key: str) -> AllocateRequest:
    return AllocateRequest.model_validate(
        {
            "idempotency_key": key,
            "kind": wish.kind,
            "requirement": wish.requirement,
            "duration_s": wish.duration_s,
            "renter_public_key": public_pem,
            "ssh_public_key": ssh_public,
            "image": wish.image,
            "dockerfile": wish.dockerfile,
            "ports": wish.ports,
            "environment": wish.environment,
            "managers": wish.managers,
            "idle_stop_s": wish.idle_stop_s,
        }
    )
