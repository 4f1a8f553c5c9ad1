"""What ends a host of another make whose runner is gone: the program itself, with real processes of a few lines."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from procvision_runner.process import process_tree
from procvision_runner.process.host_process import HostProcess, ends_with_its_runner

STUBBORN = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setsid()
    while True: time.sleep(60)
print(child, flush=True)
while True: time.sleep(60)
"""
"""Ignores every request, and has a child in a session of its own that does so, too."""
RUNNER = """
import os, select, sys, time
from procvision_runner.process.host_process import HostProcess
host = HostProcess([sys.executable, "-S", "-c", sys.argv[1]])
select.select([host.stdout], [], [])
print(host.process_id, os.read(host.stdout, 100).decode(), flush=True)
if sys.argv[2] == "fork" and os.fork() == 0:
    time.sleep(60)
if sys.argv[2] == "exit":
    os._exit(0)
os.kill(os.getpid(), 9)
"""
ENDS_AT_SIGTERM = "print(0, flush=True)\nimport time\nwhile True: time.sleep(60)"


def lives(process_id: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def end_group(process_id: int) -> None:
    """End a process that isn't collected yet, and what it has forked."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process_id, signal.SIGKILL)


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 40.0
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts programs, which are gone afterwards."""
    with ExitStack() as stack:

        def start(*command: str, **more: object) -> subprocess.Popen[bytes]:
            made = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, **more)  # type: ignore[call-overload]
            stack.callback(made.wait)
            stack.callback(end_group, made.pid)
            stack.callback(made.stdout.close)
            return made  # type: ignore[no-any-return]

        yield start


def guard(
    started: Callable[..., subprocess.Popen[bytes]],
    runner: subprocess.Popen[bytes],
    host: subprocess.Popen[bytes],
    limit_s: float,
) -> subprocess.Popen[bytes]:
    """The program, beside a runner and a host."""
    descriptors = [os.pidfd_open(process.pid) for process in (runner, host)]
    try:
        words = (*map(str, (*descriptors, host.pid)), str(limit_s))
        return started(sys.executable, "-I", "-S", process_tree.__file__, *words, pass_fds=descriptors, env={})
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def test_what_ignores_its_end_is_killed_when_the_runner_is(started: Callable[..., subprocess.Popen[bytes]]) -> None:
    """With what it started, also where that has left its session."""
    runner = started(sys.executable, "-S", "-c", "import time; time.sleep(600)")
    host = started(sys.executable, "-S", "-c", STUBBORN)
    assert host.stdout is not None
    child = int(host.stdout.readline())
    watching = guard(started, runner, host, 0.6)
    time.sleep(0.3)
    assert host.poll() is None
    assert watching.poll() is None
    runner.kill()
    assert host.wait(40) == -9
    eventually(lambda: not lives(child), "the child's end")
    assert watching.wait(40) == 0


def test_it_leaves_with_the_host_while_the_runner_lives(started: Callable[..., subprocess.Popen[bytes]]) -> None:
    """What the host has left is the runner's to end."""
    runner = started(sys.executable, "-S", "-c", "import time; time.sleep(600)")
    host = started(sys.executable, "-S", "-c", "import time; time.sleep(600)")
    watching = guard(started, runner, host, 30.0)
    host.kill()
    assert watching.wait(40) == 0
    assert runner.poll() is None


def test_no_host_outlives_a_runner_that_ended_without_stop(started: Callable[..., subprocess.Popen[bytes]]) -> None:
    """However that ended, and whatever it has forked: here a host that doesn't look at its stdin."""
    runners = [started(sys.executable, "-c", RUNNER, ENDS_AT_SIGTERM, end) for end in ("exit", "kill", "fork")]
    hosts = [int(runner.stdout.readline().split()[0]) for runner in runners if runner.stdout is not None]
    eventually(lambda: not any(map(lives, hosts)), "the hosts' end")


def test_only_hosts_of_another_make_need_it() -> None:
    """Ours end with their runner by themselves, and cost no process more."""
    ours = (
        ["procvision-host", "--algo", "a"],
        ["/opt/line/bin/procvision-host", "--algo", "a"],
        ["bwrap", "--dev-bind", "/", "/", "/opt/line/bin/procvision-host", "--algo", "a"],
        [sys.executable, "-P", "-m", "procvision_host", "--algo", "a"],
        [sys.executable, "-I", "-S", "/opt/lib/procvision_host/launched.py", "--algo", "a"],
    )
    assert all(map(ends_with_its_runner, ours))
    others = (
        ["./my-host"],
        [sys.executable, "-m", "procvision_compat.gateway", "--", "x"],
        ["./procvision-host-of-mine"],
    )
    assert not any(map(ends_with_its_runner, others))


def test_nothing_is_left_of_it_after_a_stop() -> None:
    """It is a child of this process, and collected."""
    host = HostProcess([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    assert host._guard is not None
    watching = host._guard
    assert watching.poll() is None
    host.kill_tree()
    host.release()
    assert watching.returncode == 0
