"""Renting from Python, on a real miner: what docs/sdk.md says, and what it promises."""

import asyncio
import re
import subprocess
import sys
import time

import pytest

import compute
from compute.errors import Code, ComputeError, LeaseError, UsageError
from compute.testing.rig import Rig, RigPlan
from tests.command import ROOT, run

pytestmark = pytest.mark.engine
PAGE = ROOT / "docs" / "sdk.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def rig(tmp_path_factory, docker_host, base_image):
    with Rig(tmp_path_factory.mktemp("rig") / "r", docker_host, RigPlan(block_s=0.25)) as made:
        made.register("miner")
        made.register("validator", stake=10_000.0)
        made.provision.advance(made.plan.tempo + 1)
        made.wait_ready(made.start_miner(leases__leases_per_cpu="8"))
        yield made


@pytest.fixture(autouse=True)
def environment(rig, monkeypatch):
    """The renter's settings, where the command reads them too."""
    flags = rig.flags("validator") | {"state": str(rig.root / "renter")}
    for name, value in flags.items():
        monkeypatch.setenv("COMPUTE_" + name.replace(".", "_").upper(), value)
    monkeypatch.setenv("COMPUTE_PRIVATE_ADDRESSES", "true")


def states() -> list[str]:
    return [row["state"] for row in run("ps", "--all", "--refresh", "--json").json("ps")]


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda source: f"{len(source)} characters")
def test_the_examples_of_the_page_run(source, capsys):
    """Each block of docs/sdk.md, as it stands there; nothing stays leased."""
    exec(compile(source, str(PAGE), "exec"), {"__name__": "__main__"})  # noqa: S102 - our own page
    assert capsys.readouterr().out
    assert set(states()) <= {"ended"}


def test_there_are_examples():
    """The pattern above still finds them."""
    assert len(EXAMPLES) == 4


async def test_a_box_does_what_the_command_does(tmp_path):
    """Commands, files and operations; the book and the plain name know the lease meanwhile."""
    (tmp_path / "local").write_bytes(bytes(range(256)) * 5000)
    async with compute.rent(memory="256m", ttl="2m", ports=[8000], name="boxed") as box:
        assert (await box.run(["sh", "-c", "exit 3"])).exit_code == 3
        assert (await box.run("cat", stdin="in")).stdout == "in"
        await box.put(tmp_path / "local", "/root/it's here")
        assert await box.get("/root/it's here") == bytes(range(256)) * 5000
        with pytest.raises(LeaseError) as missing:
            await box.get("/no/such")
        assert missing.value.code is Code.NOT_FOUND
        before = box.expires_at
        assert round((await box.extend("1m")).expires_at - before) == 60
        assert round(box.expires_at - before) == 60
        assert (await box.pause()).state == "paused"
        assert (await box.unpause()).state == "active"
        await box.restart()
        assert (await box.run('test -e "/root/it\'s here"')).exit_code == 0
        assert "Accepted publickey" in await box.logs()
        assert box.address(22) != box.address(8000)
        with pytest.raises(UsageError):
            box.address(9999)
        listed = await asyncio.to_thread(run, "ps", "--json")
        assert [row["name"] for row in listed.json("ps")] == ["boxed"]
    assert box.record.ended


async def test_commands_run_at_the_same_time():
    """Four commands of a second take less than three."""
    async with compute.rent(memory="256m", ttl="2m") as box:
        await asyncio.gather(*(box.run("true") for _ in range(4)))  # connections are made once
        begun = time.monotonic()
        await asyncio.gather(*(box.run("sleep 1") for _ in range(4)))
        assert time.monotonic() - begun < 3


@pytest.mark.parametrize("way", ["an exception", "a cancelled task", "an early release"])
async def test_the_lease_is_given_back_whatever_happens(way):
    """What happened in the block is what comes out of it."""
    boxes = []

    async def work() -> None:
        async with compute.rent(memory="256m", ttl="2m") as box:
            boxes.append(box)
            if way == "an exception":
                raise ZeroDivisionError
            if way == "an early release":
                await box.release()
                return
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    while not boxes:
        await asyncio.sleep(0.05)
        assert not task.done() or boxes
    if way == "a cancelled task":
        task.cancel()
    expected = {"an exception": ZeroDivisionError, "a cancelled task": asyncio.CancelledError}
    if way in expected:
        with pytest.raises(expected[way]):
            await task
    else:
        await task
    assert boxes[0].record.ended


def test_a_kept_lease_stays_until_it_is_ended():
    """`keep=True` leaves it to its deadline; the command ends it."""
    with compute.rent(memory="256m", ttl="2m", keep=True, name="kept") as box:
        assert box.run("echo hi").stdout == "hi\n"
        assert box.status().state == "active"
    assert run("down", "kept", "--json").json("down") == [{"name": "kept", "state": "ended"}]


def test_a_refusal_leaves_nothing_behind():
    """What cannot be had raises its own error, before anything is leased or started."""
    before = states()
    with pytest.raises(ComputeError) as refused, compute.rent(memory="900g", ttl="1m"):
        pass
    assert refused.value.code is Code.NO_CAPACITY
    with pytest.raises(UsageError):
        compute.rent(ttl="soon")
    with pytest.raises(AttributeError):
        _ = compute.no_such_thing
    assert states() == before


async def test_a_rental_is_entered_once_at_a_time():
    """Two blocks on one object would share one lease."""
    rental = compute.rent(memory="256m", ttl="1m")
    async with rental:
        with pytest.raises(UsageError):
            await rental.__aenter__()


def test_the_package_itself_is_light():
    """Nothing of the renter's side is loaded by `import compute`."""
    code = "import sys, compute; print(sorted(m for m in sys.modules if m.startswith('compute')))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['compute']"
