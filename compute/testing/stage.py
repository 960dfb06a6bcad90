"""A validator as it is after a year with many miners, for dashboards to be shown and timed.

The objects are the validator's own, over databases that are filled here; nothing is simulated but
what they hold. It is the same each time for the same moment.
"""

import asyncio
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from compute.dashboard.keeper import measured_of
from compute.dashboard.validator import DashboardParts
from compute.domain.evidence import EvidenceKind, Observation, Outcome, Reason
from compute.domain.history import epoch_scores
from compute.domain.measurement import (
    PPM,
    CheckEntry,
    ClaimedGpu,
    ProbeContent,
    ProofContent,
    ProvenGpu,
    SpecsContent,
    WeightsContent,
)
from compute.domain.metagraph import Metagraph, Neuron
from compute.domain.publication import Publication, sign
from compute.domain.score import Board, score
from compute.proof.classes import known_classes
from compute.protocol.dendrite import Dendrite
from compute.settings.validation import ValidationSettings
from compute.storage.database import Role, open_database
from compute.storage.evidence_weights import SubmissionState
from compute.storage.history import HistoryWriter
from compute.testing.stage_past import add_past
from compute.testing.stage_rentals import rent_out
from compute.testing.wallets import dev_wallet
from compute.validator.policies import load_policy
from compute.validator.service import ValidatorParts, ValidatorService
from compute.validator.weights import snapshot_of

BLOCK = 5_400_000
TEMPO = 360
NETUID = 27
BLOCK_MS = 12_000
EPOCHS = 40  # with a published vector
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# Class, model, memory in MiB, tera-operations per second, and how common it is.
_CLASSES = (
    ("h200", "NVIDIA H200", 143_771, 1560.0, 2),
    ("h100-sxm", "NVIDIA H100 80GB HBM3", 81_559, 1480.0, 5),
    ("a100-sxm-80gb", "NVIDIA A100-SXM4-80GB", 81_920, 520.0, 4),
    ("l40s", "NVIDIA L40S", 46_068, 610.0, 3),
    ("rtx-4090", "NVIDIA GeForce RTX 4090", 24_564, 560.0, 4),
    ("rtx-3090", "NVIDIA GeForce RTX 3090", 24_576, 240.0, 2),
)
_STEPS = ("axon", "allocate", "ssh", "limits", "hardware", "release", "gone")


@dataclass(frozen=True, slots=True)
class StagePlan:
    """How large the stage is.

    Attributes:
        hours: of scores, one an hour.
        rounds: of measurements, in blocks before the end.
        now_ms: the moment that it ends at.
    """

    miners: int = 1024
    hours: int = 24 * 365
    rounds: tuple[int, ...] = (5100, 3600, 2160, 1440, 720, 360, 90)
    now_ms: int = 1_790_000_000_000


class StillChain:
    """A chain whose block moves only when it is told to; implements what a view reads of one."""

    def __init__(self, metagraph: Metagraph) -> None:
        self.now = metagraph

    def move(self, blocks: int) -> None:
        """Let blocks pass."""
        since = (self.now.blocks_since_epoch + blocks) % self.now.tempo
        self.now = replace(self.now, block=self.now.block + blocks, blocks_since_epoch=since)

    async def block(self) -> int:
        """The block that it stands at."""
        return self.now.block

    async def metagraph(self) -> Metagraph:
        """The subnet."""
        return self.now


@dataclass(frozen=True, slots=True)
class _Miner:
    """What one miner is like; `fate` is what befalls it."""

    uid: int
    hotkey: str
    gpu_class: tuple[str, str, int, float, int]
    gpus: int
    speed: float
    fate: str


