"""Simulated miners: real HTTP, real signatures, real proofs at a small n; each with its habits.

They stand behind real axons, so that a validator cannot tell them from miners whose containers are
real. The provers run in threads of the same process.
"""

import asyncio
import secrets
import threading
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from compute.crypto import envelope, possession, sshkeys
from compute.domain.hardware import Gpu, HardwareReport
from compute.domain.lease import EndReason, LeaseKind, LeaseState
from compute.domain.requirement import Capacity
from compute.errors import Code, ComputeError, LeaseError
from compute.proof.engine_numpy import NumpyEngine
from compute.proof.prover import ProverSession
from compute.proof.wire import HEADER_BYTES, Kind, WireError
from compute.protocol.axon import Axon
from compute.protocol.context import RequestContext
from compute.protocol.limits import Limits
from compute.protocol.synapses import (
    ALLOCATE,
    CHALLENGE,
    LEASE,
    SPECS,
    AllocateReply,
    AllocateRequest,
    ChallengeReply,
    ChallengeRequest,
    ChallengeStep,
    Credentials,
    DiskEnforcement,
    LeaseAction,
    LeaseReply,
    LeaseRequest,
    SpecsReply,
    SpecsRequest,
    Terms,
)
from compute.protocol.view import MetagraphView

HANG_S = 3600.0
_HOST_KEY = sshkeys.generate().public  # of all simulated leases: nobody can log in anyway
SHORT_SKEW_S = 0.0  # validator and simulated miners share one clock


class Habit(StrEnum):
    """How a simulated miner behaves."""

    HONEST = "honest"
    HANGING = "hanging"
    """Accepts every request and never answers."""
    BABBLING = "babbling"
    """Signs answers that are not what the synapse says."""
    GARBLING = "garbling"
    """Claims well, and sends noise for a proof."""
    FORGING = "forging"
    """Runs the proof and changes one byte of an opening."""
    BUSY = "busy"
    """Says that its hardware is leased out."""
    STALLING = "stalling"
    """Opens a proof session and lets it hang."""


@dataclass
class SimulatedMiner:
    """One miner: what it claims, and how it behaves. Habits may be changed while it runs.

    Attributes:
        wallet: its keys; a keypair does too.
        gpus: what it claims; empty claims a processor only.
        leases: what was leased, by idempotency key.
        leased: UUIDs of GPUs that it says are leased when it is challenged.
        places: how many leases at once.
        refuses: the code with which it turns every order away; None takes them.
        allocate_s: how long a lease takes to be made.
    """

    wallet: Any
    gpus: tuple[Gpu, ...] = ()
    habit: Habit = Habit.HONEST
    sessions: dict[str, "_Prover"] = field(default_factory=dict)
    leases: dict[str, "SimulatedLease"] = field(default_factory=dict)
    leased: frozenset[str] = frozenset()
    places: int = 4
    refuses: Code | None = None
    allocate_s: float = 0.0
    asked: int = 0

    def axon(self, view: MetagraphView, registry: Any = None) -> Axon:
        """An axon that answers for this miner."""
        limits = Limits(skew_s=SHORT_SKEW_S, rate_per_hotkey=0, rate=0)
        axon = Axon(self.wallet, metagraph=view, limits=limits, registry=registry)
        axon.attach(SPECS, self._specs)
        axon.attach(CHALLENGE, self._challenge)
        axon.attach(ALLOCATE, self._allocate, workers=64, queue=512)
        axon.attach(LEASE, self._operate, workers=64, queue=512)
        return axon

    async def _specs(self, _request: SpecsRequest, _context: RequestContext) -> SpecsReply:
        self.asked += 1
        if self.habit is Habit.HANGING:
            await asyncio.sleep(HANG_S)
        live = sum(lease.live for lease in self.leases.values())
        reply = specs_of(self.gpus, self.places - live)
        if self.habit is Habit.BABBLING:
            return reply.model_copy(update={"hosts": "everything you like"})
        return reply

    async def _challenge(
        self, request: ChallengeRequest, _context: RequestContext
    ) -> ChallengeReply:
        self.asked += 1
        if self.habit is Habit.BUSY:
            raise LeaseError(Code.NO_CAPACITY, "leased out")
        if self.habit is Habit.HANGING or (
            self.habit is Habit.STALLING and request.step is ChallengeStep.EXCHANGE
        ):
            await asyncio.sleep(HANG_S)
        if request.step is ChallengeStep.OPEN:
            if away := [gpu for gpu in request.gpus if gpu in self.leased]:
                raise LeaseError(Code.NO_CAPACITY, "leased", data={"gpus": away})
            session = secrets.token_hex(16)
            self.sessions[session] = _Prover(self.habit)
            return ChallengeReply(session=session)
        prover = self.sessions.get(request.session)
        if prover is None:
            raise ComputeError(Code.PROVER_FAILED, "there is no such session")
        if request.step is ChallengeStep.CLOSE:
            del self.sessions[request.session]
            return ChallengeReply(session=request.session)
        data = await asyncio.to_thread(prover.exchange, request.data, request.expect)
        return ChallengeReply(session=request.session, data=data)

    async def _allocate(self, request: AllocateRequest, context: RequestContext) -> AllocateReply:
        self.asked += 1
        if self.refuses is not None:
            raise ComputeError(self.refuses)
        lease = self.leases.get(request.idempotency_key)
        if lease is None:
            if sum(each.live for each in self.leases.values()) >= self.places:
                raise LeaseError(Code.NO_CAPACITY, "all places are leased")
            lease = SimulatedLease(request, context.hotkey, str(self.wallet.hotkey.ss58_address))
            self.leases[request.idempotency_key] = lease
            await asyncio.sleep(self.allocate_s)
        return AllocateReply(
            available=True,
            lease_id=lease.id,
            state=LeaseState.ACTIVE,
            expires_at=lease.expires_at,
            credentials=lease.credentials,
            requirement=request.requirement,
        )

    async def _operate(self, request: LeaseRequest, context: RequestContext) -> LeaseReply:
        self.asked += 1
        found = [each for each in self.leases.values() if each.id == request.lease_id]
        if not found or context.hotkey not in (found[0].owner, *found[0].request.managers):
            raise LeaseError(Code.LEASE_UNKNOWN)
        return found[0].operate(request)


