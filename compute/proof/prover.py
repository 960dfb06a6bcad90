"""The prover's session: bytes in, frames out, no I/O and no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from compute.proof import wire
from compute.proof.engine import EngineUnfit
from compute.proof.holder import Holder
from compute.proof.wire import Kind, Ready, Status, WireError

if TYPE_CHECKING:
    from collections.abc import Collection

    from compute.proof.engine import Engine
    from compute.proof.sizes import Sizes

MAX_SWEEPS = 8
"""Sweeps that one run may ask for; a validator asks for two."""


class ProverSession:
    """One session of one or more GPUs; its holders can be replaced in a subclass.

    Args:
        engine: makes the engine of a GPU, or raises `EngineUnfit`.
        mine: GPUs that this session answers for; None for all. The others of a node are
            answered for by sibling processes.

    Attributes:
        expects: bytes that `receive` takes next.
    """

    holder = Holder

    def __init__(
        self, engine: Callable[[int], Engine], mine: Collection[int] | None = None
    ) -> None:
        self.expects = wire.HEADER_BYTES
        self._engine = engine
        self._mine = mine
        self._header: wire.Header | None = None
        self._gpus = 0
        self._started = False
        self._holders: dict[int, Holder] = {}

    def receive(self, data: bytes) -> Iterator[bytes]:
        """Take exactly `expects` bytes; yield the frames that answer them, as they are ready.

        Raises:
            WireError: the bytes are not what may come here. The session is then over.
        """
        if len(data) != self.expects:
            raise WireError(f"{self.expects} bytes were expected")
        if self._header is None:
            header = wire.parse_header(data)
            wire.check_prover_header(header, self._gpus)
            self._header, self.expects = header, header.length
            return iter(())
        header, self._header = self._header, None
        self.expects = wire.HEADER_BYTES
        return self._answer(header, data)

    def _answer(self, header: wire.Header, payload: bytes) -> Iterator[bytes]:
        if header.kind == Kind.SETUP:
            return self._set_up(wire.parse_setup(payload))
        if header.kind == Kind.START:
            return self._start(*wire.parse_start(payload))
        if self._mine is not None and header.gpu not in self._mine:
            raise WireError("the frame is for another GPU")
        holder = self._holders.get(header.gpu)
        if holder is None or not self._started:
            raise WireError("nothing has been started")
        if header.kind == Kind.SWEEP:
            return self._sweep(header.gpu, holder, payload)
        return self._open(header.gpu, holder, payload)

    def _set_up(self, sizes: list[Sizes | None]) -> Iterator[bytes]:
        self._gpus = len(sizes)
        for gpu, wanted in enumerate(sizes):
            if self._mine is None or gpu in self._mine:
                yield wire.ready(gpu, self._allocate(gpu, wanted))

    def _allocate(self, gpu: int, sizes: Sizes | None) -> Ready:
        if sizes is None:
            return Ready(Status.SIZES)
        try:
            engine = self._engine(gpu)
            engine.allocate(sizes)
        except EngineUnfit as error:
            return Ready(error.status)
        self._holders[gpu] = self.holder(engine, sizes)
        return Ready(Status.READY, engine.path, engine.device, engine.memory_bytes)

    def _start(self, slot: bytes, subs: list[bytes]) -> Iterator[bytes]:
        if self._started:
            raise WireError("the session was started before")
        self._started = True
        for gpu, holder in self._holders.items():
            yield wire.frame(Kind.ROOT_A, gpu, holder.run(slot, subs[gpu]))

    def _sweep(self, gpu: int, holder: Holder, kappa: bytes) -> Iterator[bytes]:
        if len(holder.sweeps) >= MAX_SWEEPS:
            raise WireError("too many sweeps")
        yield wire.frame(Kind.ROOT_B, gpu, holder.sweep(kappa))

    def _open(self, gpu: int, holder: Holder, payload: bytes) -> Iterator[bytes]:
        request = wire.parse_opening(payload, holder.sizes, len(holder.sweeps))
        yield wire.frame(Kind.UNITS, gpu, holder.open(request))
