"""How much memory a process has had."""

import re
from pathlib import Path


def peak_mb() -> float:
    """The most that this program has had in memory, in units of 2^20 bytes.

    ``getrusage`` also counts what the process was that began it.
    """
    status = Path("/proc/self/status").read_text("utf-8")
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024