class SimulatedLease:
    """A lease without a container: its deadline, its sealed credentials, its possession."""

    def __init__(self, request: AllocateRequest, owner: str, miner: str) -> None:
        self.id = secrets.token_hex(16)
        self.request = request
        self.owner = owner
        self.created_at = time.time()
        self.expires_at = self.created_at + request.duration_s
        self.state = LeaseState.ACTIVE
        self._nonce = 0
        self._key = envelope.load_public_key(request.renter_public_key)
        opened = Credentials(
            lease_id=self.id,
            host="127.0.0.2",
            port=2222,
            user="renter",
            host_key=_HOST_KEY,
            host_key_fingerprint=sshkeys.fingerprint(_HOST_KEY),
            expires_at=self.expires_at,
        )
        bound = envelope.context(self.id, miner, owner)
        self.credentials = envelope.seal(opened.model_dump_json().encode(), self._key, bound)

    @property
    def live(self) -> bool:
        """Whether it still holds its place."""
        return self.state is not LeaseState.ENDED and time.time() < self.expires_at

    def operate(self, request: LeaseRequest) -> LeaseReply:
        """Check possession and do as told."""
        signed = possession.statement(
            self.id, request.action, request.arguments.digest(), request.nonce
        )
        possession.check(self._key, signed, request.proof)
        if request.nonce <= self._nonce:
            raise LeaseError(Code.POSSESSION, "the nonce was used before")
        self._nonce = request.nonce
        if request.action is LeaseAction.RELEASE:
            self.state = LeaseState.ENDED
        elif request.action is LeaseAction.PAUSE:
            self.state = LeaseState.PAUSED
        elif request.action is LeaseAction.UNPAUSE:
            self.state = LeaseState.ACTIVE
        elif request.action is LeaseAction.EXTEND:
            self.expires_at += request.arguments.duration_s or 0
        return LeaseReply(
            lease_id=self.id,
            kind=LeaseKind.RENTAL,
            state=self.state if self.live else LeaseState.ENDED,
            created_at=self.created_at,
            expires_at=self.expires_at,
            ended_at=None if self.live else time.time(),
            reason=None if self.live else EndReason.RELEASED,
            requirement=self.request.requirement,
        )


class _Prover:
    """One proof session, as a byte stream."""

    def __init__(self, habit: Habit) -> None:
        self._session = ProverSession(lambda _gpu: NumpyEngine())
        self._habit = habit
        self._input = b""
        self._output = bytearray()
        self._lock = threading.Lock()

    def exchange(self, data: bytes, expect: int) -> bytes:
        """Feed bytes in and take exactly as many out as are expected."""
        if self._habit is Habit.GARBLING:
            return secrets.token_bytes(expect)
        with self._lock:
            self._feed(data)
            if len(self._output) < expect:
                raise ComputeError(Code.PROVER_FAILED, "the prover gave less than that")
            taken = bytes(self._output[:expect])
            del self._output[:expect]
        return taken

    def _feed(self, data: bytes) -> None:
        self._input += data
        try:
            while len(self._input) >= self._session.expects:
                size = self._session.expects
                piece, self._input = self._input[:size], self._input[size:]
                for frame in self._session.receive(piece):
                    self._output += self._spoilt(frame)
        except WireError as error:
            raise ComputeError(Code.PROVER_FAILED, str(error)) from error

    def _spoilt(self, frame: bytes) -> bytes:
        if self._habit is not Habit.FORGING or frame[0] != Kind.UNITS:
            return frame
        spoilt = bytearray(frame)
        spoilt[HEADER_BYTES + 7] ^= 1
        return bytes(spoilt)


def specs_of(gpus: tuple[Gpu, ...] = (), places: int = 4) -> SpecsReply:
    """A plausible claim."""
    host = HardwareReport(
        cpu_model="simulated", cpus=8, memory_mib=16_384, gpus=gpus, gpu_note="" if gpus else "none"
    )
    capacity = Capacity(
        gpus=len(gpus),
        cpus=max(8, places),
        memory_mib=max(16, places) * 1024,
        disk_mib=100_000,
        leases=places,
    )
    return SpecsReply(
        software="simulated",
        hosts=(host,),
        total=capacity,
        free=capacity,
        terms=Terms(longest_lease_s=86_400, internet=True, disk=DiskEnforcement.NONE),
        default_image="sha256:" + "0" * 64,
    )


def gpu(uuid: str, model: str, *, index: int = 0, memory_mib: int = 81_559) -> Gpu:
    """A claimed GPU."""
    return Gpu(index=index, uuid=uuid, model=model, memory_mib=memory_mib)


@asynccontextmanager
async def serving(
    miners: Iterable[SimulatedMiner], view: MetagraphView, host: str = "127.0.0.2"
) -> AsyncIterator[list[Axon]]:
    """Serve several miners on free ports while the context lasts."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(each.axon(view).serving(host)) for each in miners]
