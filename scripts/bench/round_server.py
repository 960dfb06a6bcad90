"""The validator's APIs in a process of their own, for load: until standard input ends.

`weights` serves one published vector of 256 UIDs. `rentals` runs a validator that rents out; it
reads a `ValidatorRun` and how many tenants to make. Both write their port, and `rentals` its
tenants' tokens.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import structlog

from compute.domain import publication
from compute.domain.measurement import U16, Snapshot
from compute.domain.publication import Publication
from compute.domain.vector import address
from compute.settings.validation import ValidationSettings
from compute.storage.database import Role, open_database
from compute.storage.evidence_weights import WeightsStore
from compute.testing.chain import DevWallet
from compute.testing.validating import ValidatorRun, validating
from compute.validator.api.app import create_app
from compute.validator.api.compose import validator_app
from compute.validator.api.server import serving
from compute.validator.api.weights import weights_router
from compute.validator.shelf import WeightsShelf

UIDS = 256
PLENTY = 1_000_000


def published() -> Publication:
    """A signed vector."""
    wallet: Any = DevWallet("//Validator")
    vector = {uid: U16 - uid for uid in range(UIDS)}
    snapshot = Snapshot(netuid=1, block=100, epoch_block=100)
    unsigned = Publication(
        netuid=1,
        sha256=address(vector, snapshot, "0" * 64),
        vector={str(uid): weight for uid, weight in vector.items()},
        epoch_block=100,
        block=100,
        policy="bench",
        policy_sha256="0" * 64,
        evidence_seq=1,
        evidence_hash="0" * 64,
        validator=wallet.address,
        created_ms=0,
    )
    return publication.sign(unsigned, wallet.hotkey.sign)


async def weights() -> None:
    """Serve one vector."""
    with tempfile.TemporaryDirectory(prefix="compute-bench-") as folder:
        engine = open_database(f"sqlite:///{Path(folder) / 'validator.sqlite'}", Role.VALIDATOR)
        shelf = WeightsShelf(WeightsStore(engine))
        shelf.put(published())
        async with serving(create_app(weights_router(shelf)), "127.0.0.1", 0) as port:
            print(json.dumps({"port": port}), flush=True)
            await asyncio.to_thread(sys.stdin.read)


async def rentals() -> None:
    """Run a validator that rents out."""
    fields = json.loads(sys.stdin.readline())
    count = fields.pop("tenants")
    settings = ValidationSettings.model_validate(fields.pop("settings"))
    run = ValidatorRun(**fields, settings=settings, renting=True)
    async with validating(run) as service:
        office = service.office
        if office is None:
            raise SystemExit("the validator does not rent out")
        tokens = [
            office.tenants.add(f"tenant-{index}", most_leases=PLENTY, now_ms=1)[1]
            for index in range(count)
        ]
        await service.view.wait_beyond(0)
        async with serving(validator_app(service), "127.0.0.1", 0) as port:
            while not office.market.offers():  # noqa: ASYNC110 - once, at the start
                await asyncio.sleep(0.1)
            print(json.dumps({"port": port, "tokens": tokens}), flush=True)
            await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    import uvloop

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(40),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    uvloop.run({"weights": weights, "rentals": rentals}[sys.argv[1]]())
