"""The private engine: it works beside others, is shared safely, and leaves nothing behind."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from compute.adapters.engine.private import (
    Layout,
    Origin,
    PrivateEngine,
    Started,
    find_existing,
    hold_engine,
    processes,
    storage,
)
from compute.errors import Code, EngineError

CHECKOUT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="a private engine needs root"),
]
# Starts a command as a terminal would, even where the tests run under nohup or in the background.
HEARING = (
    "import os, signal, sys\n"
    "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):\n"
    "    signal.signal(number, signal.SIG_DFL)\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)
# A shell that hears nothing, as a tenant's might.
STUBBORN = ["/bin/sh", "-c", "trap '' TERM INT HUP; while :; do sleep 0.2; done"]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder whose engine is stopped whatever happens."""
    yield tmp_path
    PrivateEngine(tmp_path).stop()


def connect(engine: PrivateEngine) -> docker.DockerClient:
    return docker.DockerClient(base_url=engine.docker_host, timeout=60)


def import_tiny(client: docker.DockerClient) -> str:
    """Import an image of this host's own shell and sleep, and return its id."""
    programs = [Path(shutil.which(name) or name).resolve() for name in ("sh", "sleep", "cat")]
    listing = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    libraries = {Path(name) for name in re.findall(r"(/\S+)(?= \(0x)", listing)}
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", dereference=True) as archive:
        for program, name in zip(programs, ("sh", "sleep", "cat"), strict=True):
            archive.add(program, arcname=f"bin/{name}")
        for library in libraries:
            archive.add(library.resolve(), arcname=str(library).lstrip("/"))
    client.api.import_image_from_data(data.getvalue(), repository="tiny", tag="1")
    return str(client.images.get("tiny:1").id)


def traces(layout: Layout) -> dict[str, list[str]]:
    """Everything of this engine that the machine can show."""
    links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True)
    rules = "".join(
        subprocess.run([tool], capture_output=True, text=True, check=False).stdout
        for tool in ("iptables-save", "ip6tables-save")
    )
    return {
        "processes": [str(pid) for pid in processes.engine_processes(layout)],
        "container processes": [str(pid) for pid in processes.container_processes(layout)],
        "mounts": [str(p) for p in storage.mounts_below(layout.root, layout.run)],
        "links": [line for line in links.stdout.splitlines() if layout.ident in line],
        "rules": [line for line in rules.splitlines() if layout.ident in line],
        "cgroups": [str(p) for p in Path("/sys/fs/cgroup").glob(f"**/compute-{layout.ident}")],
        "run folder": [str(layout.run)] if layout.run.exists() else [],
    }


def nothing() -> dict[str, list[str]]:
    kinds = ("processes", "container processes", "mounts", "links", "rules", "cgroups")
    return {kind: [] for kind in (*kinds, "run folder")}


def test_stop_leaves_nothing_of_running_paused_and_networked_containers(state: Path):
    """Containers that ignore TERM, are paused or have networks and ports are all ended."""
    engine = PrivateEngine(state)
    engine.acquire()
    client = connect(engine)
    image = import_tiny(client)
    client.containers.run(image, STUBBORN, detach=True, restart_policy={"Name": "always"})
    client.containers.run(image, STUBBORN, detach=True).pause()
    net = client.networks.create("apart")
    client.containers.run(
        image, STUBBORN, detach=True, network="apart", ports={"22/tcp": ("127.0.0.1", None)}
    )
    bridge = f"br-{net.id[:12]}"
    assert len(traces(engine.layout)["container processes"]) >= 3
    assert f"{bridge}:" in Path("/proc/net/dev").read_text()
    client.close()

    begun = time.monotonic()
    assert engine.release()

    assert time.monotonic() - begun < 15
    assert traces(engine.layout) == nothing()
    assert f"{bridge}:" not in Path("/proc/net/dev").read_text()


