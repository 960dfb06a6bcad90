"""Leases out this machine's hardware and proves it: the miner.

Run `python neurons/miner.py --help` for its settings, and see docs/miner.md.
"""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import docker
from docker.errors import DockerException
from prometheus_client import CollectorRegistry

from compute.adapters.chain import SdkChain, open_wallet
from compute.adapters.engine.baseimage import BaseImage, BaseImageSettings, ensure_base_image
from compute.cli.neuron import run_neuron
from compute.dashboard.miner import MinerIdentity, miner_dashboard
from compute.dashboard.network import public_name
from compute.errors import ChainError, Code, ComputeError, EngineError, WalletError
from compute.miner.service import MinerService, open_service
from compute.proof.program import prover_program
from compute.protocol.axon import Axon
from compute.protocol.gate import Gate
from compute.protocol.limits import Limits
from compute.protocol.synapses import ALLOCATE, CHALLENGE, LEASE, SPECS
from compute.protocol.tls import ensure_certificate, server_context
from compute.protocol.view import CachedMetagraph
from compute.settings.network import announced_ip
from compute.settings.roles import MinerSettings
from compute.telemetry.logs import get
from compute.telemetry.metrics import new_registry
from compute.telemetry.supervisor import Supervisor, supervised
from compute.version import __version__

ANNOUNCE_AGAIN_S = 30.0
DRAIN_S = 3.0
WORKERS = {SPECS: 2, ALLOCATE: 8, LEASE: 16, CHALLENGE: 8}
_log = get("miner")


async def main(settings: MinerSettings, stop: asyncio.Event) -> int:
    """Check the host, serve until told to stop, and leave the leases to their deadlines."""
    wallet = open_wallet(settings.wallet.path, settings.wallet.name, settings.wallet.hotkey)
    ip = announced_ip(settings.axon.external_ip)
    dialled = announced_ip(settings.leases.advertised_host or ip)
    port = settings.axon.external_port or settings.axon.port
    certificate = settings.axon.certificate
    pin = None if certificate is None else ensure_certificate(certificate)
    chain = SdkChain(settings.subtensor.network, settings.netuid, wallet)
    view = CachedMetagraph(chain.metagraph, refresh_s=12)
    try:
        await _check_registered(chain, chain.hotkey)
        image = await asyncio.to_thread(_base_image, settings)
        service = await asyncio.to_thread(
            open_service,
            settings.leases.model_copy(
                update={"state": settings.state, "advertised_host": dialled}
            ),
            key=wallet.hotkey,
            image=image.id,
            program=prover_program,
        )
        registry = new_registry("miner")
        axon = _axon(settings, wallet, view, service, registry)
        network = public_name(settings.subtensor.network)
        identity = MinerIdentity(chain.hotkey, settings.netuid, network)
        await view.start()
        await axon.start(settings.axon.host, settings.axon.port)
        async with (
            miner_dashboard(service, identity, settings.dashboard, registry),
            supervised(stop) as supervisor,
        ):
            announcer = Announcer(chain, (ip, port, pin), supervisor)
            await _serve(service, axon, announcer, stop)
    finally:
        await view.stop()
        await chain.close()
    return 0


async def _serve(
    service: MinerService,
    axon: Axon,
    announcer: "Announcer",
    stop: asyncio.Event,
) -> None:
    """From the first reconciliation to the last answer."""
    announcing = None
    try:
        await asyncio.to_thread(service.start)
        announcing = asyncio.create_task(announcer.run())
        _log.info("serving", axon=announcer.address, version=__version__)
        await stop.wait()
    finally:
        if announcing is not None:
            announcing.cancel()
        await axon.drain(DRAIN_S)
        await asyncio.to_thread(service.stop)
        await axon.stop()
        _log.info("stopped")


def _axon(
    settings: MinerSettings,
    wallet: object,
    view: CachedMetagraph,
    service: MinerService,
    registry: CollectorRegistry,
) -> Axon:
    gate = Gate(
        allow=frozenset(settings.gate.allow),
        deny=frozenset(settings.gate.deny),
        min_stake=settings.gate.least_stake,
        need_permit=settings.gate.need_permit,
    )
    axon = Axon(
        wallet,
        metagraph=view,
        gate=gate,
        limits=Limits(view_fresh_s=settings.gate.max_view_age_s),
        registry=registry,
        tls=settings.axon.certificate and server_context(settings.axon.certificate),
        title="compute miner",
        version=__version__,
    )
    for synapse, handler in service.handlers().items():
        axon.attach(synapse, handler, workers=WORKERS[synapse], queue=64)
    return axon


def _base_image(settings: MinerSettings) -> BaseImage:
    """Find or make the base image.

    Raises:
        EngineError: when the engine is away or the image cannot be made.
    """
    wanted = BaseImageSettings(
        state=settings.state,
        base=settings.image.base or None,
        use_registry=settings.image.registry,
    )
    try:
        client = (
            docker.DockerClient(base_url=settings.leases.engine, timeout=60)
            if settings.leases.engine
            else docker.from_env(timeout=60)
        )
    except DockerException as error:
        raise EngineError(Code.ENGINE_AWAY, str(error)) from error
    try:
        image = ensure_base_image(client, wanted, lambda line: _log.info("base image", note=line))
    finally:
        client.close()
    _log.info("base image", id=image.id, origin=image.origin.name.lower(), built=image.built)
    return image


async def _check_registered(chain: SdkChain, hotkey: str) -> None:
    """Refuse to start with a hotkey that the subnet does not know.

    Raises:
        WalletError: `NOT_REGISTERED`.
        ChainError: when the chain is away: a miner that nobody can find is better not started.
    """
    metagraph = await chain.metagraph()
    if metagraph.neuron(hotkey) is None:
        raise WalletError(Code.NOT_REGISTERED, f"{hotkey} on subnet {metagraph.netuid}")


class Announcer:
    """Keeps the chain's word for where this miner is true, through outages and deregistration.

    Args:
        place: address, port, and the certificate's fingerprint or None.

    The service manager learns that the miner is ready once the chain was asked for the first time:
    it serves from then on, and what the chain said is its status.
    """

    def __init__(
        self, chain: SdkChain, place: tuple[str, int, bytes | None], supervisor: Supervisor
    ) -> None:
        self._chain = chain
        self._ip, self._port, self._pin = place
        self._supervisor = supervisor
        self._announced = False

    @property
    def address(self) -> str:
        """What is announced."""
        return f"{self._ip}:{self._port}"

    async def run(self) -> None:
        """Announce, and look again for ever."""
        while True:
            self._supervisor.ready(f"serving at {self.address}, {await self._announce()}")
            await asyncio.sleep(ANNOUNCE_AGAIN_S if self._announced else ANNOUNCE_AGAIN_S / 6)

    async def _announce(self) -> str:
        """Announce once; how it went."""
        try:
            await self._chain.serve_axon(self._ip, self._port, self._pin)
        except (ChainError, ComputeError) as error:
            self._announced = False
            _log.warning("not announced on chain", why=str(error), code=error.code.spec.slug)
            return f"not announced on chain: {error}"
        if not self._announced:
            tls = self._pin is not None
            _log.info("announced on chain", ip=self._ip, port=self._port, tls=tls)
        self._announced = True
        return "announced on chain"


if __name__ == "__main__":
    run_neuron("miner", MinerSettings, main)
