"""`SdkChain`: one neuron's view of its subnet, over the SDK's async client.

The connection is made at the first use and made anew after a failure; every operation has a time
limit. The hotkey signs from memory: no key file is read and nobody is prompted while running.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import bittensor as bt

from compute.adapters.chain import certificates
from compute.adapters.chain.failures import FAILURES, is_away, translate
from compute.adapters.chain.network import open_client
from compute.domain.metagraph import Metagraph, Neuron
from compute.errors import ChainError, Code
from compute.ports.chain import WeightsReceipt

T = TypeVar("T")

RAO = 1_000_000_000
COMMIT_BYTES = 128
WRITE_RETRIES = 2

_UIDS = ("SubtensorModule", "Uids")
_AXONS = ("SubtensorModule", "Axons")
_CERTIFICATES = ("SubtensorModule", "NeuronCertificates")
_SUBNETS = ("SubtensorModule", "NetworksAdded")
_COMMITMENTS = ("Commitments", "CommitmentOf")

EXTRA = (
    "weights_rate_limit",
    "min_allowed_weights",
    "commit_reveal_weights_enabled",
    "commit_reveal_period",
    "serving_rate_limit",
    "weights_version",
    "max_validators",
    "max_uids",
    "immunity_period",
    "activity_cutoff",
)
"""Hyperparameters that a metagraph carries in `extra`, as integers, where the chain gives them."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits in seconds.

    Attributes:
        read_s: one read, connecting included.
        write_s: one transaction until it is final: three blocks of 12 s, and slack.
        close_s: letting a broken connection go.
    """

    read_s: float = 60.0
    write_s: float = 180.0
    close_s: float = 5.0


class SdkChain:
    """Implements `compute.ports.chain.Chain`. Use it within one event loop.

    Args:
        network: name of the network, see `compute.adapters.chain.network`.
        netuid: the subnet.
        wallet: anything with a `hotkey` that signs.
        timeouts: time limits.

    Raises:
        UsageError: there is no such network.
    """

    def __init__(
        self, network: str, netuid: int, wallet: Any, *, timeouts: Timeouts | None = None
    ) -> None:
        open_client(network)  # says at once when the name is wrong; nothing connects yet
        self._network = network
        self._netuid = netuid
        self._signer = wallet.hotkey
        self._timeouts = timeouts or Timeouts()
        self._client: bt.Client | None = None
        self._opening: asyncio.Task[bt.Client] | None = None

    @property
    def hotkey(self) -> str:
        """Address (ss58) of the hotkey that signs."""
        return str(self._signer.ss58_address)

    async def block(self) -> int:
        """Current block number."""
        return await self._reading(lambda client: client.block())

    async def metagraph(self) -> Metagraph:
        """The subnet's neurons now."""

        async def read(client: bt.Client) -> Metagraph:
            found = await client.subnets.metagraph(self._netuid, commitments=False)
            if found is None:
                raise self._no_subnet()
            return _metagraph(found, await self._pins(client))

        return await self._reading(read)

    async def serve_axon(self, ip: str, port: int, certificate_sha256: bytes | None = None) -> None:
        """Announce this neuron's axon; a no-op when the chain already says the same."""

        async def serve(client: bt.Client) -> None:
            await self._uid(client)
            key = [self._netuid, self.hotkey]
            known = await client.query(_AXONS, key)
            pinned = (await self._pins(client)).get(self.hotkey)
            if _is_announced(known, ip, port) and pinned == certificate_sha256:
                return
            intent: bt.Intent = bt.ServeAxon(netuid=self._netuid, ip=ip, port=port)
            if certificate_sha256 is not None or pinned is not None:
                published = certificates.published(certificate_sha256)
                intent = bt.ServeAxonTls(
                    netuid=self._netuid, ip=ip, port=port, certificate=published
                )
            result = await client.execute(intent, self._signer, retries=WRITE_RETRIES)
            result.raise_for_failure()

        await self._writing(serve)

    async def set_weights(self, weights: Mapping[int, float], version_key: int) -> WeightsReceipt:
        """Set weights by UID, plain or commit-reveal as the subnet is configured.

        When it raises `CHAIN_AWAY` the transaction may have been sent all the same: read the
        metagraph's `last_update` before trying again.
        """

        async def submit(client: bt.Client) -> WeightsReceipt:
            await self._uid(client)
            intent = bt.SetWeights(
                netuid=self._netuid,
                weights={int(uid): float(value) for uid, value in weights.items()},
                mechid=0,
                version_key=version_key,
            )
            result = await client.execute(intent, self._signer, retries=WRITE_RETRIES)
            result.raise_for_failure()
            return _receipt(result)

        return await self._writing(submit)

    async def commit(self, data: bytes) -> None:
        """Publish up to 128 bytes under this neuron's hotkey."""
        if len(data) > COMMIT_BYTES:
            raise ChainError(Code.CHAIN_REFUSED, f"a commitment holds {COMMIT_BYTES} bytes")

        async def submit(client: bt.Client) -> None:
            await self._uid(client)
            info = {"fields": [[{f"Raw{len(data)}": "0x" + data.hex()}]]}
            call = bt.calls.Commitments.set_commitment(netuid=self._netuid, info=info)
            result = await client.submit_call(call, self._signer, signer="hotkey")
            result.raise_for_failure()

        await self._writing(submit)

    async def commitment(self, hotkey: str) -> bytes | None:
        """What a hotkey has published, or None."""

        async def read(client: bt.Client) -> bytes | None:
            item = _COMMITMENTS
            return _committed(await client.query(item, [self._netuid, hotkey]))

        return await self._reading(read)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._opening is not None:
            await asyncio.wait({self._opening}, timeout=self._timeouts.close_s)
        client, self._client = self._client, None
        if client is not None:
            await self._let_go(client)

    # Underneath ------------------------------------------------------------------------

    async def _reading(self, work: Callable[[bt.Client], Awaitable[T]]) -> T:
        return await self._within(self._timeouts.read_s, work)

    async def _writing(self, work: Callable[[bt.Client], Awaitable[T]]) -> T:
        return await self._within(self._timeouts.write_s, work)

    async def _within(self, limit_s: float, work: Callable[[bt.Client], Awaitable[T]]) -> T:
        """Run one operation; a connection that fails is not used again."""
        client: bt.Client | None = None
        try:
            async with asyncio.timeout(limit_s):
                client = await self._connected()
                return await work(client)
        except FAILURES as error:
            if is_away(error) and client is not None:
                await self._drop(client)
            raise translate(error) from error

    async def _connected(self) -> bt.Client:
        """The connection, made if there is none.

        All callers wait for one attempt. A caller that runs out of time leaves it running: the
        SDK does not clean up after an attempt that is cancelled, and its end is in sight anyway.
        """
        while self._client is None:
            if self._opening is None:
                self._opening = asyncio.create_task(self._open())
                self._opening.add_done_callback(self._opened)
            await asyncio.shield(self._opening)
        return self._client

    async def _open(self) -> bt.Client:
        client = open_client(self._network)
        try:
            return await client.connect()
        except BaseException:
            await self._let_go(client)
            raise

    def _opened(self, attempt: asyncio.Task[bt.Client]) -> None:
        self._opening = None
        # Asking for the exception also marks it as seen, where nobody waits for it any more.
        if not attempt.cancelled() and attempt.exception() is None:
            self._client = attempt.result()

    async def _drop(self, client: bt.Client) -> None:
        if self._client is client:
            self._client = None
            await self._let_go(client)

    async def _let_go(self, client: bt.Client) -> None:
        """Close a connection, whatever it says and however long it takes."""
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(self._timeouts.close_s):
                await client.close()

    async def _pins(self, client: bt.Client) -> Mapping[str, bytes | None]:
        """Fingerprints of TLS certificates by hotkey; none on a chain that keeps none."""
        try:
            published = await client.query_map(_CERTIFICATES, [self._netuid])
        except FAILURES as error:
            if is_away(error):
                raise
            return {}
        return {str(hotkey): certificates.read(entry) for hotkey, entry in published}

    async def _uid(self, client: bt.Client) -> int:
        """This neuron's UID; raises `SUBNET_MISSING` or `NOT_REGISTERED`."""
        uid = await client.query(_UIDS, [self._netuid, self.hotkey])
        if uid is not None:
            return int(uid)
        if not await client.query(_SUBNETS, [self._netuid]):
            raise self._no_subnet()
        raise ChainError(Code.NOT_REGISTERED, f"subnet {self._netuid}")

    def _no_subnet(self) -> ChainError:
        return ChainError(Code.SUBNET_MISSING, f"subnet {self._netuid}")


