"""Images that renters bring: built in a sandbox or pulled by digest, ahead of the lease.

Nothing is built while a lease is made. A request for an image that is not there yet is told to come
back, while the image is made beside it; what was made is found again by its content. What has not
been used for longest goes when the budget is full, and never what a lease runs on.
"""

import re
import threading
import time
from collections.abc import Callable
from hashlib import sha256

from compute.domain.recipe import read_recipe
from compute.domain.requirement import Requirement
from compute.errors import Code, ComputeError, EngineError, LeaseError
from compute.miner.jobs import Job, JobRunner
from compute.miner.manager import LeaseManager
from compute.miner.workers import Workers
from compute.ports.engine import ImageView
from compute.ports.images import ImageBook, KeptImage
from compute.protocol.context import RequestContext
from compute.protocol.synapses import AllocateRequest
from compute.telemetry.logs import get

BY_DIGEST = re.compile(r"^[a-z0-9][a-z0-9._:/-]{0,250}@sha256:[0-9a-f]{64}$")
# What tells an image that can serve a lease: the entry point of the base image.
NEEDED = "test -x /usr/local/sbin/compute-entry && test -x /usr/sbin/sshd"
# What the linker loads into the GPU runtime's hooks, which run as root of the host. (The others of
# `RESERVED_VARIABLES` are common in GPU images; the builder overrides the one that matters.)
LOADED = frozenset({"LD_PRELOAD", "LD_AUDIT"})
CHECK_S = 30.0
COME_BACK_S = 3.0
REMEMBER_FAILURE_S = 600.0
MOST_FAILURES = 256
_log = get("miner.images")


