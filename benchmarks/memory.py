"""What a host takes of memory before its first picture."""

from __future__ import annotations

import subprocess
import sys

import psutil

from benchmarks import ours


def memory_mb() -> dict[str, float]:
    """Megabytes that are a process's own (USS), once the algorithm is set up and has answered a call."""
    bare = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with ours.runner() as running:
        running.execute(pid="A")
        children = psutil.Process().children(recursive=True)
        # The host is the guardian's child.
        hosts = [child for child in children if (child.parent() or child).pid != psutil.Process().pid]
        guardians = [child for child in children if child not in hosts and child.pid != bare.pid]
        found = {
            "bare Python": _own(bare.pid),
            "host": sum(_own(host.pid) for host in hosts),
            "guardian": sum(_own(guardian.pid) for guardian in guardians),
        }
    bare.communicate(b"\n")
    return found


def _own(process: int) -> float:
    return round(psutil.Process(process).memory_full_info().uss / 1e6, 1)
