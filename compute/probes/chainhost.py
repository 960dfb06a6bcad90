"""Checks of the way to the chain: keys, connection, clock, registration, announcement."""

import asyncio
import time

import aiohttp

from compute.adapters.chain import SdkChain, open_wallet
from compute.errors import Code, ComputeError, PeerError, WalletError
from compute.probes.clock import ALLOWED_SKEW_S, newest_block, skew_in_words, skew_s
from compute.probes.exam import Exam, Part
from compute.probes.steps import StepNote

ENDPOINT_S = 5.0
OK = 200


async def wallet(exam: Exam, note: StepNote) -> None:
    """The hotkey is there and opens without a question."""
    keys = exam.settings.wallet
    exam.wallet = await asyncio.to_thread(open_wallet, keys.path, keys.name, keys.hotkey)
    note.passed(exam.wallet.hotkey.ss58_address)


async def chain(exam: Exam, note: StepNote) -> None:
    """The chain answers."""
    network = exam.settings.subtensor.network
    begun = time.monotonic()
    block = await newest_block(network)
    note.passed(f"{network}: block {block}, in {time.monotonic() - begun:.2f} s")


async def clock(exam: Exam, note: StepNote) -> None:
    """This machine's clock agrees with the chain's."""
    skew = await skew_s(exam.settings.subtensor.network)
    if abs(skew) > ALLOWED_SKEW_S:
        raise ComputeError(
            Code.STALE,
            skew_in_words(skew),
            hint="set the clock by NTP (timedatectl set-ntp true): requests that seem to come "
            f"from over {ALLOWED_SKEW_S:g} s ahead are refused",
        )
    note.passed("it agrees with the chain's")


async def registered(exam: Exam, note: StepNote) -> None:
    """The hotkey has a UID on the subnet."""
    settings = exam.settings
    source = SdkChain(settings.subtensor.network, settings.netuid, exam.wallet)
    try:
        metagraph = await source.metagraph()
    finally:
        await source.close()
    hotkey = exam.wallet.hotkey.ss58_address
    exam.neuron = metagraph.neuron(hotkey)
    if exam.neuron is None:
        raise WalletError(Code.NOT_REGISTERED, f"{hotkey} on subnet {settings.netuid}")
    neuron = exam.neuron
    if exam.part is Part.VALIDATOR and not neuron.validator_permit:
        note.warn_as(
            Code.DENIED,
            f"UID {neuron.uid} has {neuron.stake:.0f} alpha and no validator permit",
            "stake more; a permit comes with the next epoch",
        )
        return
    note.passed(f"UID {neuron.uid} on subnet {settings.netuid}, stake {neuron.stake:.0f}")


async def announced(exam: Exam, note: StepNote) -> None:
    """Others find this miner where the chain says it is."""
    neuron = exam.neuron
    if exam.miner is None or neuron is None:
        note.passed("nothing needs to be announced")
        return
    if not exam.running:
        note.passed(f"the chain says {neuron.axon or 'nothing'}; the miner does not run now")
        return
    if neuron.axon is None:
        raise PeerError(
            Code.PEER_AWAY,
            f"UID {neuron.uid} announces no axon on chain",
            hint="the miner's log says why; the chain limits how often an address may change",
        )
    await _answers(neuron.axon, neuron.certificate_sha256)
    note.passed(f"{neuron.axon} answers from here; only others can tell whether it does from there")


async def _answers(axon: str, certificate_sha256: bytes | None) -> None:
    """Ask an axon for its health, over TLS if it publishes a certificate.

    Raises:
        PeerError: `PEER_AWAY`.
    """
    timeout = aiohttp.ClientTimeout(total=ENDPOINT_S)
    scheme = "https" if certificate_sha256 else "http"
    pin = aiohttp.Fingerprint(certificate_sha256) if certificate_sha256 else True
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{scheme}://{axon}/healthz", ssl=pin) as answer,
        ):
            if answer.status != OK:
                raise PeerError(Code.PEER_AWAY, f"{axon} answers with {answer.status}")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise PeerError(
            Code.PEER_AWAY,
            f"{axon}, as the chain has it, does not answer",
            hint="check --axon.external_ip, the port's forwarding and the firewall",
        ) from error
