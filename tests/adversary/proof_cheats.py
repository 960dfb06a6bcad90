"""Fake miners: engines, holders and provers that cheat, each in one known way."""

# ruff: noqa: D102, ARG002  (each class says what its overrides do)

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compute.proof import chain, wire
from compute.proof.engine_numpy import NumpyEngine
from compute.proof.holder import Holder
from compute.proof.prover import ProverSession
from compute.proof.sizes import Sizes
from compute.proof.trees import PADDING, Tree
from compute.proof.wire import Header, Kind, Mode, Opening


class SkippedRows(NumpyEngine):
    """Computes only a share of each block's rows and copies the others from the block before."""

    share = 0.1

    def round(self, j: int, folds: Any, mu: Any, nu: Any) -> None:
        super().round(j, folds, mu, nu)
        n = self.sizes.n
        skipped = np.random.default_rng(j).permutation(n)[: round(self.share * n)]
        self._history[j * n + skipped] = self._history[(j - 1) * n + skipped]


def skipping(share: float) -> type[SkippedRows]:
    """Return an engine that skips this share of the rows."""
    return type("Skipping", (SkippedRows,), {"share": share})


class SkippedRounds(NumpyEngine):
    """Computes every other round, and copies the block otherwise."""

    def round(self, j: int, folds: Any, mu: Any, nu: Any) -> None:
        n = self.sizes.n
        if j % 2:
            super().round(j, folds, mu, nu)
        else:
            self._history[j * n : (j + 1) * n] = self._history[(j - 1) * n : j * n]


class EvictedBlocks(NumpyEngine):
    """Forgets half of the blocks once their folds are committed, and sweeps zeros there."""

    def sweep(self, kappa: bytes) -> Iterator[NDArray[np.uint32]]:
        kept = self._history.copy()
        n = self.sizes.n
        for j in range(0, self.sizes.blocks, 2):
            self._history[j * n : (j + 1) * n] = 0
        yield from list(super().sweep(kappa))
        self._history = kept


class _Imprecise(NumpyEngine):
    """Computes the chain, but not its openings, with a lesser product."""

    opening = False

    def lesser(self, rows: NDArray[np.int8]) -> NDArray[np.int32]:
        raise NotImplementedError

    def products(self, rows: NDArray[np.int8]) -> NDArray[np.int32]:
        return super().products(rows) if self.opening else self.lesser(rows)

    def rows(self, places: NDArray[np.int64]) -> NDArray[np.int8]:
        self.opening = True
        return super().rows(places)


class NarrowInputs(_Imprecise):
    """Multiplies the upper seven bits of the rows, as a narrower format would."""

    def lesser(self, rows: NDArray[np.int8]) -> NDArray[np.int32]:
        return super(_Imprecise, self).products(rows & -2)


class NarrowSums(_Imprecise):
    """Sums in half precision."""

    def lesser(self, rows: NDArray[np.int8]) -> NDArray[np.int32]:
        exact = super(_Imprecise, self).products(rows)
        return (exact / 64).astype(np.float16).astype(np.int32) * 64


