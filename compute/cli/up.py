"""`compute up`: lease a container and wait until it can be logged in to."""

from typing import Annotated

import typer

from compute.cli import parsing
from compute.cli.output import duration
from compute.cli.session import Context, context, run
from compute.domain.requirement import Requirement
from compute.errors import ComputeError, LeaseError, PeerError
from compute.protocol.dendrite import Peer
from compute.renter.book import LeaseRecord
from compute.renter.client import Wish, best
from compute.renter.session import RenterSession, find_miner, peer_of


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("up")(up)


def up(
    ctx: typer.Context,
    ttl: Annotated[str, typer.Option(help="How long: 90s, 20m, 2h, 7d.")] = "1h",
    gpu: Annotated[str, typer.Option(help="Part of the GPU's name, for example H100.")] = "",
    count: Annotated[int, typer.Option(min=0, help="GPUs; 1 when --gpu is given.")] = 0,
    cpus: Annotated[int, typer.Option(min=1, help="Processors.")] = 1,
    memory: Annotated[str, typer.Option(help="Memory: 512m, 8g.")] = "1g",
    disk: Annotated[str, typer.Option(help="Disk: 10g; 0 takes the miner's default.")] = "0",
    shm: Annotated[str, typer.Option(help="Shared memory: 64m, 8g.")] = "64m",
    image: Annotated[str, typer.Option(help="Image reference with digest.")] = "",
    port: Annotated[list[int] | None, typer.Option(help="Publish this container port.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; not for secrets.")] = None,
    idle_stop: Annotated[str, typer.Option(help="End after so long without use.")] = "0",
    name: Annotated[str, typer.Option(help="Your name for the lease.")] = "",
    miner: Annotated[str, typer.Option(help="UID or hotkey; else the quickest that fits.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only ask whether it fits.")] = False,
) -> None:
    """Lease a container and open its sealed credentials."""
    wish = Wish(
        duration_s=parsing.seconds(ttl),
        requirement=Requirement(
            gpus=count or (1 if gpu else 0),
            gpu_model=gpu,
            cpus=cpus,
            memory_mib=parsing.mebibytes(memory),
            disk_mib=parsing.mebibytes(disk),
            shm_mib=parsing.mebibytes(shm),
        ),
        image=image,
        ports=tuple(port or ()),
        environment=parsing.assignments(env or ()),
        idle_stop_s=parsing.seconds(idle_stop),
    )
    here = context(ctx)
    if dry_run:
        _quote(here, wish, miner)
        return
    record = run(here, lambda session: _lease(here, session, wish, miner, name))
    credentials = record.credentials
    if credentials is None:  # pragma: no cover - `up` returns only opened records
        raise AssertionError
    here.output.data(
        record,
        text=f"{record.name} is up on {credentials.host}:{credentials.port} "
        f"for {duration(credentials.expires_at - record.created_at)}\n"
        f"log in with: compute ssh {record.name}",
    )


async def _choose(here: Context, session: RenterSession, wish: Wish, miner: str) -> list[Peer]:
    """The miners to try, best first."""
    metagraph = await session.chain.metagraph()
    if miner:
        return [peer_of(find_miner(metagraph, miner))]
    here.output.progress(f"asking the miners of subnet {metagraph.netuid}")
    offers, _ = await session.renter.offers(metagraph)
    first = best(offers, wish.requirement)
    others = [o for o in offers if o is not first and o.fits(wish.requirement)]
    return [first.peer, *(offer.peer for offer in sorted(others, key=lambda o: o.elapsed_s))]


async def _lease(
    here: Context, session: RenterSession, wish: Wish, miner: str, name: str
) -> LeaseRecord:
    """Lease from the first miner that grants it."""
    refused: ComputeError | None = None
    for peer in await _choose(here, session, wish, miner):
        here.output.progress(f"leasing from {peer.hotkey} at {peer.address}")
        try:
            return await session.renter.up(peer, wish, name=name, trace=here.trace)
        except (LeaseError, PeerError) as error:
            if not error.code.spec.retryable:
                raise
            here.output.progress(f"  {error}")
            refused = error
    if refused is None:  # pragma: no cover - `_choose` never gives an empty list
        raise AssertionError
    raise refused


def _quote(here: Context, wish: Wish, miner: str) -> None:
    async def ask(session: RenterSession) -> tuple[Peer, bool]:
        peer = (await _choose(here, session, wish, miner))[0]
        return peer, (await session.renter.quote(peer, wish)).available

    peer, available = run(here, ask)
    verdict = "available now" if available else "not available now"
    here.output.data(
        {"miner": peer.hotkey, "address": peer.address, "available": available},
        text=f"{verdict} on {peer.hotkey} at {peer.address}; nothing was leased",
    )