def test_starting_again_finds_the_images_but_no_containers(state: Path):
    """The second start uses the first one's data, from which stopped containers are gone."""
    engine = PrivateEngine(state)
    assert engine.acquire() is Started.FRESH
    client = connect(engine)
    image = import_tiny(client)
    client.containers.run(image, ["/bin/sleep", "0"], detach=True)
    client.networks.create("apart")
    client.close()
    engine.release()

    assert engine.acquire() is Started.AGAIN
    client = connect(engine)
    assert client.images.get(image).id == image
    assert client.containers.list(all=True) == []
    assert [net.name for net in client.networks.list() if net.name == "apart"] == []
    client.close()


def test_a_killed_engine_is_healed_by_the_next_start(state: Path):
    """After SIGKILL of both daemons a start ends the orphaned containers and works again."""
    engine = PrivateEngine(state)
    engine.acquire()
    client = connect(engine)
    image = import_tiny(client)
    container = client.containers.run(image, STUBBORN, detach=True)
    container.reload()
    orphan = container.attrs["State"]["Pid"]
    client.close()
    for name in (engine.layout.pid_file, engine.layout.containerd_pid_file):
        os.kill(int(name.read_text()), signal.SIGKILL)

    second = PrivateEngine(state)
    assert second.acquire() is Started.AGAIN

    assert not Path(f"/proc/{orphan}").exists()
    client = connect(second)
    client.containers.run(image, ["/bin/sleep", "0"])
    client.close()


def test_stop_clears_what_a_killed_engine_left(state: Path):
    """With both daemons dead, stop still finds the orphaned container and its network's bridge."""
    engine = PrivateEngine(state)
    engine.acquire()
    client = connect(engine)
    bridge = f"br-{client.networks.create('apart').id[:12]}"
    client.containers.run(import_tiny(client), STUBBORN, detach=True, network="apart")
    client.close()
    for name in (engine.layout.pid_file, engine.layout.containerd_pid_file):
        os.kill(int(name.read_text()), signal.SIGKILL)
    assert f"{bridge}:" in Path("/proc/net/dev").read_text()

    engine.stop()

    assert traces(engine.layout) == nothing()
    assert f"{bridge}:" not in Path("/proc/net/dev").read_text()


def test_the_last_holder_stops_the_engine(state: Path):
    """Two holders share one engine; it stops when the second lets go, not before."""
    first, second = PrivateEngine(state), PrivateEngine(state)
    assert first.acquire() is Started.FRESH
    assert second.acquire() is Started.RUNNING
    assert not first.release()
    assert second.running()
    assert second.release()
    assert not second.running()


def test_what_a_killed_holder_left_is_cleared_before_the_next(state: Path):
    """A container of a holder that was killed does not show up in the next holder's engine."""
    first = PrivateEngine(state)
    first.acquire()
    client = connect(first)
    container = client.containers.run(import_tiny(client), STUBBORN, detach=True)
    assert first._hold is not None
    os.close(first._hold)  # what the kernel does when the holder dies

    second = PrivateEngine(state)
    assert second.acquire() is Started.AGAIN
    with pytest.raises(docker.errors.NotFound):
        client.containers.get(container.id)
    client.close()


def test_a_kept_engine_outlives_its_holders(state: Path):
    """An engine that was started to stay is not stopped by somebody who only used it."""
    engine = PrivateEngine(state)
    engine.keep()
    assert engine.acquire() is Started.RUNNING
    assert not engine.release()
    assert engine.running()
    engine.stop()
    assert traces(engine.layout) == nothing()


def test_two_engines_do_not_disturb_each_other(tmp_path: Path):
    """Starting and stopping one engine costs the other neither containers nor firewall rules."""
    one, other = PrivateEngine(tmp_path / "one"), PrivateEngine(tmp_path / "other")
    with other:
        client = connect(other)
        container = client.containers.run(
            import_tiny(client), STUBBORN, detach=True, network=client.networks.create("n").name
        )
        rules = traces(other.layout)["rules"]
        with one:
            blocks = {json.loads(e.layout.record.read_text())["block"] for e in (one, other)}
            assert len(blocks) == 2
        assert traces(one.layout) == nothing()
        assert sorted(traces(other.layout)["rules"]) == sorted(rules) != []
        container.reload()
        assert container.status == "running"
        client.close()
    assert traces(other.layout) == nothing()


