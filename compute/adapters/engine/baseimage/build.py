"""Finding the base image by its recipe, or having it made, and recording where it came from."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException

from compute.adapters.engine.baseimage.image import (
    LABEL_BASE,
    LABEL_ORIGIN,
    LABEL_RECIPE,
    REPOSITORY,
    BaseImage,
    BaseImageSettings,
    Origin,
)
from compute.adapters.engine.baseimage.making import make_base_image
from compute.adapters.engine.baseimage.recipe import Recipe
from compute.errors import Code, EngineError


def ensure_base_image(
    client: docker.DockerClient,
    settings: BaseImageSettings,
    progress: Callable[[str], None] = lambda _line: None,
) -> BaseImage:
    """Find the base image by its recipe, or make it, and record where it came from.

    Raises:
        EngineError: `ENGINE_AWAY`, `ENGINE_FAILED`, `BUILD_FAILED`, or `HOST_UNFIT` if there is
            neither a registry nor a mirror to make it from.
    """
    recipe = settings.recipe()
    with _translated():
        image = find_base_image(client, recipe)
        if image is None:
            with _alone(settings.folder):
                image = find_base_image(client, recipe) or _make(client, settings, progress)
    _record(settings.folder, image)
    return image


def find_base_image(client: docker.DockerClient, recipe: Recipe) -> BaseImage | None:
    """The finished base image of this recipe, if the engine holds it."""
    # Images that renters build on this one inherit its labels, but not its name.
    filters = {
        "label": f"{LABEL_RECIPE}={recipe.digest}",
        "reference": f"{REPOSITORY}:{recipe.tag}",
    }
    found = client.api.images(filters=filters)
    return _read(found[0], recipe) if found else None


def _make(
    client: docker.DockerClient, settings: BaseImageSettings, progress: Callable[[str], None]
) -> BaseImage:
    started = time.monotonic()
    make_base_image(client, settings, progress)
    image = find_base_image(client, settings.recipe())
    if image is None:
        raise EngineError(Code.BUILD_FAILED, "the engine does not list the image just made")
    progress(f"base image: ready after {time.monotonic() - started:.0f} s")
    return replace(image, built=True)


def _read(listed: dict[str, Any], recipe: Recipe) -> BaseImage:
    labels = listed["Labels"]
    digests = [ref for ref in listed.get("RepoDigests") or [] if not ref.startswith("<none>")]
    return BaseImage(
        id=listed["Id"],
        digest_ref=digests[0] if digests else listed["Id"],
        origin=Origin[labels[LABEL_ORIGIN].upper()],
        base=labels[LABEL_BASE],
        recipe=recipe.digest,
        built=False,
    )


def _record(folder: Path, image: BaseImage) -> None:
    record = asdict(image) | {"origin": image.origin.name.lower(), "how": image.origin.value}
    del record["built"]  # true of one call, not of the image
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "image.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record, indent=2) + "\n")
    part.rename(path)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One maker at a time in this state folder; the next one finds what the first made."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except APIError as error:
        raise EngineError(Code.ENGINE_FAILED, str(error.explanation or error)[:300]) from error
    except (DockerException, requests.RequestException) as error:
        raise EngineError(Code.ENGINE_AWAY, type(error).__name__) from error
