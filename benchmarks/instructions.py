"""Instructions a call, counted by callgrind: the figure that no neighbour on the machine disturbs.

Two runs of different length are counted and subtracted, so starts and ends don't matter. All processes count, and
user space alone: what the kernel does for a pipe is the floor's as well as ours.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile

from benchmarks import floors, ours
from procvision_runner import Runner, RunnerOptions

RUNS = (500, 4500)
"""Calls in the short and in the long run: so many more that what two starts differ in is a few hundred a call."""


def available() -> bool:
    """Whether there is a valgrind."""
    return shutil.which("valgrind") is not None


def instructions() -> dict[str, int]:
    """Instructions a call of the floor and of our control path."""
    return {name: _a_call(name) for name in ("floor: pipe", "ours: control path")}


def _a_call(name: str) -> int:
    short, long = (_counted(name, calls) for calls in RUNS)
    return round((long - short) / (RUNS[1] - RUNS[0]))


def _counted(name: str, calls: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        log = f"{folder}/%p.log"
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--trace-children=yes"]
        subprocess.run(
            [*command, f"--log-file={log}", sys.executable, "-m", "benchmarks.instructions", name, str(calls)],
            check=True,
            timeout=600,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        texts = subprocess.run(["sh", "-c", f"cat {folder}/*.log"], check=True, capture_output=True, text=True).stdout
    return sum(int(count) for count in re.findall(r"Collected : (\d+)", texts))


def _run(name: str, calls: int) -> None:
    if name == "floor: pipe":
        with floors.pipe() as once:
            for _ in range(calls):
                once()
        return
    # Valgrind doesn't know this call; a pipe that never speaks stands for it, and the end is waited for in vain.
    os.pidfd_open = lambda *_: os.pipe()[0]
    # Everything takes its time here: nothing may be late for that.
    options = RunnerOptions(
        environment=ours.environment(),
        heartbeat=None,
        handshake_timeout_s=300,
        shutdown_timeout_s=5,
        host_arguments=("--handshake-timeout-s", "0"),
    )
    with Runner("bench", options=options) as runner:
        session = runner.session(ours.CONTEXT)
        for _ in range(calls):
            runner.execute(pid="A", session=session)


if __name__ == "__main__":
    _run(sys.argv[1], int(sys.argv[2]))
