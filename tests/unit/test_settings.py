"""Settings: flags over environment over YAML over defaults, and nothing unknown."""

import pytest

from compute.errors import Code, ComputeError
from compute.settings.loading import leaves, load, variable
from compute.settings.renter import CheckerSettings, RenterSettings


def read(argv=(), environ=None, **more):
    return load(RenterSettings, list(argv), prog="test", environ=environ or {}, **more)


def test_each_layer_overrides_the_one_below(tmp_path):
    """A flag beats the environment, which beats the file, which beats the default."""
    file = tmp_path / "config.yaml"
    file.write_text("netuid: 1\nwallet: {name: file, hotkey: file}\n")
    environ = {"COMPUTE_WALLET_NAME": "env", "COMPUTE_WALLET_PATH": "/env"}
    got = read(["--config", str(file), "--wallet.path", "/flag"], environ)
    assert (got.netuid, got.wallet.hotkey, got.wallet.name) == (1, "file", "env")
    assert str(got.wallet.path) == "/flag"
    assert got.subtensor.network == "finney"


@pytest.mark.parametrize(
    ("argv", "text", "says"),
    [
        (["--wallet.nmae", "x"], "", "--wallet.nmae"),
        (["--netuid", "many"], "", "--netuid"),
        (["--netuid", "70000"], "", "--netuid"),
        ([], "walet: {}", "no setting 'walet'"),
        ([], "wallet: {nmae: x}", "no setting 'wallet.nmae'"),
        ([], "[1, 2]", "not a mapping"),
        ([], "a: [", "not YAML"),
        (["--wallet.name", "x"], "wallet: 5", "not a mapping"),
    ],
)
def test_what_is_unknown_or_wrong_is_named(argv, text, says, tmp_path):
    """Every mistake is one usage error that names the setting."""
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ComputeError) as caught:
        read([*argv, "--config", str(file)])
    assert caught.value.code is Code.USAGE
    assert says in str(caught.value)


def test_a_missing_file_is_named_and_a_missing_fallback_is_not(tmp_path):
    """A file that was asked for must exist; the default one need not."""
    with pytest.raises(ComputeError, match=r"missing\.yaml"):
        read(["--config", str(tmp_path / "missing.yaml")])
    assert read(fallback=tmp_path / "missing.yaml").netuid == 27


def test_lists_and_switches_read_as_people_write_them():
    """Commas make lists; a bare switch is true, and `false` is false."""
    got = load(
        CheckerSettings,
        ["--miners", "1, 2,3", "--private_addresses", "--proof", "false"],
        prog="test",
        environ={},
    )
    assert got.miners == ("1", "2", "3")
    assert got.private_addresses
    assert not got.proof


def test_help_shows_every_flag_with_its_default_and_its_variable(capsys):
    """The help text names each flag's environment variable."""
    with pytest.raises(SystemExit):
        load(CheckerSettings, ["--help"], prog="test", environ={})
    text = " ".join(capsys.readouterr().out.split())
    for path, field in leaves(CheckerSettings):
        assert f"--{'.'.join(path)}" in text
        assert f"env {variable(path)}]" in text
        assert field.description
