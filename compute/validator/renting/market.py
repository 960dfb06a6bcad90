"""What can be rented now: the newest claims of miners whose measurements are good."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compute.domain.book import Book
from compute.domain.evidence import EvidenceKind, Outcome
from compute.domain.hardware import Count, Gpu, Name, Value
from compute.domain.requirement import Capacity, Requirement
from compute.errors import ComputeError
from compute.protocol.synapses import SPECS, SpecsReply, SpecsRequest, Terms
from compute.validator.chainview import ChainView
from compute.validator.crowd import each
from compute.validator.penalties import active
from compute.validator.targets import Target
from compute.validator.transport import Caller


class Offer(Value):
    """What one miner offers.

    Attributes:
        uid: on the subnet now.
        hotkey: of the miner (ss58).
        gpus: claimed GPUs.
        proven: whether its last proof of hardware passed.
        free: claimed to be free when it was last asked, at `block`.
    """

    uid: Count
    hotkey: Name
    gpus: tuple[Gpu, ...]
    proven: bool
    free: Capacity
    terms: Terms
    images: tuple[str, ...] = ()
    block: Count


@dataclass(frozen=True, slots=True)
class _Claim:
    target: Target
    reply: SpecsReply
    block: int


class Market:
    """Keeps the newest claim of each miner, in memory.

    Args:
        book: looks the evidence up.
        view: of the chain: a miner that left, moved or changed hands is not offered.
    """

    def __init__(self, book: Callable[[], Book], view: ChainView) -> None:
        self._book = book
        self._view = view
        self._claims: dict[str, _Claim] = {}

    def note(self, target: Target, reply: SpecsReply) -> None:
        """Take a fresh claim in."""
        self._claims[target.hotkey] = _Claim(target, reply, self._view.block)

    def forget(self, hotkey: str) -> None:
        """Offer a miner no more until it claims anew."""
        self._claims.pop(hotkey, None)

    def offers(self, wanted: Requirement | None = None, duration_s: int = 0) -> list[Offer]:
        """Offers that fit, proven miners first, then those with the least to spare.

        Filling the fullest miner first leaves whole machines for large wishes.
        """
        book, graph = self._book(), self._view.metagraph
        barred = {p.hotkey for p in active(book, self._view.block) if p.factor_ppm == 0}
        found = []
        for hotkey, claim in list(self._claims.items()):
            neuron = graph.neuron(hotkey)
            if neuron is None or not neuron.axon:
                del self._claims[hotkey]
                continue
            if hotkey in barred or not _good(book, hotkey):
                continue
            if wanted is None or _fits(claim.reply, wanted, duration_s):
                found.append(_offer(claim, neuron.uid, _proven(book, hotkey)))
        return sorted(found, key=_rank)

    def target(self, hotkey: str) -> Target | None:
        """Where a miner is now, by the chain; None when it serves nothing."""
        neuron = self._view.metagraph.neuron(hotkey)
        if neuron is None or not neuron.axon:
            return None
        return Target(neuron.uid, hotkey, neuron.axon, neuron.certificate_sha256)

    def taken(self, hotkey: str, granted: Requirement) -> None:
        """Count off what was just leased, until the miner is asked again."""
        self._count(hotkey, granted, -1)

    def returned(self, hotkey: str, granted: Requirement) -> None:
        """Count in what was just given back, until the miner is asked again."""
        self._count(hotkey, granted, 1)

    def _count(self, hotkey: str, granted: Requirement, sign: int) -> None:
        claim = self._claims.get(hotkey)
        if claim is None:
            return
        free, total = claim.reply.free, claim.reply.total
        changed = Capacity(
            gpus=_within(free.gpus + sign * granted.gpus, total.gpus),
            cpus=_within(free.cpus + sign * granted.cpus, total.cpus),
            memory_mib=_within(free.memory_mib + sign * granted.memory_mib, total.memory_mib),
            disk_mib=_within(free.disk_mib + sign * granted.disk_mib, total.disk_mib),
            leases=_within(free.leases + sign, total.leases),
        )
        reply = claim.reply.model_copy(update={"free": changed})
        self._claims[hotkey] = _Claim(claim.target, reply, claim.block)


def _within(amount: int, total: int) -> int:
    return min(max(0, amount), total)


def _good(book: Book, hotkey: str) -> bool:
    """Whether the newest conclusive claim and probe of a miner did not fail."""
    miner = book.miner(hotkey)
    latest = (miner.latest(kind, 0) for kind in (EvidenceKind.SPECS, EvidenceKind.PROBE))
    return all(check is None or check.outcome is Outcome.PASSED for check in latest)


def _proven(book: Book, hotkey: str) -> bool:
    proof = book.miner(hotkey).proof(0)
    return proof is not None and proof.outcome is Outcome.PASSED


def _fits(reply: SpecsReply, wanted: Requirement, duration_s: int) -> bool:
    free = reply.free
    suitable = sum(
        wanted.gpu_model.lower() in gpu.model.lower() and gpu.memory_mib >= wanted.gpu_memory_mib
        for host in reply.hosts
        for gpu in host.gpus
    )
    return (
        free.leases > 0
        and min(free.gpus, suitable) >= wanted.gpus
        and free.cpus >= wanted.cpus
        and free.memory_mib >= wanted.memory_mib
        and free.disk_mib >= wanted.disk_mib
        and reply.terms.longest_lease_s >= duration_s
    )


def _offer(claim: _Claim, uid: int, proven: bool) -> Offer:
    return Offer(
        uid=uid,
        hotkey=claim.target.hotkey,
        gpus=tuple(gpu for host in claim.reply.hosts for gpu in host.gpus),
        proven=proven,
        free=claim.reply.free,
        terms=claim.reply.terms,
        images=(claim.reply.default_image, *claim.reply.images),
        block=claim.block,
    )


def _rank(offer: Offer) -> tuple[bool, int, int, int]:
    return (not offer.proven, offer.free.gpus, offer.free.leases, offer.uid)


class MarketKeeper:
    """Asks miners for their claims for the market's sake, more often than rounds do.

    What comes back is not evidence: offers are for tenants, and a wrong one only costs a try.
    """

    def __init__(
        self,
        market: Market,
        caller: Caller,
        targets: Callable[[], Sequence[Target]],
        *,
        deadline_s: float,
        at_once: int,
    ) -> None:
        self.ready = asyncio.Event()
        self._market = market
        self._caller = caller
        self._targets = targets
        self._deadline_s = deadline_s
        self._at_once = at_once

    async def run(self, view: ChainView, every: int) -> None:
        """Ask every so many blocks until cancelled."""
        block = await view.wait_beyond(0)
        while True:
            await each(self._targets(), self._ask, at_once=self._at_once)
            self.ready.set()
            block = await view.wait_beyond(block + every)

    async def _ask(self, target: Target) -> None:
        try:
            async with asyncio.timeout(self._deadline_s + 1):
                answer = await self._caller.call(
                    target.peer(), SPECS, SpecsRequest(), timeout_s=self._deadline_s
                )
        except (ComputeError, TimeoutError):
            self._market.forget(target.hotkey)
            return
        self._market.note(target, answer.reply)
