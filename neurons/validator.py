"""Challenges miners, scores what it measured, and sets weights: the validator.

Run `python neurons/validator.py --help` for its settings, and see docs/validator.md.
"""

import asyncio
import contextlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from compute.adapters.chain import SdkChain, open_wallet
from compute.cli.neuron import run_neuron
from compute.cli.proving import ValidatorProbe
from compute.dashboard.validator import ValidatorIdentity, validator_dashboard
from compute.errors import Code, WalletError
from compute.proof.classes import known_classes
from compute.protocol.dendrite import Dendrite
from compute.settings.roles import ValidatorSettings
from compute.storage.database import Role, open_database
from compute.validator.policies import load_policy
from compute.validator.service import ValidatorParts, ValidatorService


async def main(settings: ValidatorSettings, stop: asyncio.Event) -> int:
    """Measure and pay until told to stop."""
    wallet = open_wallet(settings.wallet.path, settings.wallet.name, settings.wallet.hotkey)
    policy = load_policy(settings.validation.policy)
    chain = SdkChain(settings.subtensor.network, settings.netuid, wallet)
    dendrite = Dendrite(wallet, allow_private=settings.private_addresses)
    database = None
    try:
        metagraph = await chain.metagraph()
        if metagraph.neuron(chain.hotkey) is None:
            raise WalletError(Code.NOT_REGISTERED, f"{chain.hotkey} on subnet {settings.netuid}")
        url = f"sqlite:///{settings.state / 'validator.sqlite'}"
        database = await asyncio.to_thread(open_database, url, Role.VALIDATOR)
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
            )
        )
        async with contextlib.AsyncExitStack() as around:
            if settings.dashboard.port:
                identity = ValidatorIdentity(
                    chain.hotkey,
                    settings.netuid,
                    settings.subtensor.network,
                    settings.state,
                    policy,
                )
                page = validator_dashboard(service, identity, settings.dashboard)
                await around.enter_async_context(page)
            await service.run(stop)
    finally:
        if database is not None:
            database.dispose()
        await dendrite.close()
        await chain.close()
    return 0


if __name__ == "__main__":
    run_neuron("validator", ValidatorSettings, main)
