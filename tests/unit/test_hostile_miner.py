"""What a lying miner answers never reaches the renter's machine, and never ends a probe."""

from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from compute.cli.sheet import Sheet
from compute.domain.hardware import Gpu
from compute.domain.requirement import Requirement
from compute.errors import Code, ProbeError, UsageError
from compute.probes import inside
from compute.probes.proof import classes_of
from compute.probes.report import Outcome
from compute.probes.steps import Steps, StopProbeError
from compute.protocol.synapses import Credentials

GOOD = {
    "lease_id": "a" * 32,
    "host": "203.0.113.9",
    "port": 22,
    "user": "root",
    "host_key": "ssh-ed25519 " + "A" * 68,
    "host_key_fingerprint": "SHA256:" + "a" * 43,
    "expires_at": 1.0,
}


@pytest.mark.parametrize(
    "changed",
    [
        {"host": "203.0.113.9\n    ProxyCommand touch x"},
        {"host": "localhost"},
        {"host": "a" * 70},
        {"user": "root\n    ProxyCommand id"},
        {"user": "-oProxyCommand=id"},
        {"user": ""},
        {"host_key": ""},
        {"host_key": "ssh-ed25519 AAAA\nMatch exec id"},
        {"host_key_fingerprint": "SHA256:\x1b[2J" + "a" * 40},
        {"password": "a\nb"},
        {"expires_at": float("inf")},
        {"port": 0},
    ],
)
def test_credentials_hold_nothing_but_what_they_say(changed):
    """Nothing that could become a line of an SSH configuration is taken for credentials."""
    assert Credentials.model_validate(GOOD).user == "root"
    with pytest.raises(ValidationError):
        Credentials.model_validate(GOOD | changed)


@pytest.mark.parametrize("error", [ValueError("x"), IndexError(), UnicodeError("y"), KeyError("z")])
async def test_whatever_a_miner_answers_fails_its_own_check(error):
    """An error that nobody foresaw is the miner's failure, not the probe's end."""
    steps = Steps()
    async with steps.step("odd"):
        raise error
    assert steps.checks[0].outcome is Outcome.FAIL
    assert steps.checks[0].code == Code.PEER_INVALID.spec.slug
    with pytest.raises(StopProbeError):
        async with steps.step("fatal", fatal=True):
            raise error


class Said:
    """A session in which every command prints the same."""

    def __init__(self, text: str) -> None:
        self._text = text

    def run(self, _command, **_more):
        """Answer anything alike."""
        return SimpleNamespace(exit_code=0, stdout=self._text, stderr="")


@pytest.mark.parametrize(
    "text", ["0, GPU-a, H100, \u00b2", f"0, GPU-a, H100, {10**20}", "0, GPU-a", "\x00", "0,GPU,H,1"]
)
def test_a_forged_driver_shows_no_gpu(text):
    """Lines that no driver writes count as no GPU at all."""
    assert inside.visible_gpus(Said(text)) == ()


@pytest.mark.parametrize(
    "text", [" cpus", "memory \u00b2", "memory " + "9" * 4000, "cpus\ncpus 1\n"]
)
def test_forged_limits_are_a_failure(text):
    """Whatever stands for the limits, the check fails and nothing else happens."""
    steps_note = type("Note", (), {"passed": lambda *_: None})()
    with pytest.raises(ProbeError) as caught:
        inside.limits(Said(text), Requirement(), steps_note)
    assert caught.value.code is Code.PROBE_LIMITS


def test_a_gpu_does_not_pass_as_a_processor():
    """A GPU that calls itself by the development class's name has no class."""
    forged = Gpu(index=0, uuid="GPU-x", model="cpu-dev", memory_mib=81_559)
    with pytest.raises(UsageError):
        classes_of((forged,))
    assert classes_of(())[0].development


def test_strangers_words_cannot_steer_the_terminal(capsys):
    """Escape sequences in a miner's strings are printed as blanks."""
    sheet = Sheet("MINER")
    sheet.add_row("nice\x1b]0;title\x07\x1b[2Jname")
    sheet.print()
    assert "\x1b" not in capsys.readouterr().out
