"""An offer as `compute ls` shows it: what a miner claims, beside what is known of it."""

from collections.abc import Mapping

from compute.cli.context import Context
from compute.domain.hardware import Value
from compute.domain.metagraph import Metagraph
from compute.domain.requirement import Requirement
from compute.protocol.synapses import SpecsReply
from compute.renter.client import Offer


class Offered(Value):
    """One miner's offer.

    Attributes:
        miner: hotkey (ss58), at `address` (`ip:port`).
        ms: time until its answer, milliseconds.
        incentive: its share of the subnet's pay, by the chain.
        reliability: decayed share of passed checks, by the evidence in the state folder; None
            where there is no evidence about it.
        stale: age of the miner's view of the chain where it is too old, else empty.
        fits: whether it has free what was asked for.
        specs: its own claim.
    """

    uid: int
    miner: str
    address: str
    ms: float
    incentive: float
    reliability: float | None
    stale: str
    fits: bool
    specs: SpecsReply

    def cells(self) -> tuple[str, ...]:
        """A row of the table."""
        free, total = self.specs.free, self.specs.total
        return (
            str(self.uid),
            _gpus(self.specs),
            f"{free.cpus}/{total.cpus}",
            f"{free.memory_mib / 1024:.1f} GiB",
            f"{free.disk_mib / 1024:.0f} GiB",
            str(free.leases),
            "-" if self.reliability is None else f"{self.reliability:.0%}",
            f"{self.incentive:.4f}",
            f"{self.ms:.0f}",
            self.miner[:8] + "…" + (" (stale view)" if self.stale else ""),
        )


def offered(
    offer: Offer, metagraph: Metagraph, known: Mapping[str, float], wanted: Requirement
) -> Offered:
    """An offer with what the chain and the evidence say about its miner."""
    neuron = metagraph.neuron(offer.peer.hotkey)
    return Offered(
        uid=offer.uid,
        miner=offer.peer.hotkey,
        address=offer.peer.address,
        ms=round(offer.elapsed_s * 1000, 1),
        incentive=neuron.incentive if neuron else 0.0,
        reliability=known.get(offer.peer.hotkey),
        stale=offer.stale,
        fits=offer.fits(wanted),
        specs=offer.specs,
    )


def reliabilities(here: Context, *, needed: bool) -> dict[str, float]:
    """Reliability by hotkey, from a validator's evidence if there is any on this machine.

    Raises:
        UsageError: when it is needed and there is none.
    """
    if not needed and not (here.settings.state / "validator.sqlite").exists():
        return {}
    from compute.cli.validator.standing import reliability_of_all

    return reliability_of_all(here)


def _gpus(specs: SpecsReply) -> str:
    models = [gpu.model for host in specs.hosts for gpu in host.gpus]
    counted = {model: models.count(model) for model in models}
    return ", ".join(f"{number} × {model}" for model, number in counted.items()) or "none"