class ApproximateSums(_Imprecise):
    """Leaves out the last sixteenth of each sum."""

    def lesser(self, rows: NDArray[np.int8]) -> NDArray[np.int32]:
        shorter = rows.copy()
        shorter[:, -(rows.shape[1] // 16) :] = 0
        return super(_Imprecise, self).products(shorter)


class NarrowThroughout(NarrowInputs):
    """Also opens with the lesser product."""

    def products(self, rows: NDArray[np.int8]) -> NDArray[np.int32]:
        return self.lesser(rows)


class NearHistory(NumpyEngine):
    """Reaches into the block before only, so that the history need not be kept."""

    def round(self, j: int, folds: Any, mu: Any, nu: Any) -> None:
        n = self.sizes.n
        previous = self._history[(j - 1) * n : j * n]
        _, t = chain.reach(folds, np.full(n, j, np.uint32), np.arange(n, dtype=np.uint32), n)
        mixed = previous ^ previous[t.astype(np.int64)]
        self._history[j * n : (j + 1) * n] = chain.top_bytes(self.products(mixed), mu, nu)


class OneFlippedBit(NumpyEngine):
    """Holds a row with one wrong bit in each block, and commits to it."""

    def round(self, j: int, folds: Any, mu: Any, nu: Any) -> None:
        super().round(j, folds, mu, nu)
        n = self.sizes.n
        self._history[j * n : (j + 1) * n, 5] ^= 1


class StaleSlot(Holder):
    """Answers with a run that was made for another slot."""

    def run(self, slot: bytes, sub: bytes) -> bytes:
        return super().run(bytes(32), sub)


class StaleSub(Holder):
    """Answers with a run that was made for another claim of the same slot."""

    def run(self, slot: bytes, sub: bytes) -> bytes:
        return super().run(slot, bytes(32))


class OwnAddresses(Holder):
    """Opens the history at an address of its own choice."""

    def _reach(self, j: NDArray[np.int64], r: NDArray[np.int64]) -> Any:
        return j - 1, r


class OtherDepth(Holder):
    """Commits with a tree that is one level deeper than it should be."""

    def run(self, slot: bytes, sub: bytes) -> bytes:
        root = super().run(slot, sub)
        return Tree([root, PADDING]).root


class HastySweep(Holder):
    """Answers the first sweep at once with a root that it made up."""

    def sweep(self, kappa: bytes) -> bytes:
        root = super().sweep(kappa)
        return bytes(32) if len(self.sweeps) == 1 else root


class StaleSweep(Holder):
    """Answers every sweep with the first one's commitment."""

    def sweep(self, kappa: bytes) -> bytes:
        if not self.sweeps:
            return super().sweep(kappa)
        self.sweeps.append(self.sweeps[0])
        return self.sweeps[0].tree.root


class ForgedProduct(Holder):
    """Opens with rows of C that are right modulo 2^31 only."""

    def open(self, request: Opening) -> bytes:
        record = np.frombuffer(
            super().open(request), wire.unit_dtype(self.sizes, request.mode)
        ).copy()
        if request.mode == Mode.FREIVALDS:
            record["product"][:, 0] ^= np.int32(-(2**31))
        return record.tobytes()


def holding(holder: type[Holder]) -> type[ProverSession]:
    """Return a prover that uses this holder."""
    return type("Cheating", (ProverSession,), {"holder": holder})


class OwnSizes(ProverSession):
    """Halves n, which makes it eight times as fast."""

    def _set_up(self, sizes: Any) -> Iterator[bytes]:
        return super()._set_up(
            [Sizes(each.n // 2, each.blocks, each.sweep_width) for each in sizes]
        )


class FewerBlocks(ProverSession):
    """Keeps half of the history."""

    def _set_up(self, sizes: Any) -> Iterator[bytes]:
        return super()._set_up(
            [Sizes(each.n, each.blocks // 2, each.sweep_width) for each in sizes]
        )

    def _open(self, gpu: int, holder: Holder, payload: bytes) -> Iterator[bytes]:
        mode = Mode(payload[0])
        units = [(1 + i % (holder.sizes.blocks - 1), i % holder.sizes.n) for i in range(32)]
        inside = Opening(mode, 0, tuple(wire.Unit(*unit) for unit in units))
        yield wire.frame(Kind.UNITS, gpu, holder.open(inside))


class SharedHistory(ProverSession):
    """Computes one chain and passes it off as every GPU's."""

    def _start(self, slot: bytes, subs: list[bytes]) -> Iterator[bytes]:
        return super()._start(slot, [subs[0]] * len(subs))


class Impatient(ProverSession):
    """Sends a root_B before it was asked."""

    def _start(self, slot: bytes, subs: list[bytes]) -> Iterator[bytes]:
        yield wire.frame(Kind.ROOT_B, 0, bytes(32))
        yield from super()._start(slot, subs)


class Twofold(ProverSession):
    """Sends each root_A twice."""

    def _start(self, slot: bytes, subs: list[bytes]) -> Iterator[bytes]:
        for frame in super()._start(slot, subs):
            yield frame
            yield frame


def only(kind: Kind, change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Return a tamper that changes frames of one kind."""
    return lambda frame: change(frame) if frame[0] == kind else frame


def with_payload(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Return a change of a frame's payload under a header that tells the new length."""

    def changed(frame: bytes) -> bytes:
        header = wire.parse_header(frame[: wire.HEADER_BYTES])
        payload = change(frame[wire.HEADER_BYTES :])
        return wire.frame(Kind(header.kind), header.gpu, payload)

    return changed


def as_text(payload: bytes) -> bytes:
    """Return bytes written out as decimal numbers."""
    return " ".join(str(byte) for byte in payload).encode()


def replaying(frames: list[bytes]) -> type[ProverSession]:
    """Return a prover that repeats another session's frames, whatever it is asked."""

    class Replaying(ProverSession):
        def _answer(self, header: Header, payload: bytes) -> Iterator[bytes]:
            self._gpus = self._gpus or header.gpu
            yield frames.pop(0)

    return Replaying
