"""`compute config`: what is in force, where it comes from, and a file that stays good."""

import pytest
import yaml

from compute.errors import Code
from tests.command import run


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("COMPUTE_STATE", raising=False)
    return tmp_path / "compute" / "config.yaml"


def source(name: str) -> tuple[str, str]:
    found = run("config", "get", name, "--json").json("config get")[0]
    return found["value"], found["source"]


def test_what_is_set_is_in_force_and_says_where_it_is_from(file, monkeypatch):
    """Default, then file, then environment, then flag; the strongest wins."""
    assert source("wallet.name") == ("default", "default")
    set_ = run("config", "set", "wallet.name", "cold", "--json").json("config set")
    assert (set_["value"], set_["source"]) == ("cold", "file")
    assert source("wallet.name") == ("cold", "file")
    monkeypatch.setenv("COMPUTE_WALLET_NAME", "warm")
    assert source("wallet.name") == ("warm", "environment")
    flagged = run("--wallet", "hot", "config", "get", "wallet.name", "--json").json("config get")
    assert (flagged[0]["value"], flagged[0]["source"]) == ("hot", "flag")
    monkeypatch.delenv("COMPUTE_WALLET_NAME")
    assert (
        run("config", "unset", "wallet.name", "--json").json("config unset")["source"] == "default"
    )
    assert yaml.safe_load(file.read_text()) == {}


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("netuid", "5", {"netuid": 5}),
        ("private_addresses", "true", {"private_addresses": True}),
        ("wallet.hotkey", "12", {"wallet": {"hotkey": "12"}}),
        ("subtensor.network", "dev:/tmp/a: b", {"subtensor": {"network": "dev:/tmp/a: b"}}),
    ],
)
def test_values_are_written_as_what_they_are(file, name, value, stored):
    """Numbers, truth values and texts come back as such, texts of digits too."""
    assert run("config", "set", name, value).code == 0
    assert yaml.safe_load(file.read_text()) == stored
    assert source(name) == (value, "file")


@pytest.mark.parametrize(
    "arguments", [("set", "netuid", "-1"), ("set", "nope", "1"), ("unset", "nope"), ("get", "nope")]
)
def test_what_cannot_be_set_changes_nothing(file, arguments):
    """A wrong name or value is a usage error, and the file stays as it was."""
    run("config", "set", "netuid", "5")
    before = file.read_bytes()
    assert run("config", *arguments).code == Code.USAGE.spec.exit_code
    assert file.read_bytes() == before


def test_the_path_is_where_the_file_is(file):
    """`config path` names it, before it is there too."""
    assert run("config", "path", "--json").json("config path") == {
        "path": str(file),
        "exists": False,
    }
    assert run("config", "path").out == f"{file}\n"


def test_a_bare_get_lists_everything():
    """Every setting with its variable."""
    listed = run("config", "get", "--json").json("config get")
    assert {"netuid", "wallet.path", "subtensor.network"} <= {each["name"] for each in listed}
    assert "COMPUTE_NETUID" in run("config", "get").out
