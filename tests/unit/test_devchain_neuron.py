"""One neuron's way to a chain: its network's name, its wallet, and what failures are called."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import bittensor as bt
import pytest

from compute.adapters.chain import SdkChain, Timeouts, make_wallet, open_wallet, parse_network
from compute.adapters.chain.devchain import SubnetParams, storage
from compute.adapters.chain.devchain.__main__ import main
from compute.adapters.chain.failures import translate
from compute.adapters.chain.network import DevNetwork, SdkNetwork, open_client
from compute.errors import ChainError, Code, ComputeError, UsageError, WalletError
from compute.testing.chain import DevHost, DevWallet

# Networks ---------------------------------------------------------------------------------


def test_dev_is_a_file_in_the_state_folder(monkeypatch: pytest.MonkeyPatch):
    """Without a path, the development chain has its fixed place."""
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert parse_network("dev") == DevNetwork(Path("/state/compute/devchain.sqlite"))
    assert parse_network("dev:/x/c.sqlite") == DevNetwork(Path("/x/c.sqlite"))


@pytest.mark.parametrize("name", ["finney", "test", "local", "ws://10.0.0.1:9944", "wss://x"])
def test_other_names_are_the_sdks(name: str):
    """Every network of the SDK goes to it as it is."""
    assert parse_network(name) == SdkNetwork(name)


@pytest.mark.parametrize("name", ["", "fnney", "dev:", "http://x", "development"])
def test_a_wrong_name_is_told_at_once(name: str):
    """A typing error is a usage error, before anything connects."""
    with pytest.raises(UsageError):
        SdkChain(name, 1, DevWallet("//Alice"))


async def test_a_development_chain_leaves_no_trace_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The SDK's cache of token symbols never learns about a development chain."""
    cache = tmp_path / "symbols.json"
    monkeypatch.setenv("BTCLI_TOKEN_SYMBOLS_CACHE", str(cache))
    host = DevHost(tmp_path, SubnetParams())
    async with open_client(host.network) as client:
        assert await client.subnets.metagraph(1) is not None
    assert not cache.exists()


# Wallets ----------------------------------------------------------------------------------


def test_a_made_wallet_opens_without_a_question(tmp_path: Path):
    """Keys made for development have no password, and making them again changes nothing."""
    made = make_wallet(tmp_path, "cold", "hot")
    opened = open_wallet(tmp_path, "cold", "hot")
    assert opened.hotkey.ss58_address == made.hotkey.ss58_address
    again = make_wallet(tmp_path, "cold", "hot")
    assert again.coldkeypub.ss58_address == made.coldkeypub.ss58_address
    other = make_wallet(tmp_path, "cold", "other")
    assert other.coldkeypub.ss58_address == made.coldkeypub.ss58_address
    assert other.hotkey.ss58_address != made.hotkey.ss58_address


def _absent(_folder: Path) -> None:
    """Nothing is there."""


def _damaged(folder: Path) -> None:
    make_wallet(folder, "cold", "hot").hotkey_file._write_data(b"nonsense", overwrite=True)


@pytest.mark.parametrize("prepare", [_absent, _damaged])
def test_a_hotkey_that_cannot_be_used_is_told_with_a_hint(
    tmp_path: Path, prepare: Callable[[Path], None]
):
    """Missing or damaged: one error with a hint, and nobody is asked for anything."""
    prepare(tmp_path)
    with pytest.raises(WalletError) as caught:
        open_wallet(tmp_path, "cold", "hot")
    assert caught.value.code is Code.WALLET_MISSING
    assert str(tmp_path) not in caught.value.diagnostics()


def test_an_encrypted_hotkey_opens_with_the_sdks_variable_only(tmp_path: Path):
    """Nobody is asked for a password: it comes from the environment, or there is an error."""
    wallet = bt.Wallet("cold", "hot", path=str(tmp_path))
    wallet.create_new_hotkey(hotkey_password="secret", suppress=True)
    variable = wallet.hotkey_file.env_var_name()
    with pytest.raises(WalletError, match="encrypted"):
        open_wallet(tmp_path, "cold", "hot")
    try:
        os.putenv(variable, "?")
        with pytest.raises(WalletError, match="cannot be opened"):
            open_wallet(tmp_path, "cold", "hot")
        wallet.hotkey_file.save_password_to_env("secret")
        assert open_wallet(tmp_path, "cold", "hot").hotkey.ss58_address
    finally:
        os.unsetenv(variable)