def test_hundreds_of_networks_fit(state: Path):
    """The engine's address pools do not end at the thirty-first network."""
    with PrivateEngine(state) as engine:
        client = connect(engine)
        for number in range(40):
            client.networks.create(f"n{number}")
        assert len(client.networks.list()) == 43
        client.close()


def test_the_host_is_put_back_as_it_was(tmp_path: Path):
    """In a network of its own, no chain, policy or forwarding survives the last engine."""
    program = f"""
import subprocess
from pathlib import Path
from compute.adapters.engine.private import PrivateEngine
def look():
    tools = [("iptables", "-S"), ("ip6tables", "-S"), ("iptables", "-t", "nat", "-S")]
    shown = [subprocess.run(t, capture_output=True, text=True).stdout for t in tools]
    return [*shown, Path("/proc/sys/net/ipv4/ip_forward").read_text()]
before = look()
with PrivateEngine(Path({str(tmp_path)!r})):
    during = look()
print("changed", before != during, "restored", before == look())
"""
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", program],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.strip() == "changed True restored True", done.stderr


def test_a_broken_engine_says_why(state: Path):
    """If the daemon cannot start, the error carries its last words, and nothing stays."""
    layout = Layout.of(state)
    layout.root.mkdir()
    layout.record.write_text(json.dumps({"block": "10.64.0.0/16", "driver": "no-such-driver"}))
    with pytest.raises(EngineError) as caught:
        PrivateEngine(state).acquire()
    assert caught.value.code is Code.ENGINE_FAILED
    assert "driver not supported" in caught.value.detail
    assert str(layout.log) in caught.value.hint
    assert traces(layout) == nothing()


def test_a_named_engine_is_used_and_never_stopped(state: Path):
    """`DOCKER_HOST` comes first, and the engine that it names survives its use."""
    with PrivateEngine(state) as engine:
        environ = {"DOCKER_HOST": engine.docker_host}
        with hold_engine(state / "unused", environ) as found:
            assert found.origin is Origin.NAMED
            assert found.docker_host == engine.docker_host
        assert engine.running()
    assert not (state / "unused").exists()


def test_a_named_engine_that_is_away_is_an_error():
    """A `DOCKER_HOST` where nobody answers is never silently replaced."""
    with pytest.raises(EngineError) as caught:
        find_existing({"DOCKER_HOST": "unix:///nonexistent/docker.sock"})
    assert caught.value.code is Code.ENGINE_AWAY


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 7), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_command_first_and_the_engine_after(
    state: Path, number: signal.Signals, status: int
):
    """`engine run` passes a signal on, waits, stops the engine and keeps the status."""
    child = (
        "import signal, sys, time, pathlib\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(7))\n"
        f"pathlib.Path({str(state / 'ready')!r}).touch()\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", HEARING]
    command += [sys.executable, "-m", "compute.adapters.engine.private", "run"]
    environ = {key: value for key, value in os.environ.items() if key != "DOCKER_HOST"}
    runner = subprocess.Popen(
        [*command, "--state", str(state), "--", sys.executable, "-c", child],
        cwd=CHECKOUT,
        env=environ,
        start_new_session=True,
    )
    deadline = time.monotonic() + 30
    while not (state / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert PrivateEngine(state).running()

    runner.send_signal(number)

    assert runner.wait(timeout=20) == status
    assert traces(Layout.of(state)) == nothing()


def test_a_command_keeps_its_own_exit_status(state: Path):
    """`engine run` ends with the status of the command, which sees `DOCKER_HOST`."""
    environ = {key: value for key, value in os.environ.items() if key != "DOCKER_HOST"}
    done = subprocess.run(
        ["scripts/engine", "run", "--", "sh", "-c", 'test -S "${DOCKER_HOST#unix://}" && exit 23'],
        cwd=CHECKOUT,
        env=environ | {"COMPUTE_STATE": str(state)},
        check=False,
        timeout=60,
    )
    assert done.returncode == 23
