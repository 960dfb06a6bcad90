"""Finding the base image, or making it: from a registry's base, or from the machine's mirror."""

import contextlib
import fcntl
import io
import json
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, BuildError, DockerException, ImageNotFound

from compute.adapters.engine.baseimage import recipe as parts
from compute.adapters.engine.baseimage.bootstrap import bootstrap_archive
from compute.adapters.engine.baseimage.mirror import find_mirror
from compute.adapters.engine.baseimage.recipe import Recipe
from compute.adapters.engine.baseimage.registry import registry_answers
from compute.errors import Code, EngineError

REPOSITORY = "compute-base"
_IMPORT_TIMEOUT_S = 600
_BUILD_TIMEOUT_S = 1800


class Origin(Enum):
    """How a base image came to be."""

    REGISTRY = "built on a base from a registry"
    HELD = "built on a base that the engine held already"
    BOOTSTRAPPED = "bootstrapped from this machine's mirror"


@dataclass(frozen=True, slots=True)
class BaseImageSettings:
    """How to make the base image.

    Attributes:
        state: state folder; the image's record and kept archive go below `baseimage/`.
        base: reference to start from; None: PyTorch where GPUs are, else slim Debian.
        gpu: whether GPUs are present; None: look.
        use_registry: whether a registry may be asked at all.
    """

    state: Path
    base: str | None = None
    gpu: bool | None = None
    use_registry: bool = True

    @property
    def folder(self) -> Path:
        """Where the record and the archive lie."""
        return self.state / "baseimage"

    def recipe(self) -> Recipe:
        """The recipe that these settings ask for."""
        gpu = parts.gpu_present() if self.gpu is None else self.gpu
        return Recipe(self.base or parts.default_base(gpu=gpu))


@dataclass(frozen=True, slots=True)
class BaseImage:
    """The image that leases start from.

    Attributes:
        id: `sha256:…` of the image's configuration; what containers are started from.
        digest_ref: a reference by digest where the image has one, else its id.
        origin: how it came to be.
        base: what it was made from: an image reference, or the release's code name.
        recipe: the recipe's SHA-256.
        built: whether this call made it.
    """

    id: str
    digest_ref: str
    origin: Origin
    base: str
    recipe: str
    built: bool

    def describe(self) -> str:
        """One line for a person."""
        verb = "made now" if self.built else "there already"
        return f"{self.id[:19]}, {verb}: {self.origin.value} ({self.base})"


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
        "label": f"{parts.LABEL_RECIPE}={recipe.digest}",
        "reference": f"{REPOSITORY}:{recipe.tag}",
    }
    found = client.api.images(filters=filters)
    return _read(found[0], recipe) if found else None


def _make(
    client: docker.DockerClient, settings: BaseImageSettings, progress: Callable[[str], None]
) -> BaseImage:
    recipe = settings.recipe()
    started = time.monotonic()
    origin = _obtain_base(client, recipe.base, settings, progress)
    if origin is Origin.BOOTSTRAPPED:
        _import_bootstrapped(client, recipe, settings, progress)
    else:
        progress(f"base image: building on {recipe.base}")
        _build_on(client, recipe, origin)
    image = find_base_image(client, recipe)
    if image is None:
        raise EngineError(Code.BUILD_FAILED, "the engine does not list the image just made")
    progress(f"base image: ready after {time.monotonic() - started:.0f} s")
    return BaseImage(**{**_fields(image), "built": True})


def _obtain_base(
    client: docker.DockerClient,
    base: str,
    settings: BaseImageSettings,
    progress: Callable[[str], None],
) -> Origin:
    """Have the base in the engine, or decide to do without one."""
    with contextlib.suppress(ImageNotFound):
        client.images.get(base)
        return Origin.HELD
    if not settings.use_registry or not registry_answers(client, base):
        progress("base image: no image registry answers")
        return Origin.BOOTSTRAPPED
    progress(f"base image: pulling {base}")
    try:
        client.api.pull(base)
        client.images.get(base)
    except DockerException as error:
        progress(f"base image: the pull failed ({type(error).__name__})")
        return Origin.BOOTSTRAPPED
    return Origin.REGISTRY


