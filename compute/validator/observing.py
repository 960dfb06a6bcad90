"""What every round needs: the recorder, the chain's clock, and the time for people."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from compute.domain.evidence import EvidenceKind, Observation, Outcome, ReceiptEntry
from compute.domain.hardware import Value
from compute.protocol.receipts import Receipt
from compute.telemetry import logs
from compute.validator.chainview import ChainView
from compute.validator.outcomes import Judgement
from compute.validator.recorder import Recorder
from compute.validator.targets import Target

log = logs.get("round")


@dataclass(frozen=True, slots=True)
class Desk:
    """Where measurements are written down.

    Attributes:
        wall: Unix seconds, for people only.
    """

    recorder: Recorder
    view: ChainView
    wall: Callable[[], float] = time.time

    def observe(
        self,
        kind: EvidenceKind,
        round_id: str,
        target: Target,
        judgement: Judgement,
        content: Value,
        receipts: tuple[Receipt, ...] = (),
    ) -> Observation:
        """Make an observation, stamped with the current block."""
        return Observation(
            kind=kind,
            round=round_id,
            miner=target.hotkey,
            block=self.view.block,
            at_ms=int(self.wall() * 1000),
            outcome=judgement.outcome,
            reason=judgement.reason,
            detail=judgement.detail,
            content=content.model_dump(mode="json"),
            receipts=tuple(entry_of(receipt) for receipt in receipts),
        )

    async def write(self, observation: Observation) -> None:
        """Record an observation, and say so in the log."""
        record = await self.recorder.record(observation)
        if record is None:
            return
        tell = log.info if record.outcome is Outcome.FAILED else log.debug
        tell(
            "measured",
            kind=record.kind.value,
            hotkey=record.miner,
            outcome=record.outcome.value,
            reason=record.reason.value,
            detail=record.detail,
        )


def entry_of(receipt: Receipt) -> ReceiptEntry:
    """A receipt as evidence keeps it: the body by its hash."""
    return ReceiptEntry(
        status=receipt.status,
        body_sha256=sha256(receipt.body).hexdigest(),
        nonce=receipt.nonce,
        caller=receipt.caller,
        callee=receipt.callee,
        scheme=receipt.scheme,
        signature=receipt.signature.removeprefix("0x"),
    )
