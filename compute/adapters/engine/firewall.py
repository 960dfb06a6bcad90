"""Packet filter rules by iptables: what a tenant on our bridge may reach.

The engine's own chains let a container reach the host, its neighbours' published ports and cloud
metadata. Two chains of our own, one in front of `INPUT` and one in `DOCKER-USER`, close that and
nothing else: answers to connections from outside pass, so that published ports work. Each chain
bears the bridge's name, so that what is removed is ours.
"""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Literal

from compute.errors import Code, ComputeError, EngineError
from compute.ports.firewall import Firewall

LINK_LOCAL = "169.254.0.0/16"
# RFC 1918, shared address space (RFC 6598), and this host itself.
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8")
_TIMEOUT_S = 15.0
_BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_ANSWERS = "-m conntrack --ctstate ESTABLISHED,RELATED"


class IptablesFirewall:
    """Rules by `iptables` on this host.

    Args:
        internet: whether tenants reach anything but their own container.
        private_networks: whether they reach private addresses behind the host.
        resolvers: name servers that they may ask though those are private.
    """

    def __init__(
        self, *, internet: bool, private_networks: bool, resolvers: Iterable[str] | None = None
    ) -> None:
        self._internet = internet
        self._private = private_networks
        self._resolvers = tuple(host_resolvers() if resolvers is None else resolvers)
        self._lock = threading.Lock()

    def protect(self, bridge: str) -> None:
        """Put the rules of a bridge in place."""
        with self._lock:
            _run("iptables-restore", "--noflush", "-w", stdin=self._chains(bridge))
            for table, chain in _jumps(bridge):
                if not _holds("iptables", "-w", "-C", table, "-i", bridge, "-j", chain):
                    _run("iptables", "-w", "-I", table, "1", "-i", bridge, "-j", chain)
            if shutil.which("ip6tables") and not _holds(*_six("-C", bridge)):
                _holds(*_six("-I", bridge))  # a kernel without IPv6 has nothing to close

    def release(self, bridge: str) -> None:
        """Remove the rules of a bridge."""
        with self._lock:
            for table, chain in _jumps(bridge):
                while _holds("iptables", "-w", "-D", table, "-i", bridge, "-j", chain):
                    pass
                _holds("iptables", "-w", "-F", chain)
                _holds("iptables", "-w", "-X", chain)
            if shutil.which("ip6tables"):
                _holds(*_six("-D", bridge))

    def _chains(self, bridge: str) -> str:
        """Both chains as `iptables-restore` reads them: replaced whole, in one step."""
        (_, host), (_, forward) = _jumps(bridge)
        rules = [
            f"-A {host} {_ANSWERS} -j ACCEPT",
            f"-A {host} -j REJECT",
            f"-A {forward} {_ANSWERS} -j RETURN",
            f"-A {forward} -d {LINK_LOCAL} -j REJECT",
        ]
        if not self._internet:
            rules.append(f"-A {forward} -j REJECT")
        elif not self._private:
            rules += [
                f"-A {forward} -d {resolver} -p {protocol} --dport 53 -j RETURN"
                for resolver in self._resolvers
                for protocol in ("udp", "tcp")
            ]
            rules += [f"-A {forward} -d {network} -j REJECT" for network in PRIVATE]
        lines = ["*filter", f":{host} - [0:0]", f":{forward} - [0:0]", *rules, "COMMIT"]
        return "\n".join(lines) + "\n"


class NoFirewall:
    """No rules: the operator's own keep tenants away, or nothing does."""

    def protect(self, bridge: str) -> None:
        """Do nothing."""

    def release(self, bridge: str) -> None:
        """Do nothing."""


def choose_firewall(
    wanted: Literal["auto", "require", "off"],
    *,
    local: bool,
    internet: bool,
    private_networks: bool,
) -> tuple[Firewall, str]:
    """The firewall that the settings ask for and that this process may set.

    Args:
        wanted: the setting.
        local: whether the engine's bridges are on this host.
        internet: as `IptablesFirewall`.
        private_networks: as `IptablesFirewall`.

    Returns:
        The firewall, and why it is none (empty when it is one).

    Raises:
        ComputeError: `HOST_UNFIT` when one is required and cannot be set.
    """
    reason = "switched off" if wanted == "off" else _hindrance(local=local)
    if not reason:
        return IptablesFirewall(internet=internet, private_networks=private_networks), ""
    if wanted == "require":
        raise ComputeError(Code.HOST_UNFIT, f"no firewall for leases: {reason}")
    return NoFirewall(), reason


def host_resolvers(path: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """IPv4 name servers of this host that are not on it."""
    found = []
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ()
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                address = IPv4Address(words[1])
            except AddressValueError:
                continue
            if not address.is_loopback:
                found.append(str(address))
    return tuple(found)


def _jumps(bridge: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Where our chains hang, and their names."""
    return ("INPUT", f"COMPUTE-{bridge}-IN"), ("DOCKER-USER", f"COMPUTE-{bridge}-FW")


def _six(verb: str, bridge: str) -> tuple[str, ...]:
    return ("ip6tables", "-w", verb, "INPUT", "-i", bridge, "-j", "DROP")


def _hindrance(*, local: bool) -> str:
    """Why rules cannot be set here; empty when they can."""
    if not local:
        return "the engine is on another host"
    if shutil.which("iptables") is None or shutil.which("iptables-restore") is None:
        return "iptables is not installed"
    if os.geteuid() != 0 and not _holds("iptables", "-w", "-S", "INPUT"):
        return "this process may not set packet filter rules"
    if not _filters_bridges():
        return "the kernel does not filter bridged traffic (br_netfilter)"
    if not _holds("iptables", "-w", "-S", "DOCKER-USER"):
        return "the engine has no DOCKER-USER chain: its own packet filtering is off"
    return ""


def _filters_bridges() -> bool:
    try:
        return _BRIDGE_FILTER.read_text().strip() == "1"
    except OSError:
        return False


def _holds(*command: str) -> bool:
    """Whether a command ends with 0."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _run(*command: str, stdin: str = "") -> None:
    try:
        subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except subprocess.CalledProcessError as error:
        said = str(error.stderr).strip().splitlines()
        raise EngineError(
            Code.ENGINE_FAILED, f"the packet filter refused: {said[0] if said else 'no reason'}"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(Code.ENGINE_FAILED, "the packet filter does not answer") from error