class Stage:
    """A filled validator.

    Args:
        folder: of its databases.
        plan: how large it is.

    Attributes:
        service: not running; its view has looked once.
        chain: what its view looks at.
    """

    def __init__(self, folder: Path, plan: StagePlan | None = None) -> None:
        self.plan = plan or StagePlan()
        self.folder = folder
        self._dice = random.Random(27)  # noqa: S311 - a stage, not a secret
        self.wallet = dev_wallet("Stage")
        self.policy = load_policy("production")
        self.miners = [self._cast(uid) for uid in range(self.plan.miners)]
        self.chain = StillChain(self._metagraph())
        url = f"sqlite:///{folder / 'validator.sqlite'}"
        self.database = open_database(url, Role.VALIDATOR)
        self.service = ValidatorService(
            ValidatorParts(
                chain=self.chain,  # type: ignore[arg-type]
                caller=Dendrite(self.wallet),
                engine=self.database,
                key=self.wallet.hotkey,
                netuid=NETUID,
                settings=ValidationSettings(),
                policy=self.policy,
                classes=known_classes(),
            )
        )

    @property
    def identity(self) -> DashboardParts:
        """What a dashboard of it is made with."""
        return DashboardParts(
            self.wallet.address, NETUID, "finney", self.folder, self.policy, self.database
        )

    async def fill(self) -> None:
        """Fill the databases."""
        await asyncio.to_thread(self.service.recorder.log.append, list(self._story()))
        await self.service.view.look(fresh=True)
        await self.service.recorder.load(self.chain.now.block)
        boards = score(self.service.recorder.book, self._snapshot(), self.policy)
        await asyncio.to_thread(self._pay, boards)
        await self.service.recorder.load(self.chain.now.block)
        await asyncio.to_thread(self._remember, boards)
        await asyncio.to_thread(
            rent_out,
            self.database,
            self.wallet.address,
            [m.hotkey for m in self.miners],
            self.plan.now_ms,
        )

    def close(self) -> None:
        """Let go of the databases."""
        self.database.dispose()

    # --- Who is there --------------------------------------------------------------------------

    def _cast(self, uid: int) -> _Miner:
        dice = self._dice
        fates = ("good", "shaky", "probe", "away", "forged", "new")
        fate = dice.choices(fates, (86, 5, 3, 3, 1, 2))[0]
        return _Miner(
            uid=uid,
            hotkey=address_of(uid),
            gpu_class=dice.choices(_CLASSES, [row[4] for row in _CLASSES])[0],
            gpus=dice.choice((1, 1, 2, 4, 8, 8)),
            speed=dice.uniform(0.86, 1.06),
            fate=fate,
        )

    def _metagraph(self) -> Metagraph:
        neurons = [
            Neuron(
                uid=miner.uid,
                hotkey=miner.hotkey,
                coldkey=address_of(miner.uid + 100_000),
                axon=f"10.{miner.uid >> 8}.{miner.uid & 255}.7:8091",
                stake=0.0,
                validator_permit=False,
                incentive=1 / len(self.miners),
                dividends=0.0,
                last_update=BLOCK - 400_000,
            )
            for miner in self.miners
        ]
        own = replace(
            neurons[0], uid=len(neurons), hotkey=self.wallet.address, axon=None, stake=250_000.0,
            validator_permit=True, incentive=0.0, dividends=1.0,
        )  # fmt: skip
        return Metagraph(
            NETUID, BLOCK, (*neurons, own), tempo=TEMPO, blocks_since_epoch=214, extra={}
        )

    def _snapshot(self, epochs_ago: int = 0) -> Any:
        first = BLOCK - 214 - epochs_ago * TEMPO
        return snapshot_of(self.chain.now, self.wallet.address, first, set())

    # --- What was measured ---------------------------------------------------------------------

    def _at(self, block: int) -> int:
        return self.plan.now_ms - (BLOCK - block) * BLOCK_MS

    def _story(self) -> Iterator[Observation]:
        """Measurements of everybody, oldest first."""
        for number, ago in enumerate(self.plan.rounds):
            for miner in self.miners:
                if miner.fate == "new" and ago > min(self.plan.rounds):
                    continue
                yield self._specs(miner, number, BLOCK - ago - 20)
                if miner.fate != "new":
                    yield self._proof(miner, number, BLOCK - ago)
                if (number + miner.uid) % 2:
                    yield self._probe(miner, number, BLOCK - ago + 30 + miner.uid % 40)

    def _specs(self, miner: _Miner, number: int, block: int) -> Observation:
        name, model, memory, _, _ = miner.gpu_class
        gpus = tuple(
            ClaimedGpu(uuid=self._uuid(miner, at), model=model, memory_mib=memory)
            for at in range(miner.gpus)
        )
        del name
        content = SpecsContent(
            address=f"10.{miner.uid >> 8}.{miner.uid & 255}.7:8091",
            software="compute/0.1.0",
            gpus=gpus,
            hosts=1,
            cpus=16 * miner.gpus,
            memory_mib=131_072 * miner.gpus,
        )
        away = miner.fate == "away" and block > BLOCK - 400
        fault = (Outcome.FAILED, Reason.UNREACHABLE, "peer_away: connection refused")
        return self._observe(
            EvidenceKind.SPECS, miner, number, block, SpecsContent() if away else content,
            *(fault if away else ()),
        )  # fmt: skip

    def _proof(self, miner: _Miner, number: int, block: int) -> Observation:
        name, _, memory, tops, _ = miner.gpu_class
        forged = miner.fate == "forged" and block > BLOCK - 400
        slow = miner.fate == "shaky" and number % 2 == 0
        if forged:
            fault = (Outcome.FAILED, Reason.OPENING_FAILED, "an opened row does not multiply out")
            return self._observe(EvidenceKind.PROOF, miner, number, block, ProofContent(), *fault)
        jitter = self._dice.uniform(0.985, 1.015) * (0.6 if slow else 1.0)
        gpus = tuple(
            ProvenGpu(
                gpu=self._uuid(miner, at),
                gpu_class=name,
                credit_ppm=0 if slow else min(PPM, int(miner.speed * jitter * PPM)),
                reason=Reason.SLOW if slow else Reason.OK,
                tops_milli=int(tops * miner.speed * jitter * 1000),
                chain_ms=int(2900 / miner.speed / jitter),
                sweep_ms=int(340 / jitter),
                memory_mib=int(memory * 0.9),
            )
            for at in range(miner.gpus)
        )
        content = ProofContent(
            gpus=gpus,
            slot=sha256(f"slot{number}".encode()).hexdigest(),
            roots=tuple(sha256(f"{miner.uid}.{at}".encode()).hexdigest() for at in range(2)),
            mode="F",
            seconds_ms=5200 + self._dice.randrange(900),
            verify_ms=11 * miner.gpus + self._dice.randrange(4),
        )
        late = (Outcome.FAILED, Reason.SLOW, "0.60 of the class reference")
        return self._observe(
            EvidenceKind.PROOF, miner, number, block, content, *(late if slow else ())
        )

    def _probe(self, miner: _Miner, number: int, block: int) -> Observation:
        broken = miner.fate == "probe"
        checks = tuple(
            CheckEntry(
                name=name,
                passed=not (broken and at >= 2),  # noqa: PLR2004 - from SSH on
                detail="no SSH banner within 30 s" if broken and at == 2 else "",  # noqa: PLR2004
                ms=self._dice.randrange(20, 900),
            )
            for at, name in enumerate(_STEPS)
        )[: 3 if broken else None]
        content = ProbeContent(
            address=f"10.{miner.uid >> 8}.{miner.uid & 255}.7:8091",
            checks=checks,
            ready_ms=0 if broken else self._dice.randrange(600, 2600),
        )
        fault = (Outcome.FAILED, Reason.PROBE_FAILED, "ssh: no banner within 30 s")
        return self._observe(
            EvidenceKind.PROBE, miner, number, block, content, *(fault if broken else ())
        )

    def _observe(
        self,
        kind: EvidenceKind,
        miner: _Miner,
        number: int,
        block: int,
        content: Any,
        outcome: Outcome = Outcome.PASSED,
        reason: Reason = Reason.OK,
        detail: str = "",
    ) -> Observation:
        return Observation(
            kind=kind,
            round=f"{kind.value}-{number}",
            miner=miner.hotkey,
            block=block,
            at_ms=self._at(block),
            outcome=outcome,
            reason=reason,
            detail=detail,
            content=content.model_dump(mode="json"),
        )

    def _uuid(self, miner: _Miner, at: int) -> str:
        found = sha256(f"gpu{miner.uid}.{at}".encode()).hexdigest()
        return f"GPU-{found[:8]}-{found[8:12]}-{found[12:16]}-{found[16:20]}-{found[20:32]}"

    def once_more(self, miner: int) -> Observation:
        """A further passed proof of a miner, now."""
        proof = self._proof(self.miners[miner], 100 + self.chain.now.block - BLOCK, BLOCK)
        return proof.model_copy(update={"block": self.chain.now.block})

    # --- What was paid -------------------------------------------------------------------------

    def _pay(self, board: Board) -> None:
        """Vectors and submissions of the last epochs."""
        for ago in reversed(range(EPOCHS)):
            self._pay_one(board, ago)

    def _pay_one(self, board: Board, ago: int) -> None:
        taken = self._snapshot(ago)
        block = taken.epoch_block + TEMPO // 2
        content = WeightsContent(
            snapshot=taken,
            upto=0,
            policy=self.policy.name,
            policy_sha256=self.policy.sha256,
            vector={str(uid): weight for uid, weight in board.vector.items()},
            vector_sha256=sha256(f"vector{ago}".encode()).hexdigest(),
        )
        observation = Observation(
            kind=EvidenceKind.WEIGHTS,
            round=f"weights-{taken.epoch_block}",
            block=block,
            at_ms=self._at(block),
            content=content.model_dump(mode="json"),
        )
        record = self.service.recorder.log.append([observation])[0]
        published = Publication(
            netuid=NETUID,
            sha256=content.vector_sha256,
            vector=content.vector,
            epoch_block=taken.epoch_block,
            block=block,
            policy=content.policy,
            policy_sha256=content.policy_sha256,
            evidence_seq=record.seq,
            evidence_hash=record.hash,
            validator=record.validator,
            created_ms=record.at_ms,
        )
        document = sign(published, self.wallet.hotkey.sign).model_dump_json()
        store = self.service.weights
        entry = store.plan(taken.epoch_block, published.sha256, document)
        missed = ago == 17  # noqa: PLR2004 - one that did not get through
        store.save(
            entry.model_copy(
                update={
                    "state": SubmissionState.MISSED if missed else SubmissionState.CONFIRMED,
                    "attempts": 3 if missed else 1,
                    "sent_block": block + 1,
                    "included_block": None if missed else block + 2,
                    "message": "the chain was away" if missed else "",
                }
            )
        )

    # --- What is remembered --------------------------------------------------------------------

    def _remember(self, board: Board) -> None:
        engine = open_database(f"sqlite:///{self.folder / 'history.sqlite'}", Role.HISTORY)
        history = HistoryWriter(engine)
        records = self.service.recorder.log.records()
        measures = [found for r in records if (found := measured_of(r)) is not None]
        history.add_measures(measures)
        history.add_epoch(
            epoch_scores(board, epoch_block=BLOCK - 214, block=BLOCK, at_ms=self.plan.now_ms)
        )
        engine.dispose()
        with closing(sqlite3.connect(self.folder / "history.sqlite")) as connection:
            add_past(connection, hours=self.plan.hours, last_ms=self.plan.now_ms, block=BLOCK)


def address_of(number: int) -> str:
    """Text that looks like an address (ss58); nobody has its key."""
    value = int.from_bytes(sha256(f"miner{number}".encode()).digest())
    digits = []
    for _ in range(47):
        value, digit = divmod(value, 58)
        digits.append(_BASE58[digit])
    return "5" + "".join(digits)
