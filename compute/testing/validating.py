"""A validator over a development chain, in this process or in one of its own that may be killed."""

import asyncio
import signal
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from compute.adapters.chain import SdkChain
from compute.domain.policy import Policy
from compute.proof.classes import ClassTable, known_classes, load_classes
from compute.protocol.dendrite import Dendrite
from compute.settings.validation import ValidationSettings
from compute.storage.database import Role, open_database
from compute.testing.chain import DevWallet
from compute.validator.policies import load_policy
from compute.validator.probing import RentalProbe
from compute.validator.service import ValidatorParts, ValidatorService

_SMALL_CLASS = """
[[class]]
name = "{name}"
models = ["{model}"]
development = true
n = 128
blocks = 4
memory_mib = 1
reference_tops = {{ value = 0.0000001, source = "nominal" }}
sweep_reference_s = {{ value = 10.0, source = "nominal" }}
"""


def small_classes(l4_model: str = "NVIDIA L4") -> str:
    """A class table whose proofs take milliseconds: a simulated GPU runs what its class asks.

    Args:
        l4_model: the model that counts as an L4.
    """
    named = (("cpu-dev", "cpu-dev"), ("l4", l4_model))
    return "version = 1\nsweep_width = 64\n" + "".join(
        _SMALL_CLASS.format(name=name, model=model) for name, model in named
    )


@dataclass(frozen=True, slots=True)
class ValidatorRun:
    """What a validator of a test is made of; travels to another process as it is.

    Attributes:
        network: of the chain, as `--subtensor.network` takes it.
        phrase: of the validator's development keys.
        url: of its database.
        classes: text of a class table; empty for the one that ships.
        threads: that check proofs.
        renting: whether tenants rent through it.
    """

    network: str
    netuid: int
    phrase: str
    url: str
    settings: ValidationSettings
    classes: str = ""
    threads: int = 2
    renting: bool = False

    @property
    def policy(self) -> Policy:
        """The policy that the settings name."""
        return load_policy(self.settings.policy)

    @property
    def table(self) -> ClassTable:
        """The class table."""
        return load_classes(self.classes) if self.classes else known_classes()


@asynccontextmanager
async def validating(
    run: ValidatorRun, *, probe: RentalProbe | None = None, pool: Executor | None = None
) -> AsyncIterator[ValidatorService]:
    """Run a validator while the context lasts."""
    wallet = DevWallet(run.phrase)
    chain = SdkChain(run.network, run.netuid, wallet)
    engine = open_database(run.url, Role.VALIDATOR)
    stop = asyncio.Event()
    own = ThreadPoolExecutor(run.threads)
    async with Dendrite(wallet, allow_private=True) as dendrite:
        service = ValidatorService(
            ValidatorParts(
                chain=chain,
                caller=dendrite,
                engine=engine,
                key=wallet.hotkey,
                netuid=run.netuid,
                settings=run.settings,
                policy=run.policy,
                classes=run.table,
                probe=probe,
                pool=pool or own,
                renting=run.renting,
            )
        )
        running = asyncio.create_task(service.run(stop))
        try:
            yield service
        finally:
            stop.set()
            await running
            await chain.close()
            engine.dispose()
            own.shutdown(wait=False, cancel_futures=True)


def validate(run: ValidatorRun) -> None:
    """Run a validator in this process until SIGTERM."""

    async def work() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        async with validating(run):
            await stop.wait()

    asyncio.run(work())
