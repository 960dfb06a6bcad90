"""The chain that the conformance suite runs against, chosen by an option or the environment."""

import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compute.adapters.chain.devchain import SubnetParams
from compute.testing.chain import ChainFactory, ChainHost, dev_host

CHAIN_VARIABLE = "COMPUTE_CHAIN_FACTORY"

# Short epochs and limits, so that a chain on which time passes by itself can be tested too.
RULES = SubnetParams(tempo=10, weights_rate_limit=3, serving_rate_limit=4)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Name another chain than the development chain."""
    parser.addoption(
        "--chain-factory",
        default=None,
        metavar="PACKAGE.MODULE:CALLABLE",
        help=f"what makes the chain of the conformance suite; also {CHAIN_VARIABLE}",
    )


@pytest.fixture(scope="session")
def chain_factory(request: pytest.FixtureRequest) -> ChainFactory:
    """What makes a chain for a test."""
    option = request.config.getoption("--chain-factory", default=None)
    named = option or os.environ.get(CHAIN_VARIABLE)
    if not named:
        return dev_host
    module, _, attribute = named.partition(":")
    factory: ChainFactory = getattr(importlib.import_module(module), attribute)
    return factory


@pytest.fixture
def make_host(
    chain_factory: ChainFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[SubnetParams], ChainHost]]:
    """Makes chains with subnets of given rules; all are taken away after the test."""
    # The SDK keeps a cache of token symbols at a place that it fixed when it was imported.
    monkeypatch.setenv("BTCLI_TOKEN_SYMBOLS_CACHE", str(tmp_path / "symbols.json"))
    hosts: list[ChainHost] = []

    def make(params: SubnetParams) -> ChainHost:
        folder = tmp_path / f"chain{len(hosts)}"
        folder.mkdir()
        hosts.append(chain_factory(folder, params))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()


@pytest.fixture
def host(make_host: Callable[[SubnetParams], ChainHost]) -> ChainHost:
    """A chain with one subnet of short epochs and limits."""
    return make_host(RULES)
