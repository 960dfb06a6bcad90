"""The private engine's addresses and names: they never meet what the machine has already."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from compute.adapters.engine.private import Layout
from compute.adapters.engine.private.network import choose_subnets
from compute.errors import Code, EngineError


def test_the_same_folder_gets_the_same_block():
    """Without conflicts the choice depends on the engine alone."""
    assert choose_subnets("a1", []) == choose_subnets("a1", [])
    assert choose_subnets("a1", []) != choose_subnets("b2", [])


def test_a_block_in_use_is_passed_over():
    """A route inside the block, or around it, moves the engine elsewhere."""
    first = choose_subnets("a1", []).block
    inside = IPv4Network(f"{first.network_address + 77}/32")
    assert not choose_subnets("a1", [inside]).block.overlaps(inside)
    around = first.supernet(4)
    assert not choose_subnets("a1", [around]).block.overlaps(around)


def test_a_machine_that_routes_ten_still_has_room():
    """A private network over all of 10/8 leaves the 172 range."""
    ten = IPv4Network("10.0.0.0/8")
    assert not choose_subnets("a1", [ten]).block.overlaps(ten)


def test_no_room_is_an_error():
    """Where everything private is routed the engine refuses instead of cutting a route."""
    with pytest.raises(EngineError) as caught:
        choose_subnets("a1", [IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12")])
    assert caught.value.code is Code.HOST_UNFIT


def test_bridge_and_pool_share_the_block_without_overlap():
    """The default bridge's addresses and the networks' pool are apart, both inside the block."""
    subnets = choose_subnets("a1", [])
    bridge = IPv4Network(subnets.bridge_address, strict=False)
    pool = IPv4Network(subnets.pool)
    assert bridge.subnet_of(subnets.block)
    assert pool.subnet_of(subnets.block)
    assert not bridge.overlaps(pool)
    assert IPv4Address(subnets.bridge_address.split("/")[0]) in bridge


def test_names_fit_the_kernels_limits(tmp_path: Path):
    """Deep state folders get a short run folder; names stay under what the kernel takes."""
    deep = tmp_path.joinpath(*["a-long-name-for-a-folder"] * 6)
    for layout in (Layout.of(Path("/srv/x")), Layout.of(deep)):
        assert len(layout.bridge) <= 15
        assert len(f"{layout.run}/docker/libnetwork/0123456789ab.sock") <= 107
    assert Layout.of(deep).ident != Layout.of(tmp_path).ident
