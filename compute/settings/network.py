"""Finds the address under which this machine is reached."""

import ipaddress
import socket

from compute.errors import UsageError

# A public address that is never contacted: connecting a datagram socket sends nothing and only
# makes the kernel choose the route.
_ELSEWHERE = ("192.0.2.1", 9)


def announced_ip(configured: str) -> str:
    """The configured address, or the one of the default route.

    Raises:
        UsageError: when neither gives an address that others can use.
    """
    if configured:
        try:
            return str(ipaddress.ip_address(configured))
        except ValueError:
            raise UsageError(f"'{configured}' is not an IP address") from None
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(_ELSEWHERE)
            return str(probe.getsockname()[0])
    except OSError:
        raise UsageError(
            "this machine has no default route",
            hint="name the public address with --axon.external_ip",
        ) from None
