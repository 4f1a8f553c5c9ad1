"""What bounds amounts: limits that are set once, and never loosened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from procvision_host.sandbox import amounts

LIMITS = """
import resource
from procvision_host.sandbox import amounts
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
amounts.bound(resource.RLIMIT_NOFILE, 300)
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""
MANY = """
import os, signal
from procvision_host.sandbox import amounts, namespaces
from procvision_host.sandbox.kernel import IsolationMissingError, prctl
if os.getuid() == 0:
    os.setgroups([]); os.setresgid(12345, 12345, 12345); os.setresuid(12345, 12345, 12345)
    prctl(4, 1)
try:
    namespaces.enter()
except IsolationMissingError as error:
    print("none:", error)
    os._exit(0)
amounts.bound_processes(12)
started = []
try:
    while len(started) < 40:
        process_id = os.fork()
        if process_id == 0:
            signal.pause()
        started.append(process_id)
except BlockingIOError:
    pass
print(len(started), flush=True)
for process_id in started:
    os.kill(process_id, signal.SIGKILL)
"""


def run(code: str) -> str:
    """Run a program; what it printed."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("soft", "hard", "found"), [(200, 1000, "(200, 300)"), (500, 1000, "(300, 300)"), (100, 150, "(100, 150)")]
)
def test_a_limit_is_bounded_and_never_loosened(soft: int, hard: int, found: str) -> None:
    """The softer of two stays."""
    assert run(LIMITS.format(soft=soft, hard=hard)) == found


def test_an_ordinary_users_processes_are_bounded_in_a_user_namespace() -> None:
    """Those of the namespace alone count."""
    told = run(MANY)
    if told.startswith("none:"):
        pytest.skip(told)
    assert 5 <= int(told) < 12


def test_the_kernel_ends_a_confined_process_first() -> None:
    """More than its parent, at the most 1000."""
    code = (
        "from procvision_host.sandbox import amounts; amounts.bound_basic(); "
        "print(open('/proc/self/oom_score_adj').read())"
    )
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert int(run(code)) == min(1000, own + amounts.ENDED_FIRST)
