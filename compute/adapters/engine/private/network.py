"""A private engine's share of the host's network: its subnet, its bridge, its firewall rules.

An engine leaves things behind when it stops: its bridges, its rules, the chains that all
engines share, and forwarding switched on. The next user of the machine should find none of
that, and another engine that still runs should lose nothing.
"""

import hashlib
import ipaddress
import itertools
import json
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from compute.adapters.engine.private.processes import other_engine_runs
from compute.adapters.engine.private.tools import run_tool, try_tool
from compute.errors import Code, EngineError

# What private engines changed on this host as a whole; shared by all of them.
HOST_FOLDER = Path("/run/compute-engines")
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
# A rule in a chain of the engines', but for the RETURN at its end.
_SHARED_RULE = re.compile(r"-A DOCKER\S* (?!-j RETURN$)")
_FILTERS = ("iptables", "ip6tables")
_TABLES = ("filter", "nat", "raw")
NETWORK_PREFIX = 24  # all leases of a miner are on one network


@dataclass(frozen=True, slots=True)
class Rule:
    """One firewall rule, as the tool itself lists it (`-A CHAIN …`)."""

    tool: str
    table: str
    text: str


@dataclass(frozen=True, slots=True)
class Subnets:
    """The addresses of one engine: a /16, half for the default bridge, half for networks.

    Attributes:
        block: the whole /16.
    """

    block: ipaddress.IPv4Network

    @property
    def bridge_address(self) -> str:
        """Address and prefix of the default bridge: 253 containers without a network."""
        return f"{self.block.network_address + 1}/24"

    @property
    def pool(self) -> str:
        """Where the engine's networks come from: 128 of `NETWORK_PREFIX`."""
        return str(list(self.block.subnets(1))[1])


def choose_subnets(ident: str, used: Iterable[ipaddress.IPv4Network]) -> Subnets:
    """Choose a private /16 that no route of this host touches, the same one each time if free.

    Raises:
        EngineError: `HOST_UNFIT` if there is none.
    """
    taken = list(used)
    blocks = [ipaddress.IPv4Network(f"10.{second}.0.0/16") for second in range(64, 250)]
    start = int(hashlib.sha256(ident.encode()).hexdigest(), 16) % len(blocks)
    late = [ipaddress.IPv4Network(f"172.{second}.0.0/16") for second in range(18, 32)]
    for block in [*blocks[start:], *blocks[:start], *late]:
        if not any(block.overlaps(other) for other in taken):
            return Subnets(block)
    raise EngineError(Code.HOST_UNFIT, "no private address range is free for the engine")


def routed_networks() -> list[ipaddress.IPv4Network]:
    """All networks that this host has a route to, but for the default route."""
    routes = json.loads(run_tool("ip", "-4", "-json", "route", "show", "table", "all"))
    found = {route["dst"] for route in routes if route["dst"] != "default"}
    networks = (ipaddress.ip_network(dst, strict=False) for dst in found)
    return [network for network in networks if isinstance(network, ipaddress.IPv4Network)]


def create_bridge(name: str, subnets: Subnets) -> None:
    """Make the default bridge, afresh if one of that name was left behind."""
    remove_bridge(name)
    run_tool("ip", "link", "add", "name", name, "type", "bridge")
    run_tool("ip", "address", "add", subnets.bridge_address, "dev", name)
    run_tool("ip", "link", "set", name, "up")


def remove_bridge(name: str) -> None:
    """Remove a bridge if it exists."""
    if f"{name}:" in Path("/proc/self/net/dev").read_text():
        try_tool("ip", "link", "delete", name)


def bridges_within(subnets: Subnets) -> list[str]:
    """Interfaces that carry an address of this engine: its bridges, whoever made them."""
    links = json.loads(run_tool("ip", "-4", "-json", "address", "show"))
    return [
        link["ifname"]
        for link in links
        for address in link["addr_info"]
        if ipaddress.IPv4Address(address["local"]) in subnets.block
    ]


