"""The mechanism below a host: its end, its signals, and its tree; with real processes of a few lines."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from procvision_runner.errors import LaunchError
from procvision_runner.process.host_process import HostProcess
from procvision_runner.process.process_tree import tree

PATIENCE_S = 30.0


@contextmanager
def process(*command: str) -> Iterator[HostProcess]:
    """A process that is gone afterwards."""
    made = HostProcess(command)
    try:
        yield made
    finally:
        made.kill_tree()
        made.wait(PATIENCE_S)
        made.release()


def lives(process_id: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -SEGV $$", -signal.SIGSEGV)])
def test_exit_status_is_told(script: str, status: int) -> None:
    """A signal as a negative number."""
    with process("/bin/sh", "-c", script) as host:
        assert host.wait(PATIENCE_S) == status
        assert host.exit_status == status


def test_waiting_ends_with_its_time() -> None:
    """None while it runs; SIGTERM ends it."""
    with process("/bin/sleep", "3600") as host:
        assert host.wait(0.01) is None
        assert host.exit_status is None
        host.terminate()
        assert host.wait(PATIENCE_S) == -signal.SIGTERM


def test_command_that_is_not_there_is_a_launch_error() -> None:
    """With what the system says."""
    with pytest.raises(LaunchError, match=r"'/nonexistent/host' can't be started: No such file"):
        HostProcess(["/nonexistent/host"])


DEAF_FAMILY = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if not os.fork():
    os.setsid()
    if not os.fork():
        sys.stdout.write(f"{os.getpid()}\\n"); sys.stdout.flush()
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    time.sleep(3600)
time.sleep(3600)
"""


def test_tree_is_killed_with_those_who_left_its_session() -> None:
    """Deaf to SIGTERM, in sessions of their own."""
    with process(sys.executable, "-S", "-c", DEAF_FAMILY) as host:
        select.select([host.stdout], [], [])  # our end of it doesn't block
        grandchild = int(os.read(host.stdout, 100))
        members = tree(host.process_id)
        assert {host.process_id, grandchild} <= members.keys()
        host.kill_tree()
        assert not any(map(lives, members))
        assert tree(host.process_id) == {}
        assert lives(os.getpid())


def test_descriptors_are_given_back() -> None:
    """All of them, however often."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        with process("/bin/true") as host:
            host.wait(PATIENCE_S)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
