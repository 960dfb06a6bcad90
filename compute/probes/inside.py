"""Checks made from inside a leased container, over SSH."""

import re

from compute.adapters.ssh.session import SshSession
from compute.domain.hardware import Gpu
from compute.domain.requirement import Requirement
from compute.errors import Code, ProbeError
from compute.probes.steps import StepNote

MEMORY_SLACK = 1.02  # engines round a limit up to whole pages
_LIMITS = """
echo cpus $(nproc)
for f in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do
  [ -r $f ] && echo memory $(cat $f) && break; done
for f in /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max; do
  [ -r $f ] && echo pids $(cat $f) && break; done
echo nnp $(sed -n 's/^NoNewPrivs:[[:space:]]*//p' /proc/self/status)
"""
_DIAL = (
    'timeout {limit} python3 -c "import socket; '
    "socket.create_connection(('{host}', {port}), {limit}).close()\" 2>/dev/null"
)
METADATA = "169.254.169.254"
MOST_GPUS = 64
_ROW = re.compile(
    r"[0-9]{1,4}, (?P<uuid>[A-Za-z0-9-]{1,80}), (?P<model>[ -~]{1,120}), (?P<mib>[0-9]{1,9})"
)


def command(session: SshSession, _wanted: Requirement, note: StepNote) -> None:
    """A command runs and its output and exit code come back."""
    result = session.run("printf '%s' \"$((6*7))\"; exit 3", timeout_s=15)
    if (result.exit_code, result.stdout) != (3, "42"):
        raise ProbeError(
            Code.PROBE_COMMAND,
            f"a command answered {result.stdout[:50]!r} with exit code {result.exit_code}",
        )
    note.passed("output and exit code are right")


def visible_gpus(session: SshSession) -> tuple[Gpu, ...]:
    """The GPUs that the driver shows inside, in index order; empty where there is none."""
    result = session.run(
        "command -v nvidia-smi >/dev/null && nvidia-smi"
        " --query-gpu=index,uuid,name,memory.total --format=csv,noheader,nounits",
        timeout_s=30,
    )
    if result.exit_code != 0:
        return ()
    rows = [_ROW.fullmatch(line.strip()) for line in result.stdout.splitlines()[:MOST_GPUS]]
    return tuple(
        Gpu(index=index, uuid=row["uuid"], model=row["model"], memory_mib=int(row["mib"]))
        for index, row in enumerate(row for row in rows if row)
    )


def gpus(session: SshSession, wanted: Requirement, note: StepNote) -> None:
    """As many GPUs are visible as were granted, and no more."""
    found = visible_gpus(session)
    if len(found) != wanted.gpus:
        raise ProbeError(
            Code.PROBE_GPUS,
            f"{len(found)} GPUs inside, {wanted.gpus} were leased",
        )
    note.passed(f"{len(found)} GPUs inside, as leased")


def limits(session: SshSession, wanted: Requirement, note: StepNote) -> None:
    """CPU, memory and process limits are applied to the container."""
    output = session.run(_LIMITS, timeout_s=15).stdout
    parted = (line.partition(" ") for line in output.splitlines())
    found = {name: value.strip() for name, _, value in parted}
    wrong = []
    if found.get("cpus") != str(wanted.cpus):
        wrong.append(f"{found.get('cpus')} CPUs instead of {wanted.cpus}")
    memory = found.get("memory", "max")
    if not _whole(memory) or int(memory) > wanted.memory_mib * 2**20 * MEMORY_SLACK:
        wrong.append(f"memory limit {memory} instead of {wanted.memory_mib} MiB")
    if not _whole(found.get("pids", "max")):
        wrong.append("no limit of processes")
    if wrong:
        raise ProbeError(
            Code.PROBE_LIMITS,
            "; ".join(wrong),
        )
    note.passed(f"{wanted.cpus} CPUs, {wanted.memory_mib} MiB, {found['pids']} processes")


def _whole(text: str) -> bool:
    """Whether a text is a number as the kernel writes one."""
    return text.isascii() and text.isdecimal() and len(text) <= 20  # noqa: PLR2004 - 64 bits


def isolation(session: SshSession, _wanted: Requirement, note: StepNote) -> None:
    """Link-local metadata and the engine's host are out of reach."""
    gateway = session.run(
        "python3 -c \"print('.'.join(str(b) for b in reversed(bytes.fromhex("
        "[l.split()[2] for l in open('/proc/net/route') if l.split()[1] == '00000000'][0]))))\"",
        timeout_s=15,
    ).stdout.strip()
    targets = [(METADATA, 80), *((gateway, port) for port in (22, 2375, 2376) if gateway)]
    open_ones = [
        f"{host}:{port}"
        for host, port in targets
        if session.run(_DIAL.format(host=host, port=port, limit=2), timeout_s=15).exit_code == 0
    ]
    if open_ones:
        raise ProbeError(
            Code.PROBE_ISOLATION,
            f"reachable from inside: {', '.join(open_ones)}",
        )
    note.passed("host and metadata are out of reach")
