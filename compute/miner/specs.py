"""What a miner says about itself when a validator asks."""

import threading
import time

from compute.domain.capacity import total
from compute.domain.hardware import HardwareReport
from compute.miner.images import ImageDesk
from compute.miner.manager import LeaseManager
from compute.protocol.synapses import SpecsReply, Terms
from compute.version import __version__

REPORT_AGE_S = 10.0
MOST_IMAGES = 256


class SpecsDesk:
    """Answers `Specs`; what is slow to find out is kept for a few seconds."""

    def __init__(self, manager: LeaseManager, images: ImageDesk) -> None:
        self._manager = manager
        self._images = images
        self._host = manager.host
        self._lock = threading.Lock()
        self._kept: tuple[float, HardwareReport] | None = None

    def reply(self) -> SpecsReply:
        """The claim: hardware, what can be leased, what is free, on which terms."""
        settings = self._host.settings
        return SpecsReply(
            software=f"compute/{__version__}",
            hosts=(self._report(),),
            total=total(self._host.supply),
            free=self._manager.free(),
            terms=Terms(
                longest_lease_s=settings.longest_lease_s,
                internet=settings.internet,
                disk=self._host.disks.enforcement,
                builds=settings.images.builds,
                images=settings.images.references,
                ports=settings.extra_ports,
            ),
            default_image=self._host.image,
            images=self._images.held()[:MOST_IMAGES],
        )

    def _report(self) -> HardwareReport:
        with self._lock:
            now = time.monotonic()
            if self._kept is None or now - self._kept[0] > REPORT_AGE_S:
                self._kept = (now, self._host.hardware.report())
            return self._kept[1]