def note_host() -> None:
    """Remember how the host was before the first private engine, unless an engine runs.

    A system engine's chains and forwarding are its own: then there is nothing to put back.
    """
    if _host_record().exists() or _has_engine_chains() or other_engine_runs():
        return
    HOST_FOLDER.mkdir(mode=0o755, exist_ok=True)
    policy = {tool: _forward_policy(tool) for tool in _FILTERS}
    record = {"forwarding": _FORWARDING.read_text().strip(), "policy": policy}
    _host_record().write_text(json.dumps(record))


def remove_rules(subnets: Subnets, bridges: Iterable[str]) -> None:
    """Remove the firewall rules that refer to these bridges or to this engine's addresses."""
    first, second = str(subnets.block.network_address).split(".")[:2]
    names = "|".join(re.escape(name) for name in bridges)
    ours = re.compile(rf"(?:^|\s)(?:{names or 'no-bridge'}|{first}\.{second}\.[\d./]+)(?:\s|$)")
    for tool, table in itertools.product(_FILTERS, _TABLES):
        for rule in _rules(tool, table):
            if rule.startswith("-A ") and ours.search(rule):
                _delete_rule(tool, table, rule)


def engine_rules() -> list[Rule]:
    """The rules that engines keep in the chains that they all share.

    An engine that starts empties those chains, the rules of others included.
    """
    everything = (
        Rule(tool, table, text)
        for tool, table in itertools.product(_FILTERS, _TABLES)
        for text in _rules(tool, table)
    )
    return [rule for rule in everything if _SHARED_RULE.match(rule.text)]


def put_back(before: Iterable[Rule]) -> None:
    """Put the rules of other engines back, in their order and ahead of what is there now."""
    present = set(engine_rules())
    for rule in reversed([rule for rule in before if rule not in present]):
        _, chain, *words = shlex.split(rule.text)
        try_tool(rule.tool, "-w", "-t", rule.table, "-I", chain, *words)


def restore_host() -> None:
    """Put the host back as the first private engine found it, if no engine runs any more."""
    path = _host_record()
    if not path.exists() or other_engine_runs():
        return
    record = json.loads(path.read_text())
    for tool in _FILTERS:
        _remove_engine_chains(tool)
        if record["policy"][tool]:
            try_tool(tool, "-w", "-P", "FORWARD", record["policy"][tool])
    _FORWARDING.write_text(record["forwarding"])
    path.unlink()


def _host_record() -> Path:
    """Rules and forwarding belong to a network namespace; so does what is remembered of them."""
    namespace = Path("/proc/self/ns/net").readlink().name.strip("net:[]")
    return HOST_FOLDER / f"host-{namespace}.json"


def _has_engine_chains() -> bool:
    return any(rule.startswith("-N DOCKER") for rule in _rules("iptables", "filter"))


def _forward_policy(tool: str) -> str:
    policies = [rule for rule in _rules(tool, "filter") if rule.startswith("-P FORWARD ")]
    return policies[0].split()[-1] if policies else ""


def _remove_engine_chains(tool: str) -> None:
    for table in _TABLES:
        rules = _rules(tool, table)
        for rule in rules:
            if rule.startswith("-A ") and re.search(r"-j DOCKER\S*(\s|$)", rule):
                _delete_rule(tool, table, rule)
        chains = [rule.split()[1] for rule in rules if rule.startswith("-N DOCKER")]
        for action in ("-F", "-X"):
            for chain in chains:
                try_tool(tool, "-w", "-t", table, action, chain)


def _rules(tool: str, table: str) -> list[str]:
    try:
        return run_tool(tool, "-w", "-t", table, "-S").splitlines()
    except EngineError:
        return []


def _delete_rule(tool: str, table: str, rule: str) -> None:
    try_tool(tool, "-w", "-t", table, "-D", *shlex.split(rule)[1:])