class ImageDesk:
    """Finds, makes and prunes renters' images.

    Args:
        manager: leases out the hardware that builds run on.
        book: remembers what was made.
    """

    def __init__(self, manager: LeaseManager, book: ImageBook) -> None:
        self._manager = manager
        self._host = manager.host
        self._settings = manager.host.settings.images
        self._book = book
        self._jobs = JobRunner(manager)
        self._workers = Workers(1, "image-make")
        self._lock = threading.Lock()
        self._making: set[str] = set()
        self._failed: dict[str, tuple[float, ComputeError]] = {}

    def resolve(self, request: AllocateRequest, context: RequestContext) -> str:
        """Engine id of the image that a request asks for.

        Raises:
            LeaseError: `BUSY` with a time to come back while it is being made; `BUILD_FAILED` with
                the last lines; `UNSUPPORTED` or `MALFORMED` for what is not offered.
            EngineError: `IMAGE_MISSING` when it cannot be had.
        """
        if request.dockerfile:
            if not self._settings.builds:
                raise LeaseError(Code.UNSUPPORTED, "Dockerfile instructions are not accepted")
            return self._build(request.dockerfile, context)
        if request.image and request.image != self._host.image:
            return self._refer(request.image, context)
        return self._host.image

    def held(self) -> tuple[str, ...]:
        """Images that a lease can have at once, the default first."""
        return (self._host.image, *(kept.image for kept in self._book.all()[::-1]))

    def prune(self) -> int:
        """Remove the least recently used images beyond the budget; answers how many."""
        kept = self._book.all()
        over = sum(one.size_mib for one in kept) - self._settings.budget_mib
        in_use = {lease.image for lease in self._host.ledger.live()}
        removed = 0
        for one in kept:
            if over <= 0:
                break
            if one.image in in_use:
                continue
            if self._remove(one):
                over -= one.size_mib
                removed += 1
        return removed

    def _build(self, dockerfile: str, context: RequestContext) -> str:
        base = self._host.engine.image(self._host.image)
        if base is None:
            raise EngineError(Code.IMAGE_MISSING, "the default image is gone")
        recipe = read_recipe(dockerfile, base.environment)
        network = self._settings.build_network
        key = f"build:{sha256(f'{base.id} {recipe.content}'.encode()).hexdigest()}"

        def make() -> KeptImage:
            job = self._job(context, base.id, recipe.script, network=network)
            made = self._jobs.run(
                job,
                lambda container: self._host.engine.commit(container, base.id, recipe.environment),
            )
            return self._kept(key, made, made.size_mib - base.size_mib)

        return self._have(key, make)

    def _refer(self, reference: str, context: RequestContext) -> str:
        if any(reference == kept.image for kept in self._book.all()):
            return reference
        if not self._settings.references:
            raise LeaseError(Code.UNSUPPORTED, "only the default image is offered")
        if not BY_DIGEST.match(reference):
            raise LeaseError(Code.UNSUPPORTED, "name an image as NAME@sha256:DIGEST")

        def make() -> KeptImage:
            made = self._host.engine.pull(reference, self._settings.pull_s)
            kept = self._kept(reference, made, made.size_mib)
            try:
                if made.size_mib > self._settings.pull_mib:
                    raise LeaseError(Code.UNSUPPORTED, f"it has {made.size_mib} MiB, too many")
                self._check(made, context)
            except ComputeError:
                self._remove(kept)
                raise
            return kept

        return self._have(reference, make)

    def _check(self, image: ImageView, context: RequestContext) -> None:
        """An image serves leases only if it has the base image's entry point and an SSH server."""
        loaded = [name for name in image.environment if name in LOADED]
        if loaded:
            raise LeaseError(Code.UNSUPPORTED, f"the image sets {loaded[0]}, the host's to set")
        job = self._job(context, image.id, NEEDED, network=False, longest_s=CHECK_S)
        try:
            self._jobs.run(job, lambda container: container)
        except ComputeError as failure:
            if failure.code in {Code.NO_CAPACITY, Code.BUSY, Code.ENGINE_AWAY}:
                raise
            raise LeaseError(
                Code.UNSUPPORTED,
                "the image has no SSH server of ours",
                hint="build it on top of the miner's default image",
            ) from failure

    def _job(
        self,
        context: RequestContext,
        image: str,
        script: str,
        *,
        network: bool,
        longest_s: float = 0,
    ) -> Job:
        settings = self._settings
        return Job(
            owner=context.hotkey,
            trace=context.trace,
            image=image,
            script=script,
            requirement=Requirement(
                cpus=settings.build_cpus,
                memory_mib=settings.build_memory_mib,
                disk_mib=settings.build_disk_mib,
            ),
            longest_s=longest_s or settings.build_s,
            network=network,
        )

    def _have(self, key: str, make: Callable[[], KeptImage]) -> str:
        """The image under a key, if it is there; else see to it that it is being made."""
        kept = self._book.find(key)
        if kept is not None and self._host.engine.image(kept.image) is not None:
            self._book.keep(self._used_now(kept))
            return kept.image
        with self._lock:
            self._raise_failure(key)
            if key not in self._making:
                self._making.add(key)
                self._workers.submit(lambda: self._make(key, make))
        raise LeaseError(Code.BUSY, "the image is being made", retry_after_s=COME_BACK_S)

    def _make(self, key: str, make: Callable[[], KeptImage]) -> None:
        began = time.monotonic()
        try:
            self._book.keep(make())
            self.prune()
            _log.info("image made", key=key[:80], seconds=round(time.monotonic() - began, 1))
        except ComputeError as failure:
            _log.warning("image not made", key=key[:80], why=str(failure)[:200])
            self._remember(key, failure)
        finally:
            with self._lock:
                self._making.discard(key)

    def _remember(self, key: str, failure: ComputeError) -> None:
        with self._lock:
            if len(self._failed) >= MOST_FAILURES:
                self._failed.pop(next(iter(self._failed)))
            self._failed[key] = (time.monotonic(), failure)

    def _raise_failure(self, key: str) -> None:
        at, failure = self._failed.get(key, (0.0, None))
        if failure is None:
            return
        if failure.code.spec.retryable or time.monotonic() - at > REMEMBER_FAILURE_S:
            del self._failed[key]  # this caller hears of it, the next one has it tried again
        if time.monotonic() - at <= REMEMBER_FAILURE_S:
            raise LeaseError(failure.code, failure.detail, hint=failure.hint)

    def _kept(self, key: str, made: ImageView, size_mib: int) -> KeptImage:
        return KeptImage(key, made.id, max(1, size_mib), self._host.clock.now().wall)

    def _used_now(self, kept: KeptImage) -> KeptImage:
        return KeptImage(kept.key, kept.image, kept.size_mib, self._host.clock.now().wall)

    def _remove(self, kept: KeptImage) -> bool:
        try:
            self._host.engine.remove_image(kept.image)
        except EngineError as failure:
            _log.info("an image stays for now", image=kept.image[:24], why=str(failure))
            return False
        self._book.drop(kept.key)
        _log.info("image removed", key=kept.key[:80], size_mib=kept.size_mib)
        return True
