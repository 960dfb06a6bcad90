"""The engine's own errors, turned into the product's: one place, one table."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import requests
import urllib3
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from compute.errors import Code, EngineError

# Words of the engine's message, lower case, to what they mean. First match wins.
_MEANINGS: tuple[tuple[str, Code], ...] = (
    ("port is already allocated", Code.PORT_TAKEN),
    ("address already in use", Code.PORT_TAKEN),
    ("no space left on device", Code.DISK_FULL),
    ("no such image", Code.IMAGE_MISSING),
    ("could not select device driver", Code.HOST_UNFIT),
    ("cannot assign requested address", Code.HOST_UNFIT),
    ("no available ipv4 addresses", Code.NO_CAPACITY),
)
_PATH = re.compile(r"(?:/[\w.@:+-]+){2,}")
_LONGEST = 300


def scrub(message: str) -> str:
    """An engine's message without paths and with bounded length: safe to send to a stranger."""
    return _PATH.sub("(path)", " ".join(message.split()))[:_LONGEST]


def meaning(message: str) -> Code:
    """What a message of the engine means."""
    low = message.lower()
    return next((code for words, code in _MEANINGS if words in low), Code.ENGINE_FAILED)


@contextmanager
def translated() -> Iterator[None]:
    """Raise `EngineError` for whatever the Docker SDK raises inside."""
    try:
        yield
    except ImageNotFound as error:
        raise EngineError(Code.IMAGE_MISSING, scrub(str(error.explanation or ""))) from error
    except APIError as error:
        message = str(error.explanation or error)
        raise EngineError(meaning(message), scrub(message)) from error
    except (
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,
        DockerException,
        OSError,
    ) as error:
        raise EngineError(Code.ENGINE_AWAY, type(error).__name__) from error


Parameters = ParamSpec("Parameters")
ResultT = TypeVar("ResultT")


def engine_call(call: Callable[Parameters, ResultT]) -> Callable[Parameters, ResultT]:
    """Decorate a method whose body talks to the engine."""

    @wraps(call)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> ResultT:
        with translated():
            return call(*args, **kwargs)

    return wrapper


@contextmanager
def missing_is_fine() -> Iterator[None]:
    """What is to be removed may be gone already."""
    try:
        yield
    except NotFound:
        return
