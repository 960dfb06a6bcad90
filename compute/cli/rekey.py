"""`compute rekey`: new SSH keys for a lease, without a restart."""

from typing import Any

import typer

from compute.cli.context import context
from compute.cli.names import Name
from compute.cli.session import run


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    from compute.protocol.synapses import LeaseReply

    return {"rekey": LeaseReply}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("rekey")(rekey)


def rekey(ctx: typer.Context, name: Name) -> None:
    """Make a new SSH key and let it replace every key that may log in."""
    from compute.crypto import sshkeys
    from compute.protocol.synapses import LeaseAction, LeaseArguments

    here = context(ctx)
    record = here.book.get(name)
    fresh = sshkeys.generate()
    # The new key is on disk before the miner forgets the old one.
    here.book.attach(record.name, "id_ed25519.new", fresh.private)
    arguments = LeaseArguments(ssh_public_key=fresh.public)
    reply = run(here, lambda s: s.renter.operate(record, LeaseAction.EXCHANGE_KEY, arguments))
    here.book.replace_ssh_key(record.name, fresh)
    here.output.data(reply, text=f"{record.name} now takes {sshkeys.fingerprint(fresh.public)}")
