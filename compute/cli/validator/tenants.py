"""`compute validator tenant`: who may rent through this validator's API."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from compute.cli.context import Context, context
from compute.cli.output import counted, table
from compute.cli.showing import clock
from compute.cli.validator.standing import looking
from compute.domain.hardware import Count, Value
from compute.domain.rental import Tenant
from compute.errors import ComputeError
from compute.storage.database import Role, migrate
from compute.storage.rentals import TenantStore

LEASES = 10
_HELP = "Say who may rent through this validator's API."


class TenantRow(Value):
    """One tenant.

    Attributes:
        enabled: whether its token lets it in; a removed one is kept for the sake of its rentals.
        most_leases: live rentals that it may have at once; `live` of them it has now.
        created_ms: Unix milliseconds.
    """

    name: str
    enabled: bool
    most_leases: Count
    live: Count
    created_ms: Count


class Admitted(Value):
    """A tenant with its token, which is shown this once; empty where it was only asked."""

    tenant: TenantRow
    token: str


def shapes() -> dict[str, Any]:
    """What the verbs print as JSON."""
    return {
        "validator tenant add": Admitted,
        "validator tenant list": list[TenantRow],
        "validator tenant rotate": Admitted,
        "validator tenant remove": TenantRow,
    }


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(help=_HELP, no_args_is_help=True, rich_markup_mode=None)
    group.command("add")(add)
    group.command("list")(list_)
    group.command("rotate")(rotate)
    group.command("remove")(remove)
    group.callback()(_group)
    app.add_typer(group, name="tenant")


def _group() -> None:
    """Say who may rent through this validator's API.

    A validator that runs sees every change at once. It serves the API with --renting true and
    --api_port.
    """


def _names(ctx: typer.Context, incomplete: str) -> list[str]:
    typed = ctx.find_root().params
    flags = {name: str(typed[name]) for name in ("config", "state") if typed.get(name)}
    try:
        with looking(Context(flags)) as engine:
            names = [tenant.name for tenant in TenantStore(engine).all()]
    except ComputeError:
        return []
    return [name for name in names if name.startswith(incomplete)]


Name = Annotated[str, typer.Argument(help="Name of a tenant.", autocompletion=_names)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")]


def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Your name for the tenant.")],
    leases: Annotated[int, typer.Option(min=1, help="Live leases that it may have.")] = LEASES,
    dry_run: DryRun = False,
) -> None:
    """Let a tenant in. Its token is printed this once: only a hash of it is kept."""
    here = context(ctx)
    with _tenants(here, change=not dry_run) as tenants:
        if not dry_run:
            made, token = tenants.add(name, most_leases=leases, now_ms=time.time_ns() // 1_000_000)
            _tell(here, tenants, made, token)
        else:
            tenants.check_free(name)
            row = TenantRow(name=name, enabled=True, most_leases=leases, live=0, created_ms=0)
            here.output.data(Admitted(tenant=row, token=""), text=f"{name} would be let in")


def list_(ctx: typer.Context) -> None:
    """List the tenants, and how many leases each has."""
    here = context(ctx)
    with _tenants(here, change=False) as tenants:
        found = [_row(tenants, tenant) for tenant in tenants.all()]
    rows = table("NAME", "MAY RENT", ">LIVE", ">MOST", "SINCE", spare=("SINCE",))
    for row in found:
        rows.add_row(
            *(row.name, "yes" if row.enabled else "no", str(row.live), str(row.most_leases)),
            clock(row.created_ms / 1000),
        )
    here.output.data(found, rows, empty="nobody may rent; 'compute validator tenant add' lets in")


def rotate(
    ctx: typer.Context,
    name: Name,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Give a tenant another token. The old one opens nothing from now on.

    One that was removed is let in again, with the rentals that it had.
    """
    here = context(ctx)
    with _tenants(here, change=not dry_run) as tenants:
        found = tenants.get(name)
        if dry_run:
            admitted = Admitted(tenant=_row(tenants, found), token="")
            here.output.data(admitted, text=f"{name} would get another token")
            return
        here.output.confirm(
            f"Replace the token of {name}? The one it has will open nothing.", yes=yes
        )
        made, token = tenants.rotate(name)
        _tell(here, tenants, made, token)


def remove(
    ctx: typer.Context,
    name: Name,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Shut a tenant out. Its live leases run on to their deadlines."""
    here = context(ctx)
    with _tenants(here, change=not dry_run) as tenants:
        row = _row(tenants, tenants.get(name))
        live = f"; it has {counted(row.live, 'live lease')} until the deadline" if row.live else ""
        if not dry_run:
            here.output.confirm(f"Shut {name} out{live}?", yes=yes)
            row = row.model_copy(update={"enabled": tenants.remove(name).enabled})
    verb = "would be" if dry_run else "is"
    here.output.data(row, text=f"{name} {verb} shut out{live}")


def _tell(here: Context, tenants: TenantStore, tenant: Tenant, token: str) -> None:
    """Print a token by itself, so that it can be caught; what it is for goes to the person."""
    here.output.progress(
        f"{tenant.name} may have {counted(tenant.most_leases, 'live lease')}; "
        "this is its token, which is shown this once"
    )
    here.output.data(Admitted(tenant=_row(tenants, tenant), token=token), text=token)


def _row(tenants: TenantStore, tenant: Tenant) -> TenantRow:
    return TenantRow(
        name=tenant.name,
        enabled=tenant.enabled,
        most_leases=tenant.most_leases,
        live=tenants.live().get(tenant.id, 0),
        created_ms=tenant.created_ms,
    )


@contextmanager
def _tenants(here: Context, *, change: bool) -> Iterator[TenantStore]:
    """The tenants; before a change the tables are brought up to date.

    Raises:
        UsageError: when there is no validator's database.
    """
    with looking(here) as engine:
        if change:
            migrate(engine, Role.VALIDATOR)
        yield TenantStore(engine)