@pytest.mark.parametrize("name", ["", "..", "a/b", "../../etc"])
def test_a_name_never_leads_out_of_the_folder(tmp_path: Path, name: str):
    """A wallet's name is a name, not a path."""
    with pytest.raises(WalletError):
        open_wallet(tmp_path, name, "hot")
    with pytest.raises(WalletError):
        make_wallet(tmp_path, "cold", name)


async def test_a_neuron_works_on_when_its_key_file_is_gone(tmp_path: Path):
    """Signing never goes back to the disk, where a locked key would ask for a password."""
    wallet = make_wallet(tmp_path / "w", "cold", "hot")
    host = DevHost(tmp_path, SubnetParams())
    address = wallet.hotkey.ss58_address
    host.provision.fund(wallet.coldkeypub.ss58_address, 1)
    host.provision.register(1, address, wallet.coldkeypub.ss58_address)
    chain = SdkChain(host.network, 1, open_wallet(tmp_path / "w", "cold", "hot"))
    (tmp_path / "w").rename(tmp_path / "elsewhere")
    await chain.serve_axon("127.0.0.2", 1)
    await chain.close()


async def test_a_chain_without_certificates_has_neurons_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """TLS is optional: where the chain has no place for fingerprints, axons are plain."""
    item = ("SubtensorModule", "NeuronCertificates")
    monkeypatch.delitem(storage.VALUES, item)
    monkeypatch.delitem(storage.MAPS, item)
    host = DevHost(tmp_path, SubnetParams())
    chain = SdkChain(host.network, 1, host.registered("//Bob"))
    await chain.serve_axon("127.0.0.2", 1)
    (neuron,) = (await chain.metagraph()).neurons
    assert (neuron.axon, neuron.certificate_sha256) == ("127.0.0.2:1", None)
    await chain.close()


# Failures ---------------------------------------------------------------------------------


def _broken_off() -> bt.ChainError:
    """What the SDK raises when the connection breaks while a transaction is under way."""
    error = bt.ChainError("connection lost")
    error.__cause__ = ConnectionResetError()
    return error


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (bt.ChainError("x", "SettingWeightsTooFast"), Code.CHAIN_RATE_LIMITED),
        (bt.ChainError("x", "HotKeyNotRegisteredInSubNet"), Code.NOT_REGISTERED),
        (bt.ChainError("x", "SubnetNotExists"), Code.SUBNET_MISSING),
        (bt.ChainError("x", "NeuronNoValidatorPermit"), Code.CHAIN_REFUSED),
        (bt.ChainError("never heard of it"), Code.CHAIN_REFUSED),
        (bt.BittensorError("All weights are zero"), Code.CHAIN_REFUSED),
        (bt.PolicyError(["no"]), Code.CHAIN_REFUSED),
        (bt.RpcConnectionError("wss://user:key@host failed"), Code.CHAIN_AWAY),
        (ConnectionRefusedError(), Code.CHAIN_AWAY),
        (TimeoutError(), Code.CHAIN_AWAY),
        (_broken_off(), Code.CHAIN_AWAY),
    ],
)
def test_each_failure_of_the_sdk_has_one_code(raised: Exception, code: Code):
    """The product's own codes, whatever the SDK calls it; no address of an endpoint gets out."""
    error = translate(raised)
    assert error.code is code
    assert "key@host" not in error.diagnostics()


async def test_an_endpoint_that_refuses_is_away():
    """No node at the other end: one clear error."""
    chain = SdkChain("ws://127.0.0.1:9", 1, DevWallet("//Alice"))
    with pytest.raises(ChainError) as caught:
        await chain.block()
    assert caught.value.code is Code.CHAIN_AWAY
    await chain.close()


