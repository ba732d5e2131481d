"""What this machine is, and how much memory its processes use, as Linux tells it in ``/proc``."""

from __future__ import annotations

import platform
from pathlib import Path


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Name the processor."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def held_memory(process: int | str = "self") -> int:
    """Return the memory that a process holds now, in bytes; 0 where the system doesn't tell."""
    return _status("VmRSS", process)


def peak_memory(process: int | str = "self") -> int:
    """Return the most memory that a process has held so far, in bytes; 0 where the system doesn't tell."""
    return _status("VmHWM", process)  # of this process alone; getrusage may report that of its parent


def _status(name: str, process: int | str) -> int:
    """Read one of the values that ``/proc/PROCESS/status`` gives in kB."""
    status = Path(f"/proc/{process}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)
