"""`compute receipt verify`: a miner's signed answer, checked offline."""

import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compute.cli.context import context
from compute.cli.showing import clock
from compute.domain.hardware import Value
from compute.errors import PeerError

if TYPE_CHECKING:
    from compute.protocol.receipts import Receipt


class Checked(Value):
    """A receipt that holds.

    Attributes:
        caller: hotkey (ss58) that asked, and `callee` that answered.
        asked: synapse and action.
        status: HTTP status of the answer.
        body_sha256: of the answer's exact bytes.
        received_at: Unix seconds by the caller's clock; not proven.
    """

    holds: bool
    caller: str
    callee: str
    asked: str
    status: int
    body_sha256: str
    received_at: float


def shapes() -> dict[str, Any]:
    """What the verbs print as JSON."""
    return {"receipt verify": Checked}


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(help="Check what miners have signed.", no_args_is_help=True)
    group.command("verify")(verify)
    group.callback()(_group)
    app.add_typer(group, name="receipt")


def _group() -> None:
    """Check what miners have signed."""


def verify(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A receipt, as 'compute receipts' lists them.")],
) -> None:
    """Check a receipt offline: who asked what, who answered what."""
    from compute.protocol.receipts import load_receipt, verify_receipt

    receipt = load_receipt(file)
    verify_receipt(receipt)
    checked = Checked(
        holds=True,
        caller=receipt.caller,
        callee=receipt.callee,
        asked=asked_of(receipt),
        status=receipt.status,
        body_sha256=sha256(receipt.body).hexdigest(),
        received_at=receipt.received_at,
    )
    context(ctx).output.data(
        checked,
        text=f"holds: {checked.callee} answered {checked.asked} with {checked.status}\n"
        f"asked by {checked.caller}, answered on {clock(checked.received_at)} by its clock",
    )


def asked_of(receipt: "Receipt") -> str:
    """What a receipt is an answer to: the synapse, and the action of a lease operation."""
    name = receipt.target.strip("/").partition("?")[0]
    try:
        action = json.loads(receipt.request_body).get("action", "")
    except (ValueError, AttributeError):
        action = ""
    return f"{name} {action}".strip()


def holds(receipt: "Receipt") -> bool:
    """Whether both signatures of a receipt hold."""
    from compute.protocol.receipts import verify_receipt

    try:
        verify_receipt(receipt)
    except PeerError:
        return False
    return True
