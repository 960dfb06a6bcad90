"""`python -m compute.adapters.engine.baseimage build`: make or find the base image by hand."""

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

import docker
from docker.errors import DockerException

from compute.adapters.engine.baseimage.build import ensure_base_image
from compute.adapters.engine.baseimage.image import BaseImage, BaseImageSettings
from compute.errors import Code, ComputeError, EngineError

_SIGNAL_STATUS = 128


def main(arguments: list[str]) -> int:
    """Run the command and return the exit status."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    settings = BaseImageSettings(
        state=options.state, base=options.base, use_registry=not options.no_registry
    )
    try:
        image = ensure_base_image(_connect(), settings, _say)
    except ComputeError as error:
        _say(error.diagnostics())
        return error.code.spec.exit_code
    except KeyboardInterrupt:
        return _SIGNAL_STATUS + signal.SIGINT
    _show(image, as_json=options.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="baseimage", description=__doc__)
    parser.add_argument("verb", choices=["build"], help="make it, or find it")
    parser.add_argument("--state", type=Path, required=True, help="the state folder")
    parser.add_argument("--base", help="image to build on, instead of the one for this machine")
    parser.add_argument("--no-registry", action="store_true", help="ask no image registry")
    parser.add_argument("--json", action="store_true", help="print the image as JSON")
    return parser


def _connect() -> docker.DockerClient:
    try:
        return docker.from_env()
    except DockerException as error:
        raise EngineError(Code.ENGINE_AWAY) from error


def _show(image: BaseImage, *, as_json: bool) -> None:
    _say(f"base image: {image.describe()}")
    if as_json:
        fields = {"id": image.id, "digest_ref": image.digest_ref, "base": image.base}
        fields |= {"origin": image.origin.name.lower(), "recipe": image.recipe}
        sys.stdout.write(json.dumps(fields) + "\n")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 -- a command's progress


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """Leave by an exception, so that what was begun is cleared away."""
    raise SystemExit(_SIGNAL_STATUS + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
