"""The command as a whole: its help, what it loads, how it fails, and what it completes."""

import inspect
import json
import os
import subprocess
import sys

import pytest

from compute.cli import main as command
from compute.cli.lazy import VerbGroup
from compute.cli.main import Verbs
from compute.errors import Code
from compute.renter.book import LeaseBook, LeaseRecord
from tests.command import COMMAND, ROOT, run, run_process

HEAVY = ("bittensor", "aiohttp", "paramiko", "numpy", "torch", "docker", "sqlalchemy", "structlog")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPUTE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "state"


def commands(group=None, prefix=()):
    """Every verb with its command and, inside a lazy group, its line of help."""
    for name, verb in (group or Verbs).verbs.items():
        found = (group or Verbs)(name="compute").loaded(name)
        yield (*prefix, name), found, verb.help
        if isinstance(found, VerbGroup):
            yield from commands(type(found), (*prefix, name))


@pytest.mark.parametrize(("path", "found", "line"), list(commands()), ids=lambda v: str(v)[:20])
def test_the_list_of_verbs_says_what_each_verb_says_itself(path, found, line):
    """The line in the group's help is the first sentence of the verb's own."""
    sentence = inspect.cleandoc(found.help).split("\n\n")[0].replace("\n", " ")
    assert sentence.split(". ")[0].rstrip(".") + "." == line, path


