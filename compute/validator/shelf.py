"""Published vectors as bytes in memory: computed once an epoch, never at a reader's request."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from compute.domain.publication import Publication
from compute.storage.evidence_weights import WeightsStore

KEPT = 64  # vectors held in memory; older ones come from the database


@dataclass(frozen=True, slots=True)
class Shelved:
    """One published vector.

    Attributes:
        sha256: its address, also its entity tag.
        body: the signed document as JSON.
    """

    sha256: str
    body: bytes


class WeightsShelf:
    """Where readers find vectors."""

    def __init__(self, store: WeightsStore) -> None:
        self._store = store
        self._latest: Shelved | None = None
        self._held: OrderedDict[str, Shelved] = OrderedDict()

    def put(self, publication: Publication) -> None:
        """Put the newest vector in front."""
        self._latest = self._hold(
            Shelved(publication.sha256, publication.model_dump_json().encode())
        )

    async def latest(self) -> Shelved | None:
        """The newest vector; None before the first."""
        if self._latest is None:
            document = await asyncio.to_thread(self._store.latest_document)
            if document is not None and self._latest is None:
                self.put(Publication.model_validate_json(document))
        return self._latest

    async def find(self, sha256: str) -> Shelved | None:
        """A vector by its address."""
        if (held := self._held.get(sha256)) is not None:
            return held
        document = await asyncio.to_thread(self._store.document, sha256)
        return None if document is None else self._hold(Shelved(sha256, document.encode()))

    def _hold(self, shelved: Shelved) -> Shelved:
        self._held[shelved.sha256] = shelved
        while len(self._held) > KEPT:
            self._held.popitem(last=False)
        return shelved