async def test_an_endpoint_that_is_silent_is_away_in_time():
    """A node that takes connections and says nothing: the time limit holds, nothing piles up."""
    heard: list[asyncio.StreamWriter] = []

    async def listen(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(writer)

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    limits = Timeouts(read_s=0.1, write_s=0.1, close_s=0.1)
    chain = SdkChain(f"ws://127.0.0.1:{port}", 1, DevWallet("//Alice"), timeouts=limits)
    for _ in range(3):
        with pytest.raises(ChainError) as caught:
            await chain.block()
        assert caught.value.code is Code.CHAIN_AWAY
    assert len(heard) == 1
    for writer in heard:
        writer.close()
    await chain.close()
    server.close()


async def test_a_connection_that_failed_is_not_used_again(tmp_path: Path):
    """After the chain was away, the next question goes over a new connection."""
    host = DevHost(tmp_path, SubnetParams())
    chain = host.chain(host.registered("//Alice"))
    await chain.block()
    broken = chain._client
    host.close()
    host.path.rename(tmp_path / "aside")
    with pytest.raises(ChainError):
        await chain.block()
    (tmp_path / "aside").rename(host.path)
    await chain.block()
    assert chain._client is not broken
    await chain.close()


async def test_neurons_share_one_connection_attempt(tmp_path: Path):
    """Many questions at once wait for one connection and all get their answer."""
    host = DevHost(tmp_path, SubnetParams())
    chain = host.chain(host.registered("//Alice"))
    assert await asyncio.gather(*(chain.block() for _ in range(20))) == [1] * 20
    await chain.close()
    assert await chain.block() == 1  # a closed chain opens again rather than failing
    await chain.close()


# The command line -------------------------------------------------------------------------


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """What the last command printed."""
    out: dict[str, object] = json.loads(capsys.readouterr().out)
    return out


def test_a_chain_is_set_up_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Create, register and let an epoch pass: the validator has its permit."""
    file, wallets = str(tmp_path / "c.sqlite"), str(tmp_path / "w")
    rules = ["--tempo", "5", "--block-s", "0.5", "--manual", "--set", "commit_reveal=true"]
    assert main(["create", "--file", file, "--netuid", "3", *rules]) == 0
    assert told(capsys)["network"] == f"dev:{file}"
    where = ["--file", file, "--netuid", "3", "--wallet-path", wallets]
    assert main(["register", *where, "--wallet-name", "v", "--stake", "9"]) == 0
    assert told(capsys)["uid"] == 0
    assert main(["fund", "--file", file, "--address", "x", "--tao", "1"]) == 0
    assert main(["pulse", "--file", file, "--round", "1", "--signature", "00"]) == 0
    capsys.readouterr()
    assert main(["advance", "--file", file, "--blocks", "5"]) == 0
    assert told(capsys) == {"block": 6}
    assert main(["show", "--file", file, "--netuid", "3"]) == 0
    shown = told(capsys)
    assert shown["tempo"] == 5
    assert [one["validator_permit"] for one in shown["neurons"]] == [True]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["show", "--netuid", "9"], Code.USAGE, "no subnet 9"),
        (["create"], Code.USAGE, "already"),
        (["create", "--set", "tempo"], Code.USAGE, "name=value"),
        (["create", "--set", "no_such=1"], Code.USAGE, "no_such"),
        (["advance", "--file", "/nowhere/c.sqlite"], Code.CHAIN_AWAY, "does not exist"),
        (["register", "--netuid", "9"], Code.USAGE, "subnet 9"),
    ],
)
def test_a_wrong_command_says_so_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: Code,
    says: str,
):
    """Each mistake has its exit status and one line with a hint."""
    file = str(tmp_path / "c.sqlite")
    main(["create", "--file", file])
    wallets = ["--wallet-path", str(tmp_path)] if arguments[0] == "register" else []
    where = [] if "--file" in arguments else ["--file", file]
    assert main([*arguments, *where, *wallets]) == status.spec.exit_code
    complaint = capsys.readouterr().err
    assert says in complaint
    assert complaint.count("\n") == 1


def test_every_error_is_the_products_own():
    """An error of ours passes through translation as it is."""
    error = ComputeError(Code.BUSY)
    assert translate(error) is error