@pytest.mark.parametrize("path", [path for path, _, _ in commands()], ids="-".join)
def test_every_verb_explains_itself(path):
    """`--help` after any verb ends with 0, and says how it is used."""
    ran = run(*path, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert f"Usage: compute {' '.join(path)}" in ran.out


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["explain"], ["ps"], ["config", "get"], ["down", "-h"]]
)
def test_what_is_typed_often_loads_nothing_heavy(arguments, tmp_path):
    """Help, version, explain, ps and config import no chain, no HTTP, no SSH, no arrays."""
    code = (
        "import sys; from compute.cli.main import main\n"
        f"try: main({arguments!r})\n"
        f"except SystemExit: print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def complete(words: str, env: dict[str, str] | None = None) -> list[str]:
    """What a bash that completes a line would offer."""
    done = subprocess.run(
        COMMAND,
        cwd=ROOT,
        env={
            **os.environ,
            **(env or {}),
            "_COMPUTE_COMPLETE": "complete_bash",
            "COMP_WORDS": f"compute {words}",
            "COMP_CWORD": str(len(words.split(" "))),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_completion_knows_verbs_and_live_names(state, tmp_path):
    """Verbs by their beginning; names of leases that are not over, in the folder that was named."""
    book = LeaseBook(state)
    for name, ended in (("alive", False), ("archived", True)):
        book.open(
            LeaseRecord(
                name=name, miner="5M", address="1.2.3.4:5", idempotency_key="k" * 8, netuid=1,
                created_at=1.0, ended=ended,
            )
        )  # fmt: skip
    assert complete("re") == ["restart", "rekey", "receipts", "receipt"]
    assert complete("ssh a") == ["alive"]
    assert complete("cp a") == ["alive:"]
    assert complete(f"--state {tmp_path / 'elsewhere'} down a") == []
    assert "--dry-run" in complete("down --")
    assert complete("explain no_cap") == ["no_capacity"]
    assert complete("config get wallet.p") == ["wallet.path"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["ssh", "past"], ["exec", "past", "--", "id"], ["cp", "past:a", "b"],
        ["port-forward", "past", "80"], ["verify", "past"],
    ],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
def test_nobody_is_sent_into_a_lease_that_is_over(state, arguments):
    """Each verb that logs in says so by itself, and whom to ask, instead of a closed port."""
    held = {
        "lease_id": "a" * 32, "host": "192.0.2.1", "port": 22, "user": "root",
        "host_key": "ssh-ed25519 " + "A" * 68, "host_key_fingerprint": "SHA256:" + "A" * 43,
        "expires_at": 2.0,
    }  # fmt: skip
    LeaseBook(state).open(
        LeaseRecord(
            name="past", miner="5M", address="1.2.3.4:5", idempotency_key="k" * 8, netuid=1,
            created_at=1.0, credentials=held,
        )
    )  # fmt: skip
    told = run(*arguments[:1], "--json", *arguments[1:]).json("error")
    assert (told["code"], told["message"].endswith("past is over")) == ("lease_state", True)
    assert "compute show past" in told["hint"]


def test_hints_name_the_options_of_this_command(tmp_path):
    """Whoever follows a hint is understood: the neurons' names for the same are translated."""
    told = run("--wallet-path", str(tmp_path), "ls", "--json").json("error")
    assert told["code"] == "wallet_missing"
    assert "--wallet-path, --wallet and --hotkey" in told["hint"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "pwsh"])
def test_completion_scripts_call_the_command_back(shell):
    """Each shell's script sets the variable that asks for completion."""
    assert "_COMPUTE_COMPLETE" in run("completion", shell).out


def test_a_slip_of_the_finger_is_answered_with_a_guess():
    """An unknown verb is a usage error that names what may have been meant."""
    ran = run("shoe")
    assert ran.code == Code.USAGE.spec.exit_code
    assert "Did you mean 'show'" in ran.err


@pytest.mark.parametrize("where", [0, 1, 2])
def test_json_may_stand_anywhere(where):
    """People type --json where they think of it."""
    words = ["explain", "42"]
    words.insert(where, "--json")
    assert run(*words).json("explain")[0]["code"] == "image_missing"


def test_json_after_two_dashes_belongs_to_the_command():
    """What follows -- is not ours to read."""
    ran = run("exec", "nobody", "--", "prog", "--json")
    assert ran.out == ""
    assert "error: " in ran.err


def test_an_error_as_json_has_a_trace_of_its_own():
    """The envelope holds to its schema; each run has another trace id."""
    first, second = (run("show", "nobody", "--json").json("error") for _ in range(2))
    assert first["code"] == "lease_unknown"
    assert len(first["trace"]) == 32
    assert first["trace"] != second["trace"]


def test_a_defect_is_one_line_with_its_own_exit_code(monkeypatch):
    """An exception that nobody foresaw shows no traceback, unless one is asked for."""

    def broken(*_args, **_kwargs):
        raise ZeroDivisionError("by design")

    monkeypatch.setattr(command, "app", broken)
    ran = run("ps", "--json")
    assert (ran.code, ran.json("error")["code"]) == (1, "internal")
    monkeypatch.setenv("COMPUTE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run("ps")


def test_a_damaged_config_file_stops_only_who_needs_it(tmp_path):
    """Explain and version work; ps says what is wrong in one line."""
    file = tmp_path / "config" / "compute" / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("netuid: [")
    assert run("explain", "usage").code == 0
    assert run("version").code == 0
    ran = run("ps")
    assert ran.code == Code.USAGE.spec.exit_code
    assert len(ran.err.splitlines()) == 1


def test_a_reader_that_has_enough_is_no_error(tmp_path):
    """`compute explain | head -1` ends quietly."""
    line = f"{sys.executable} -m compute.cli.main explain | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_versions_and_schemas_are_data():
    """`version` and `schema` print documents; an unknown verb has no schema."""
    assert run("version", "--json").json("version")["compute"]
    listed = json.loads(run("schema", "--json").out)
    assert {"ls", "up", "error", "receipt verify"} <= set(listed)
    assert json.loads(run("schema", "receipt", "verify").out)["title"] == "receipt verify"
    assert run("schema", "ssh").code == Code.USAGE.spec.exit_code


def test_without_arguments_it_shows_its_help():
    """A bare `compute` helps."""
    ran = run()
    assert "Usage: compute" in ran.out + ran.err


def test_it_runs_as_a_module(tmp_path):
    """`python -m compute.cli.main` is the command."""
    ran = run_process("--version", env=os.environ)
    assert ran.out.startswith("compute ")
