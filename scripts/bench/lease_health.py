"""How fast an axon answers a health request while an image is built beside it.

The axon serves in a process of its own, as a miner does, with the lease handlers attached; the
build is a renter's, in the miner's own sandbox, and uses all the processor that it gets.
"""

import asyncio
import contextlib
import http.client
import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from compute.errors import Code, ComputeError
from compute.protocol.axon import Axon
from compute.protocol.gate import Gate
from compute.protocol.view import FixedMetagraph
from compute.settings.leases import ImageSettings
from compute.telemetry import logs
from compute.testing.leases import FakeRenter, real_service
from compute.testing.wallets import dev_wallet

PAUSE_S = 0.02
START_S = 60.0


def health_during_build(folder: Path, engine_url: str, image: str, build_s: float) -> list[float]:
    """Seconds of each health request that was answered while the build ran."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (str(folder), engine_url, image, build_s, theirs)
    process = context.Process(target=_miner, args=arguments)
    process.start()
    try:
        port = _hear(ours)
        ours.send("build")
        _hear(ours)
        return list(_ask(port, ours))
    finally:
        with contextlib.suppress(OSError):
            ours.send("stop")
        process.join(START_S)


def _hear(pipe: Connection) -> Any:
    if not pipe.poll(START_S):
        raise SystemExit("the miner under test does not start")
    return pipe.recv()


def _ask(port: int, miner: Connection) -> Iterator[float]:
    """Ask again and again on one connection until the build is over."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while not miner.poll():
        began = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        yield time.perf_counter() - began
        time.sleep(PAUSE_S)
    told = miner.recv()
    connection.close()
    if told != "built":
        raise SystemExit(f"the build failed: {told}")


def _miner(folder: str, engine_url: str, image: str, build_s: float, pipe: Connection) -> None:
    logs.configure("error", role="bench")
    images = ImageSettings(builds=True, build_s=int(build_s * 4) + 60, build_memory_mib=512)
    service = real_service(Path(folder), engine_url, image, images=images, on_stop="end")
    service.start()
    try:
        asyncio.run(_serve(service, build_s, pipe))
    finally:
        service.stop()


async def _serve(service: Any, build_s: float, pipe: Connection) -> None:
    view = FixedMetagraph(None)
    gate = Gate(allow=frozenset(), deny=frozenset(), min_stake=0, need_permit=False)
    axon = Axon(dev_wallet("Alice"), metagraph=view, gate=gate)
    for synapse, handler in service.handlers().items():
        axon.attach(synapse, handler, workers=4, queue=16)
    pipe.send(await axon.start("127.0.0.1", 0))
    await asyncio.to_thread(pipe.recv)
    try:
        pipe.send(await asyncio.to_thread(_build, service, build_s, pipe))
        await asyncio.to_thread(pipe.recv)
    finally:
        await axon.stop()


def _build(service: Any, build_s: float, pipe: Connection) -> str:
    """Build an image that takes so long, as a renter's requests do."""
    spin = f"import time; e = time.time() + {build_s}\nwhile time.time() < e: sum(range(10**5))"
    line = spin.replace("\n", "\\n")
    dockerfile = f"RUN printf '{line}' > /spin.py && python3 /spin.py && rm /spin.py"
    renter = FakeRenter(service)
    request = renter.request(dockerfile=dockerfile)
    pipe.send("building")
    while True:
        try:
            made = service.images.resolve(request, renter.context())
        except ComputeError as refusal:
            if refusal.code is not Code.BUSY:
                return str(refusal)
            time.sleep(0.2)
        else:
            break
    service.host.engine.remove_image(made)
    return "built"