def _import_bootstrapped(
    client: docker.DockerClient,
    recipe: Recipe,
    settings: BaseImageSettings,
    progress: Callable[[str], None],
) -> None:
    mirror = find_mirror()
    archive = bootstrap_archive(recipe, mirror, settings.folder, progress)
    labels = _labels(recipe, Origin.BOOTSTRAPPED, mirror.suite)
    changes = [f"LABEL {key}={json.dumps(value)}" for key, value in labels.items()]
    changes += [f"EXPOSE {parts.SSH_PORT}", "WORKDIR /root"]
    changes += [f"ENTRYPOINT {json.dumps([parts.ENTRYPOINT])}", "CMD []"]
    progress("base image: importing")
    with _patient(client, _IMPORT_TIMEOUT_S):
        client.api.import_image(
            src=str(archive), repository=REPOSITORY, tag=recipe.tag, changes=changes
        )


def _build_on(client: docker.DockerClient, recipe: Recipe, origin: Origin) -> None:
    with _patient(client, _BUILD_TIMEOUT_S):
        try:
            client.images.build(
                fileobj=_context(recipe),
                custom_context=True,
                tag=f"{REPOSITORY}:{recipe.tag}",
                labels=_labels(recipe, origin, recipe.base),
                buildargs={
                    "BASE": recipe.base,
                    "PACKAGES": " ".join(parts.PACKAGES),
                    "PYTHON_PACKAGES": " ".join(parts.PYTHON_PACKAGES),
                },
                rm=True,
                forcerm=True,
            )
        except BuildError as error:
            lines = [str(entry.get("stream", "")).strip() for entry in error.build_log]
            words = " / ".join([line for line in lines if line][-2:])[-300:]
            raise EngineError(Code.BUILD_FAILED, f"{error.msg} ({words})") from error


def _context(recipe: Recipe) -> io.BytesIO:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name, content in sorted(recipe.files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(content))
    context.seek(0)
    return context


def _labels(recipe: Recipe, origin: Origin, base: str) -> dict[str, str]:
    return {
        parts.LABEL_MANAGED: "1",
        parts.LABEL_RECIPE: recipe.digest,
        parts.LABEL_ORIGIN: origin.name.lower(),
        parts.LABEL_BASE: base,
    }


def _read(listed: dict[str, Any], recipe: Recipe) -> BaseImage:
    labels = listed["Labels"]
    digests = [ref for ref in listed.get("RepoDigests") or [] if not ref.startswith("<none>")]
    return BaseImage(
        id=listed["Id"],
        digest_ref=digests[0] if digests else listed["Id"],
        origin=Origin[labels[parts.LABEL_ORIGIN].upper()],
        base=labels[parts.LABEL_BASE],
        recipe=recipe.digest,
        built=False,
    )


def _fields(image: BaseImage) -> dict[str, Any]:
    return {name: getattr(image, name) for name in BaseImage.__dataclass_fields__}


def _record(folder: Path, image: BaseImage) -> None:
    record = asdict(image) | {"origin": image.origin.name.lower(), "how": image.origin.value}
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
def _patient(client: docker.DockerClient, timeout_s: int) -> Iterator[None]:
    """Let the engine take its time over one long call."""
    before, client.api.timeout = client.api.timeout, timeout_s
    try:
        yield
    finally:
        client.api.timeout = before


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except APIError as error:
        raise EngineError(Code.ENGINE_FAILED, str(error.explanation or error)[:300]) from error
    except (DockerException, requests.RequestException) as error:
        raise EngineError(Code.ENGINE_AWAY, type(error).__name__) from error
