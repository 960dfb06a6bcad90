"""The images that this product has put on an engine, who uses them, and how they go.

Only labelled images are ever seen here; what an operator pulled or built himself is not ours.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import ImageNotFound
from docker.utils import kwargs_from_env

from compute.adapters.engine.baseimage.image import LABEL_BASE, LABEL_MANAGED, LABEL_ORIGIN
from compute.adapters.engine.faults import engine_call, translated

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class OwnImage:
    """One labelled image.

    Attributes:
        id: `sha256:…`.
        references: names with tag or digest.
        base: what it was made from.
        origin: how it came to be.
        containers: how many containers, in any state, were made from it.
        children: how many images were built on it.
    """

    id: str
    references: tuple[str, ...]
    size_mib: int
    created_at: float
    base: str
    origin: str
    containers: int
    children: int


class OwnImages:
    """The labelled images of an engine.

    Args:
        url: of its API; empty takes `DOCKER_HOST`, else the system's socket.
        timeout_s: for one call.
    """

    def __init__(self, url: str = "", timeout_s: int = 60) -> None:
        options = {"base_url": url} if url else kwargs_from_env()
        with translated():
            self._api: Any = docker.APIClient(**options, version="auto", timeout=timeout_s)

    @engine_call
    def all(self) -> tuple[OwnImage, ...]:
        """Every labelled image, newest first."""
        used = Counter(row["ImageID"] for row in self._api.containers(all=True))
        rows = self._api.images(filters={"label": [LABEL_MANAGED]})
        parents = Counter(row.get("ParentId", "") for row in self._api.images(all=True))
        return tuple(
            OwnImage(
                id=row["Id"],
                references=tuple(
                    name
                    for name in (*(row["RepoTags"] or ()), *(row["RepoDigests"] or ()))
                    if "<none>" not in name
                ),
                size_mib=row["Size"] // MIB,
                created_at=row["Created"],
                base=row["Labels"].get(LABEL_BASE, ""),
                origin=row["Labels"].get(LABEL_ORIGIN, ""),
                containers=used[row["Id"]],
                children=parents[row["Id"]],
            )
            for row in sorted(rows, key=lambda row: -row["Created"])
        )

    @engine_call
    def remove(self, image: OwnImage) -> None:
        """Remove an image with all its names; one that is gone already is no error.

        Raises:
            EngineError: `ENGINE_FAILED` when something uses it after all.
        """
        for name in image.references or (image.id,):
            try:
                self._api.remove_image(name)
            except ImageNotFound:
                continue

    def close(self) -> None:
        """Let go of connections."""
        self._api.close()
