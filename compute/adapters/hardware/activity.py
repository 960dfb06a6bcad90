"""What a container does, read from the kernel: the engine's own statistics take seconds.

Works for containers of an engine on this host, from its first process's id.
"""

from pathlib import Path

from compute.errors import Code, EngineError
from compute.ports.hardware import Activity

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")
_ESTABLISHED = "01"
_SSH = 22


def activity(pid: int) -> Activity:
    """Processor time and SSH connections of the container that a process belongs to.

    Raises:
        EngineError: `HOST_UNFIT` where the kernel does not show them.
    """
    try:
        return Activity(cpu_s=_cpu_s(pid), sessions=_sessions(pid))
    except (OSError, ValueError, IndexError) as error:
        raise EngineError(Code.HOST_UNFIT, "a container's use cannot be read") from error


def _cpu_s(pid: int) -> float:
    groups = [line.split(":", 2) for line in (_PROC / str(pid) / "cgroup").read_text().splitlines()]
    for _, controllers, path in groups:
        if "cpuacct" in controllers.split(","):
            for name in (controllers, "cpuacct"):
                file = _CGROUP / name / path.lstrip("/") / "cpuacct.usage"
                if file.exists():
                    return int(file.read_text()) / 1e9
    path = next(path for _, controllers, path in groups if not controllers)
    stat = (_CGROUP / path.lstrip("/") / "cpu.stat").read_text().split()
    return int(stat[stat.index("usage_usec") + 1]) / 1e6


def _sessions(pid: int) -> int:
    count = 0
    for name in ("tcp", "tcp6"):
        file = _PROC / str(pid) / "net" / name
        if not file.exists():
            continue
        for line in file.read_text().splitlines()[1:]:
            columns = line.split()
            local_port = int(columns[1].rpartition(":")[2], 16)
            count += local_port == _SSH and columns[3] == _ESTABLISHED
    return count
