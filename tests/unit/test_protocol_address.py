"""Addresses from the chain: what is understood, and what is called."""

import pytest

from compute.errors import Code, PeerError
from compute.protocol.address import Peer, check

HOTKEY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("8.8.8.8:8091", "8.8.8.8", 8091),
        ("[2606:4700::1]:1", "2606:4700::1", 1),
        ("127.0.0.2:65535", "127.0.0.2", 65535),
    ],
)
def test_an_address_is_read_and_written_the_same(text: str, host: str, port: int) -> None:
    """What the chain gives comes back from `address`."""
    peer = Peer.parse(HOTKEY, text)
    assert (peer.host, peer.port, peer.address) == (host, port, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "8.8.8.8",
        "8.8.8.8:",
        "8.8.8.8:0",
        "8.8.8.8:65536",
        "8.8.8.8:-1",
        "8.8.8.8:+80",
        "8.8.8.8: 80",
        "8.8.8.8:8٠",
        "8.8.8.8:" + "1" * 5000,
        "2606:4700::1:80",
        "[8.8.8.8]:80",
        "[2606:4700::1]",
        "localhost:80",
        "example.org:80",
        "0x7f000001:80",
        "2130706433:80",
        "127.1:80",
        "8.8.8.8@127.0.0.1:80",
        "8.8.8.8/x:80",
    ],
)
def test_what_is_not_an_ip_and_port_is_refused(text: str) -> None:
    """Names, short forms and tricks are no addresses."""
    with pytest.raises(PeerError) as caught:
        Peer.parse(HOTKEY, text)
    assert caught.value.code is Code.ADDRESS_REFUSED


INSIDE = [
    "127.0.0.1",
    "127.0.0.2",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fd12:3456::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:0001::",
    "192.0.2.1",
    "240.0.0.1",
]
NEVER = [
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "fd00:ec2::254",
    "100.100.100.200",
    "0.0.0.0",  # noqa: S104 - an address to refuse
    "::",
    "::ffff:0.0.0.0",
    "224.0.0.1",
    "ff02::1",
]


@pytest.mark.parametrize("host", INSIDE)
def test_inner_addresses_are_called_only_when_allowed(host: str) -> None:
    """Loopback, private and shared space in every disguise needs the operator's word."""
    with pytest.raises(PeerError):
        check(Peer(HOTKEY, host, 80), allow_private=False)
    check(Peer(HOTKEY, host, 80), allow_private=True)


@pytest.mark.parametrize("host", NEVER)
@pytest.mark.parametrize("allow_private", [False, True])
def test_some_addresses_are_never_called(host: str, *, allow_private: bool) -> None:
    """Link-local, metadata, unspecified and multicast addresses are refused whatever is set."""
    with pytest.raises(PeerError) as caught:
        check(Peer(HOTKEY, host, 80), allow_private=allow_private)
    assert caught.value.code is Code.ADDRESS_REFUSED


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_called(host: str) -> None:
    """A public address needs no permission."""
    check(Peer(HOTKEY, host, 80), allow_private=False)