def _metagraph(found: bt.Metagraph, pins: Mapping[str, bytes | None]) -> Metagraph:
    raw = found.raw
    extra = {name: int(raw[name]) for name in EXTRA if raw.get(name) is not None}
    return Metagraph(
        netuid=found.netuid,
        block=found.block,
        neurons=tuple(_neuron(one, pins.get(one.hotkey)) for one in found.neurons),
        tempo=found.tempo,
        blocks_since_epoch=found.blocks_since_last_step,
        extra=extra,
    )


def _neuron(one: bt.MetagraphNeuron, pin: bytes | None) -> Neuron:
    return Neuron(
        uid=one.uid,
        hotkey=one.hotkey,
        coldkey=one.coldkey,
        axon=one.axon,
        stake=one.total_stake.rao / RAO,
        validator_permit=one.validator_permit,
        incentive=one.incentive,
        dividends=one.dividends,
        last_update=one.last_update,
        active=one.active,
        certificate_sha256=pin,
    )


def _is_announced(known: Any, ip: str, port: int) -> bool:
    """Whether an axon record already says this address."""
    if not isinstance(known, dict):
        return False
    address = ipaddress.ip_address(ip)
    said = (int(known.get("ip") or 0), int(known.get("ip_type") or 4), int(known.get("port") or 0))
    return said == (int(address), address.version, port)


def _receipt(result: bt.ExtrinsicResult) -> WeightsReceipt:
    block, _, _ = (result.extrinsic_id or "").partition("-")
    sealed = result.data.get("reveal_round")
    return WeightsReceipt(
        block=int(block) if block.isdigit() else None,
        reveal_round=int(sealed) if sealed is not None else None,
        message=result.message,
    )


def _committed(record: Any) -> bytes | None:
    """The raw bytes of a commitment record, all its fields together."""
    if not isinstance(record, dict):
        return None
    fields = (record.get("info") or {}).get("fields") or []
    out = b""
    for field in fields:
        # Some versions of the chain's types nest the fields in one more list.
        for entry in field if isinstance(field, list | tuple) else [field]:
            for variant, value in entry.items() if isinstance(entry, dict) else ():
                if variant.startswith("Raw"):
                    out += bytes.fromhex(str(value).removeprefix("0x"))
    return out
