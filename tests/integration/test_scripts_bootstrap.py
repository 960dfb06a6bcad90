"""The bootstrap: what it finds, what it names, and that it does nothing twice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPTS = ("bootstrap", "engine", "test", "demo")


def shell(script: str, tmp_path: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a piece of shell with the scripts' functions loaded and a state folder of its own."""
    load = "; ".join(f". {CHECKOUT}/scripts/lib/{n}.sh" for n in ("common", "packages", "venv"))
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail; {load}; {script}"],
        env=os.environ | {"COMPUTE_STATE": str(tmp_path)} | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def make_venv(tmp_path: Path) -> Path:
    """A folder that looks like a virtual environment and has this Python."""
    folder = tmp_path / "venv"
    folder.mkdir(exist_ok=True)
    if not (folder / "bin").exists():
        (folder / "bin").symlink_to(Path(sys.executable).parent)
    return folder


@pytest.fixture
def fake_bin(tmp_path: Path):
    """A folder of programs that do what a line of shell says."""

    def make(**programs: str) -> str:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        for name, line in programs.items():
            path = folder / name
            path.write_text(f"#!/bin/bash\n{line}\n")
            path.chmod(0o755)
        return str(folder)

    return make


def test_missing_packages_are_named_where_they_cannot_be_installed(tmp_path: Path):
    """Without the right to install, one line names every missing package and how to get it."""
    done = shell("may_install() { false; }; install_packages docker.io debootstrap", tmp_path)
    assert done.returncode == 45
    assert done.stderr == (
        "error: missing: docker.io debootstrap."
        " Install: sudo apt-get install docker.io debootstrap\n"
    )


def test_only_what_is_missing_is_asked_for(tmp_path: Path):
    """A command that is there needs no package, whichever package it came from."""
    needs = "bash no-such-package-1\nno-such-command package-2\n/etc/passwd p3\n/no/file package-4"
    done = shell(f'missing_packages "{needs}"', tmp_path)
    assert done.stdout.split() == ["package-2", "package-4"]


def test_package_lists_are_fetched_only_when_needed(tmp_path: Path, fake_bin):
    """The lists are updated if the first try fails, and left alone if it works."""
    calls = tmp_path / "calls"
    fetched = tmp_path / "fetched"
    line = (
        f'echo "$*" >>{calls}; [ "${{FAIL:-}}" = 1 ] || exit 0; [ ! -e {fetched} ] || exit 0;'
        f' case "$*" in *update*) touch {fetched};; *) exit 100;; esac'
    )
    tools = fake_bin(**{"apt-get": line})
    path = f"{tools}:{os.environ['PATH']}"
    script = "may_install() { true; }; _lists_present() { true; }; install_packages one"

    assert shell(script, tmp_path, PATH=path).returncode == 0
    assert "update" not in calls.read_text()

    calls.unlink()
    assert shell(script, tmp_path, PATH=path, FAIL="1").returncode == 0
    kinds = ["update" if "update" in line else "install" for line in calls.read_text().splitlines()]
    assert kinds == ["install", "update", "install"]


def test_a_failed_installation_shows_the_log(tmp_path: Path, fake_bin):
    """When the package manager refuses, its own last words are shown with the status."""
    tools = fake_bin(**{"apt-get": "echo E: no such thing >&2; exit 100"})
    script = "may_install() { true; }; install_packages one"
    done = shell(script, tmp_path, PATH=f"{tools}:{os.environ['PATH']}")
    assert done.returncode == 45
    assert "E: no such thing" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")


def test_an_old_python_is_refused_by_name(tmp_path: Path, fake_bin):
    """A machine whose only Python is too old is told which one is needed."""
    tools = fake_bin(python3='[ "$1" = -V ] && echo Python 3.9.2; exit 1')
    for other in ("python3.11", "python3.12", "python3.13", "python3.14"):
        Path(tools, other).symlink_to("/bin/false")
    done = shell("find_python", tmp_path, PATH=f"{tools}:{os.environ['PATH']}")
    assert done.returncode == 45
    assert "Python 3.11 or newer is needed, found: Python 3.9.2" in done.stderr


def test_requirements_are_installed_once_and_again_when_they_change(tmp_path: Path):
    """The stamp of a finished installation saves the next one, until a pinned file differs."""
    wanted, done = tmp_path / "wanted.txt", tmp_path / "done"
    script = (
        f'venv={make_venv(tmp_path)}; reused=""; install_sample() {{ echo x >>{done}; }};'
        f" ensure_part sample {wanted}; echo reused:$reused"
    )
    outcomes = []
    for text in ("a==1", "a==1", "a==2"):
        wanted.write_text(text)
        outcomes.append(shell(script, tmp_path).stdout.strip())
    assert outcomes == ["reused:", "reused: sample", "reused:"]
    assert done.read_text().count("x") == 2


def test_a_failed_installation_is_tried_again(tmp_path: Path):
    """No stamp is left by an installation that failed."""
    wanted = tmp_path / "wanted.txt"
    wanted.write_text("a==1")
    script = (
        f'venv={make_venv(tmp_path)}; reused="";'
        f' install_sample() {{ echo broken pin >>"$log"; false; }};'
        f" ensure_part sample {wanted}"
    )
    for _ in range(2):
        failed = shell(script, tmp_path)
        assert failed.returncode == 1
        assert "broken pin" in failed.stderr
        assert "error: installing sample failed" in failed.stderr


def test_an_activated_environment_has_the_command_and_the_module(tmp_path: Path):
    """`compute` runs in any folder, and the SDK can be imported there."""
    packages, bin_ = tmp_path / "venv/lib/python3/site-packages", tmp_path / "venv/bin"
    for folder in (packages, bin_):
        folder.mkdir(parents=True)
    (bin_ / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (bin_ / "python").chmod(0o755)
    assert shell(f"venv={tmp_path}/venv; ensure_command", tmp_path).returncode == 0
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(
        [bin_ / "compute", "explain", "busy"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "busy" in ran.stdout
    assert (packages / "compute-checkout.pth").read_text() == f"{CHECKOUT}\n"


def test_a_borrowed_environment_is_left_alone(tmp_path: Path):
    """Nothing is written through a link into an environment that belongs to another checkout."""
    (tmp_path / "theirs" / "bin").mkdir(parents=True)
    (tmp_path / "venv").symlink_to(tmp_path / "theirs")
    assert shell(f"venv={tmp_path}/venv; ensure_command", tmp_path).returncode == 0
    assert list((tmp_path / "theirs" / "bin").iterdir()) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_works_from_anywhere(name: str, tmp_path: Path):
    """Scripts find their checkout by themselves and are sound shell."""
    path = CHECKOUT / "scripts" / name
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", str(path)], cwd=tmp_path, check=True)
    shown = shell('echo "$here"', tmp_path).stdout.strip()
    assert Path(shown) == CHECKOUT
