"""`compute validator penalise` and `pardon`: penalties, as signed evidence."""

from typing import Annotated, Any

import typer
from sqlalchemy import Engine

from compute.cli.context import Context, context
from compute.cli.validator.penalties import PenaltyRow, row_of
from compute.cli.validator.rows import score_of
from compute.cli.validator.standing import Standing, looking, standing
from compute.domain.measurement import PPM
from compute.errors import UsageError
from compute.storage.evidence import EvidenceLog
from compute.validator.penalties import Penalty, PenaltyDesk, active


def shapes() -> dict[str, Any]:
    """What the verbs print as JSON."""
    return {"validator penalise": PenaltyRow, "validator pardon": PenaltyRow}


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("penalise")(penalise)
    app.command("pardon")(pardon)


def penalise(
    ctx: typer.Context,
    miner: Annotated[str, typer.Argument(help="UID or hotkey.")],
    reason: Annotated[str, typer.Option(help="For the miner, and everybody, to read.")],
    factor: Annotated[
        float, typer.Option(min=0, max=1, help="What the score is multiplied by; 0 pays nothing.")
    ] = 0.0,
    blocks: Annotated[int, typer.Option(min=0, help="How long; 0 until it is lifted.")] = 7200,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would count.")] = False,
) -> None:
    """Write a penalty into the evidence. It shows in the very next weights.

    The validator's hotkey signs it: name the wallet by --wallet and --hotkey.
    """
    here = context(ctx)
    with looking(here) as engine:
        found = standing(engine)
        row, _ = score_of(found, miner)
        block = found.snapshot.block
        penalty = Penalty(row.hotkey, "", int(factor * PPM), block + blocks, block, reason)
        if not dry_run:
            content = PenaltyDesk(_log(here, engine, found)).impose(
                row.hotkey,
                factor_ppm=int(factor * PPM),
                block=block,
                blocks=blocks or None,
                reason=reason,
            )
            penalty = Penalty(
                row.hotkey, content.penalty, content.factor_ppm, content.until_block, block, reason
            )
    verb = "would count" if dry_run else "counts"
    here.output.data(
        row_of(penalty),
        text=f"UID {row.uid}: a factor of {factor:g} {verb} until block {penalty.until_block}",
    )


def pardon(
    ctx: typer.Context,
    penalty: Annotated[str, typer.Argument(help="Id of a penalty.")],
    reason: Annotated[str, typer.Option(help="Why it is lifted.")] = "lifted",
) -> None:
    """Lift a penalty before its time."""
    here = context(ctx)
    with looking(here) as engine:
        found = standing(engine)
        block = found.snapshot.block
        chosen = next((p for p in active(found.book, block) if p.penalty == penalty), None)
        if chosen is None:
            raise UsageError(
                f"no penalty '{penalty}' counts", hint="'compute validator penalties' lists them"
            )
        PenaltyDesk(_log(here, engine, found)).lift(chosen, block, reason)
    here.output.data(row_of(chosen), text=f"{penalty} counts no longer")


def _log(here: Context, engine: Engine, found: Standing) -> EvidenceLog:
    """The log, to write to: only the key that has written it may.

    Raises:
        WalletError: when the hotkey is missing.
        UsageError: when it is another one.
    """
    from compute.adapters.chain import open_wallet
    from compute.cli.validator.standing import newest_of_all

    keys = here.validator.wallet
    key = open_wallet(keys.path, keys.name, keys.hotkey).hotkey
    writer = newest_of_all(engine)
    if writer is not None and writer.validator != key.ss58_address:
        raise UsageError(
            f"the evidence is {writer.validator}'s, not {key.ss58_address}'s",
            hint="name the validator's own wallet by --wallet and --hotkey",
        )
    return EvidenceLog(engine, key, found.snapshot.netuid)
