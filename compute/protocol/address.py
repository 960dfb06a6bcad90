"""Where a neuron is, and whether it may be called.

Addresses come from the chain, where anyone may write any. Calling them blindly would let a stranger
make a validator send requests into its own network. So only public addresses are called, unless the
operator allows private ones; link-local addresses (where clouds keep their metadata services) never
are.
"""

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from compute.errors import Code, PeerError

IpAddress = IPv4Address | IPv6Address
_HIGHEST_PORT = 65_535
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200")
)


@dataclass(frozen=True, slots=True)
class Peer:
    """A neuron to call.

    Attributes:
        hotkey: whose signature its answers must bear (ss58).
        host: IP address; names are not looked up.
        port: TCP port.
        certificate_sha256: of its TLS certificate (DER); None speaks plain HTTP.
    """

    hotkey: str
    host: str
    port: int
    certificate_sha256: bytes | None = None

    @classmethod
    def parse(cls, hotkey: str, address: str, certificate_sha256: bytes | None = None) -> "Peer":
        """Read an address as the chain gives it: `ip:port` or `[v6]:port`.

        Raises:
            PeerError: `ADDRESS_REFUSED` when it is not one.
        """
        host, colon, port = address.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        host = host[1:-1] if bracketed else host
        ip = _ip(host)
        if not colon or bracketed != (ip.version == 6):  # noqa: PLR2004 - IPv6
            raise _refuse("not an ip:port")
        if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= _HIGHEST_PORT):
            raise _refuse("not a port")
        return cls(hotkey, str(ip), int(port), certificate_sha256)

    @property
    def address(self) -> str:
        """`ip:port` or `[v6]:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def check(peer: Peer, *, allow_private: bool) -> None:
    """Refuse to call an address that is not a public one.

    Args:
        peer: whom to call.
        allow_private: whether loopback, private and shared address space may be called.

    Raises:
        PeerError: `ADDRESS_REFUSED`.
    """
    if not 0 < peer.port <= _HIGHEST_PORT:
        raise _refuse("not a port")
    if reason := _refusal(peer.host, allow_private=allow_private):
        raise _refuse(reason)


@lru_cache(maxsize=4096)
def _refusal(host: str, *, allow_private: bool) -> str:
    """Why a host is not called; empty when it is."""
    ip = _embedded(_ip(host))
    if ip in _METADATA or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return "never called"
    if isinstance(ip, IPv6Address) and ip.scope_id is not None:
        return "never called"
    return "" if ip.is_global or allow_private else "not a public address"


def _ip(host: str) -> IpAddress:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        raise _refuse("not an IP address") from None


def _embedded(ip: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 one stands for (mapped, 6to4, Teredo, NAT64), or itself."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    teredo = ip.teredo
    return ip.ipv4_mapped or ip.sixtofour or (teredo[1] if teredo else None) or ip


def _refuse(detail: str) -> PeerError:
    return PeerError(Code.ADDRESS_REFUSED, detail)
