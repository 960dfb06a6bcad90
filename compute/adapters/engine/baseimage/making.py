"""Making a base image: on a base that a registry serves, or from the machine's mirror."""

import contextlib
import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator

import docker
from docker.errors import BuildError, DockerException, ImageNotFound

from compute.adapters.engine.baseimage.bootstrap import bootstrap_archive
from compute.adapters.engine.baseimage.image import (
    LABEL_BASE,
    LABEL_MANAGED,
    LABEL_ORIGIN,
    LABEL_RECIPE,
    REPOSITORY,
    BaseImageSettings,
    Origin,
)
from compute.adapters.engine.baseimage.mirror import find_mirror
from compute.adapters.engine.baseimage.recipe import (
    ENTRYPOINT,
    PACKAGES,
    PYTHON_PACKAGES,
    SSH_PORT,
    Recipe,
)
from compute.adapters.engine.baseimage.registry import registry_answers
from compute.errors import Code, EngineError

_PULL_TIMEOUT_S = 300  # without a word from the engine
_SAY_EVERY_S = 15.0
_MIB = 2**20
_IMPORT_TIMEOUT_S = 600
_BUILD_TIMEOUT_S = 1800


def make_base_image(
    client: docker.DockerClient, settings: BaseImageSettings, progress: Callable[[str], None]
) -> None:
    """Make the base image from the best base that can be had.

    Raises:
        EngineError: `BUILD_FAILED`, or `HOST_UNFIT` if there is neither registry nor mirror.
        DockerException: the engine refuses, or is away.
    """
    recipe = settings.recipe()
    origin = _obtain_base(client, recipe.base, settings, progress)
    if origin is Origin.BOOTSTRAPPED:
        _import_bootstrapped(client, recipe, settings, progress)
    else:
        progress(f"base image: building on {recipe.base}")
        _build_on(client, recipe, origin)


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
        with _patient(client, _PULL_TIMEOUT_S):
            _pull(client, base, progress)
        client.images.get(base)
    except DockerException as error:
        if settings.base:  # somebody asked for this one and no other
            raise EngineError(
                Code.IMAGE_MISSING, f"{base}: {error}"[:300], hint="name a base that can be pulled"
            ) from error
        progress(f"base image: the pull failed ({type(error).__name__})")
        return Origin.BOOTSTRAPPED
    return Origin.REGISTRY


def _pull(client: docker.DockerClient, reference: str, progress: Callable[[str], None]) -> None:
    """Pull an image; a large one takes minutes, so say now and then how far it is.

    Raises:
        DockerException: the registry or the engine refuses, or is away.
    """
    got: dict[str, tuple[int, int]] = {}
    said, said_s = 0, time.monotonic()
    for event in client.api.pull(reference, stream=True, decode=True):
        if "error" in event:
            raise DockerException(event["error"])
        detail = event.get("progressDetail") or {}
        if event.get("status") == "Downloading" and detail.get("total"):
            got[event["id"]] = (detail["current"], detail["total"])
        done, total = (sum(sizes[i] for sizes in got.values()) // _MIB for i in (0, 1))
        if done > said and time.monotonic() - said_s > _SAY_EVERY_S:
            said, said_s = done, time.monotonic()
            progress(f"base image: pulled {done} of {total} MiB")


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
    changes += [f"EXPOSE {SSH_PORT}", "WORKDIR /root"]
    changes += [f"ENTRYPOINT {json.dumps([ENTRYPOINT])}", "CMD []"]
    progress("base image: importing")
    with _patient(client, _IMPORT_TIMEOUT_S):
        client.api.import_image(
            src=str(archive), repository=REPOSITORY, tag=recipe.tag, changes=changes
        )


def _build_on(client: docker.DockerClient, recipe: Recipe, origin: Origin) -> None:
    base = client.images.get(recipe.base)
    digests = base.attrs.get("RepoDigests") or [f"@{base.id}"]
    pinned = f"{recipe.base.partition('@')[0]}@{digests[0].rpartition('@')[2]}"
    with _patient(client, _BUILD_TIMEOUT_S):
        try:
            client.images.build(
                fileobj=_context(recipe),
                custom_context=True,
                tag=f"{REPOSITORY}:{recipe.tag}",
                labels=_labels(recipe, origin, pinned),
                buildargs={
                    "BASE": str(base.id),
                    "PACKAGES": " ".join(PACKAGES),
                    "PYTHON_PACKAGES": " ".join(PYTHON_PACKAGES),
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
        LABEL_MANAGED: "1",
        LABEL_RECIPE: recipe.digest,
        LABEL_ORIGIN: origin.name.lower(),
        LABEL_BASE: base,
    }


@contextlib.contextmanager
def _patient(client: docker.DockerClient, timeout_s: int) -> Iterator[None]:
    """Let the engine take its time over one long call."""
    before, client.api.timeout = client.api.timeout, timeout_s
    try:
        yield
    finally:
        client.api.timeout = before
