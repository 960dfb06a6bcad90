"""Evidence logs written by hand, to tell a scorer a story."""

from typing import Any

from bittensor.sp_core import Keypair

from compute.domain import score as scoring
from compute.domain.book import Book
from compute.domain.evidence import (
    GENESIS,
    EvidenceKind,
    Observation,
    Outcome,
    Reason,
    Record,
    chain,
)
from compute.domain.hardware import Value
from compute.domain.measurement import (
    PPM,
    ClaimedGpu,
    ProbeContent,
    ProofContent,
    ProvenGpu,
    Snapshot,
    SnapshotNeuron,
    SpecsContent,
)
from compute.domain.policy import Policy
from compute.domain.score import Board

NOW = 20_000
"""Block at which a story is told, unless it says otherwise."""
PASSED = (Outcome.PASSED, Reason.OK)


class Log:
    """A chained, signed log in memory.

    Attributes:
        key: of the validator that signs.
        records: oldest first.
    """

    def __init__(self) -> None:
        self.key: Any = Keypair.create_from_uri("//Scorer")
        self.records: list[Record] = []

    def write(
        self,
        kind: EvidenceKind,
        miner: str,
        content: Value,
        *,
        block: int = NOW - 10,
        outcome: tuple[Outcome, Reason] = PASSED,
    ) -> "Log":
        """Append one observation; returns itself."""
        observation = Observation(
            kind=kind,
            round=f"{kind.value}-{len(self.records)}",
            miner=miner,
            block=block,
            at_ms=0,
            outcome=outcome[0],
            reason=outcome[1],
            content=content.model_dump(mode="json"),
        )
        prev = self.records[-1].hash if self.records else GENESIS
        self.records.append(
            chain(
                observation,
                seq=len(self.records) + 1,
                prev=prev,
                validator=self.key.ss58_address,
                netuid=1,
                sign=self.key.sign,
            )
        )
        return self

    def claim(self, miner: str, *gpus: str, model: str = "NVIDIA H100", **more: Any) -> "Log":
        """A claim of these GPUs."""
        claimed = tuple(ClaimedGpu(uuid=g, model=model, memory_mib=81_559) for g in gpus)
        return self.write(EvidenceKind.SPECS, miner, SpecsContent(gpus=claimed), **more)

    def proof(self, miner: str, *gpus: ProvenGpu, address: str = "", **more: Any) -> "Log":
        """A proof of these GPUs, or of none, made at an address."""
        content = ProofContent(address=address, gpus=gpus)
        return self.write(EvidenceKind.PROOF, miner, content, **more)

    def proven(self, miner: str, *gpus: str, address: str = "", **more: Any) -> "Log":
        """A claim and a passed proof of these GPUs."""
        proof = tuple(proven(g) for g in gpus)
        return self.claim(miner, *gpus, **more).proof(miner, *proof, address=address, **more)

    def probe(self, miner: str, outcome: tuple[Outcome, Reason], block: int = NOW - 5) -> "Log":
        """A rental probe."""
        return self.write(EvidenceKind.PROBE, miner, ProbeContent(), outcome=outcome, block=block)

    def board(self, *miners: str, policy: Policy, **more: Any) -> Board:
        """The score of these miners; UIDs in their order."""
        return scoring.score(Book().extend(self.records), snapshot(*miners, **more), policy)


def proven(gpu: str, gpu_class: str = "h100-sxm", credit: int = PPM) -> ProvenGpu:
    """A GPU that passed."""
    return ProvenGpu(gpu=gpu, gpu_class=gpu_class, credit_ppm=credit)


def snapshot(*miners: str, block: int = NOW, same_host: bool = False, **more: Any) -> Snapshot:
    """The subnet at a block; each miner on a host of its own unless told otherwise."""
    neurons = tuple(
        SnapshotNeuron(
            uid=uid,
            hotkey=hotkey,
            address=f"10.0.0.{1 if same_host else uid + 1}:{8091 + uid}",
        )
        for uid, hotkey in enumerate(miners)
    )
    return Snapshot(netuid=1, block=block, epoch_block=NOW - 50, neurons=neurons, **more)
