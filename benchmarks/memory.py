"""The peak memory of this process."""

import resource
import sys
from pathlib import Path


def peak_memory() -> float:
    """The largest resident set of this process so far, in GB, Python and its packages included."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, whose ru_maxrss starts at that of the parent
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
