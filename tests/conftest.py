"""What every test may ask for: a home of its own, and a real container engine.

The engine is the one that `DOCKER_HOST` names, the system's, or a private one that is started
for the session and stopped after it.
"""

import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import docker
import pytest

from compute.adapters.engine.baseimage import BaseImage, BaseImageSettings, ensure_base_image
from compute.adapters.engine.private import hold_engine
from compute.testing.postgres import Postgres, postgres_programs, serving_postgres
from tests.scheduling import EnginesApart, Part, engine_shared, in_order, part_of

CHECKOUT = Path(__file__).resolve().parents[1]
_ENGINE_TIMEOUT_S = 120
_STATE = pytest.StashKey[Path]()
_STATE_NAME = "compute_state"
# Two signals closer together than this are one.
_INSIST_S = 1.0


def pytest_configure(config: pytest.Config) -> None:
    """Let SIGTERM end the session as Ctrl-C does; take our own variables off the environment.

    The scripts' `COMPUTE_STATE` is where the engine is, and must not become the state folder of
    every neuron that a test starts.
    """
    given = getattr(config, "workerinput", {}).get(_STATE_NAME)  # by the process that started us
    state = os.environ.pop("COMPUTE_STATE", str(CHECKOUT / ".state"))
    config.stash[_STATE] = Path(given or state)
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _Interrupt())


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell another process of this session what was taken off the environment."""
    node.workerinput[_STATE_NAME] = str(node.config.stash[_STATE])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> EnginesApart:
    """Where several processes run the tests, some stay together."""
    return EnginesApart(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    in_order(items)


class _Interrupt:
    """Interrupts once: whoever signals a whole process group is heard twice, a person insists."""

    def __init__(self) -> None:
        self._last_s = -math.inf

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        now_s = time.monotonic()
        insisting, self._last_s = now_s - self._last_s > _INSIST_S, now_s
        if insisting:
            raise KeyboardInterrupt


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home folder for the session, so that no test reads or writes the person's own."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def engine_state(pytestconfig: pytest.Config) -> Path:
    """The state folder of the session's engine and base image."""
    return pytestconfig.stash[_STATE]


@pytest.fixture(scope="module", autouse=True)
def turn(request: pytest.FixtureRequest, engine_state: Path) -> Iterator[None]:
    """The module's turn at the engine, where it uses one."""
    part = part_of(request.path)
    if part in {Part.OWN_ENGINES, Part.ENGINE, Part.SUBNETS}:
        with engine_shared(engine_state / "tests.lock", part):
            yield
    else:
        yield


@pytest.fixture(scope="session")
def docker_host(engine_state: Path, report_line: Callable[[str], None]) -> Iterator[str]:
    """Address of a real engine; `DOCKER_HOST` says the same to processes that tests start."""
    with (
        hold_engine(engine_state, os.environ, report_line) as found,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("DOCKER_HOST", found.docker_host)
        yield found.docker_host


@pytest.fixture(scope="session")
def engine_client(docker_host: str) -> Iterator[docker.DockerClient]:
    """A client of the session's engine."""
    client = docker.DockerClient(base_url=docker_host, timeout=_ENGINE_TIMEOUT_S)
    yield client
    client.close()


@pytest.fixture(scope="session")
def base_image(
    engine_client: docker.DockerClient, engine_state: Path, report_line: Callable[[str], None]
) -> BaseImage:
    """The base image in the session's engine, made if it is not there yet."""
    settings = BaseImageSettings(state=engine_state)
    return ensure_base_image(engine_client, settings, report_line)


@pytest.fixture(scope="session")
def report_line(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Prints a line past pytest's capture: preparing an engine may take minutes."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def write(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{line}", flush=True)  # noqa: T201 -- progress for a person

    return write


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of the session's own, where PostgreSQL is installed."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed here")
    with serving_postgres(programs) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, once for each kind that the product keeps its state in."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'deep' / 'state.sqlite'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url
