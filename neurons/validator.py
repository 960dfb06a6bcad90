"""Challenges miners, scores what it measured, and sets weights: the validator.

Run `python neurons/validator.py --help` for its settings, and see docs/validator.md.
"""

import asyncio
import contextlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sqlalchemy import Engine

from compute.adapters.chain import SdkChain, open_wallet
from compute.cli.neuron import run_neuron
from compute.cli.proving import ValidatorProbe
from compute.dashboard.validator import DashboardParts, validator_dashboard
from compute.errors import Code, UsageError, WalletError
from compute.proof.classes import known_classes
from compute.protocol.dendrite import Dendrite
from compute.settings.roles import ValidatorSettings
from compute.storage.database import Role, open_database
from compute.telemetry.supervisor import supervised
from compute.validator.api.compose import validator_app
from compute.validator.api.server import serving
from compute.validator.policies import load_policy
from compute.validator.service import ValidatorParts, ValidatorService
from compute.validator.submitter import HttpSource, SubmitterParts, SubmitterService


async def main(settings: ValidatorSettings, stop: asyncio.Event) -> int:
    """Measure and pay, or submit what another measured, until told to stop."""
    if settings.role == "submitter" and not settings.master:
        raise UsageError(
            "a submitter needs a master", hint="name its weights API: --master http://host:port"
        )
    wallet = open_wallet(settings.wallet.path, settings.wallet.name, settings.wallet.hotkey)
    policy = load_policy(settings.validation.policy)
    async with contextlib.AsyncExitStack() as around:
        chain = SdkChain(settings.subtensor.network, settings.netuid, wallet)
        around.push_async_callback(chain.close)
        metagraph = await chain.metagraph()
        if metagraph.neuron(chain.hotkey) is None:
            raise WalletError(Code.NOT_REGISTERED, f"{chain.hotkey} on subnet {settings.netuid}")
        url = settings.validation.database or f"sqlite:///{settings.state / 'validator.sqlite'}"
        database = await asyncio.to_thread(open_database, url, Role.VALIDATOR)
        around.callback(database.dispose)
        supervisor = await around.enter_async_context(supervised(stop))
        where = f"subnet {settings.netuid} as {chain.hotkey}"
        if settings.role == "submitter":
            supervisor.ready(f"setting the vectors of {settings.master} on {where}")
            await _submitter(settings, chain, database).run(stop)
            return 0
        dendrite = Dendrite(wallet, allow_private=settings.private_addresses)
        around.push_async_callback(dendrite.close)
        service = ValidatorService(
            ValidatorParts(
                chain=chain,
                caller=dendrite,
                engine=database,
                key=wallet.hotkey,
                netuid=settings.netuid,
                settings=settings.validation,
                policy=policy,
                classes=known_classes(),
                probe=ValidatorProbe(dendrite, settings.netuid),
                renting=settings.renting,
            )
        )
        if settings.dashboard.port:
            parts = DashboardParts(
                chain.hotkey,
                settings.netuid,
                settings.subtensor.network,
                settings.state,
                policy,
                database,
            )
            page = validator_dashboard(service, parts, settings.dashboard)
            await around.enter_async_context(page)
        if settings.api_port:
            api = serving(validator_app(service), settings.api_host, settings.api_port)
            await around.enter_async_context(api)
        supervisor.ready(f"measuring {where}")
        await service.run(stop)
    return 0


def _submitter(settings: ValidatorSettings, chain: SdkChain, database: Engine) -> SubmitterService:
    """The role that measures nothing: it sets vectors that another has published and signed."""
    return SubmitterService(
        SubmitterParts(
            chain=chain,
            source=HttpSource(settings.master),
            engine=database,
            hotkey=chain.hotkey,
            settings=settings.validation,
            master=settings.master_hotkey,
        )
    )


if __name__ == "__main__":
    run_neuron("validator", ValidatorSettings, main)
