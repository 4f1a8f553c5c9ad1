"""A process in namespaces of its own: what it sees, how it ends, and that nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
BEGIN = f"""
import json, os, signal, socket, sys, time
sys.path[:0] = {[str(ROOT), *(path for path in sys.path if path.endswith("-packages"))]!r}
from procvision_host.sandbox.namespaces import *
from procvision_host.sandbox.namespaces import Folder
from procvision_host.sandbox.kernel import prctl
if {{user}} is not None and os.getuid() == 0:
    os.setgroups([]); os.setresgid({{user}}, {{user}}, {{user}}); os.setresuid({{user}}, {{user}}, {{user}})
    prctl(4, 1)  # as after an exec: its files in /proc are its own
"""

pytestmark = pytest.mark.parametrize(
    "user",
    [None, pytest.param(12345, marks=pytest.mark.skipif(os.getuid() != 0, reason="only root becomes another"))],
)


def run(code: str, user: int | None, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A program that begins as one user or another."""
    program = BEGIN.format(user=user) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, timeout=60, cwd="/"
    )


def test_it_sees_itself_alone(user: int | None) -> None:
    """Its own processes, no network interface that is up, no file that it could write but in its own folder."""
    done = run(
        """
        def inner():
            print(sorted(int(name) for name in os.listdir("/proc") if name.isdigit()), os.getpid())
            print([name for _, name in socket.if_nameindex() if name != "lo"])
            print(os.listdir("/dev/shm"))
            for path in ("/var/tmp/pv-probe", "/dev/shm/pv-probe"):
                try: print(open(path, "w").write("x"))
                except OSError as error: print(error.errno)
            sys.stdout.flush()
        open("/dev/shm/pv-outside", "w").close()
        nested = nest(inner, STRICT_NAMESPACES, folders=[Folder("/dev/shm", 1, 0o1777)], read_only=True)
        print(nested.wait(), os.path.exists("/dev/shm/pv-probe"))
        os.unlink("/dev/shm/pv-outside")
        """,
        user,
    )
    assert done.stdout.splitlines() == ["[1, 2] 2", "[]", "[]", "30", "1", "0 False"], done


@pytest.mark.parametrize(
    ("deed", "status"),
    [
        ("os._exit(3)", 3 << 8),
        ("os.kill(os.getpid(), signal.SIGSEGV)", int(signal.SIGSEGV)),
        ("os.abort()", int(signal.SIGABRT)),
        ("os.kill(1, signal.SIGKILL); os._exit(5)", 5 << 8),  # process 1 can't be hit from inside
    ],
)
def test_how_it_ended_is_told_as_it_was(user: int | None, deed: str, status: int) -> None:
    """As if there were nothing in between."""
    done = run(
        f"""
        import resource
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        def inner():
            {deed}
        print(nest(inner, BASIC_NAMESPACES).wait())
        """,
        user,
    )
    assert done.stdout == f"{status}\n", done


LEAVES_A_DAEMON = """
def inner():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 64)
            os.execv("/bin/sleep", ["sleep", sys.argv[1]])
        os._exit(0)
    {then}
nested = nest(inner, BASIC_NAMESPACES)
"""


def sleeps(mark: str) -> list[int]:
    """The processes that run `sleep` for so long."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and (entry / "cmdline").read_bytes() == f"sleep\0{mark}\0".encode():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("then", "outside"),
    [
        ("time.sleep(0.3)", "nested.wait()"),  # it ended by itself
        ("time.sleep(60)", "time.sleep(0.4); os.kill(os.getpid(), signal.SIGKILL)"),  # the process outside was killed
        ("time.sleep(60)", "time.sleep(0.4); os.kill(nested.inner, signal.SIGKILL); nested.wait()"),
    ],
)
def test_nothing_that_it_started_outlives_it(user: int | None, then: str, outside: str) -> None:
    """A daemon that left its session and closed its descriptors included."""
    mark = f"{600 + os.getpid() % 1000}.{time.monotonic_ns() % 10**6}"
    done = run(LEAVES_A_DAEMON.replace("{then}", then) + outside, user, Path(mark))
    assert done.returncode in {0, -9}, done
    deadline = time.monotonic() + 10
    while sleeps(mark) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sleeps(mark) == []


def test_its_process_id_is_the_one_outside(user: int | None) -> None:
    """A signal that the process outside sends reaches it."""
    done = run(
        """
        def inner():
            time.sleep(60)
        nested = nest(inner, BASIC_NAMESPACES)
        os.kill(nested.inner, signal.SIGUSR1)
        print(nested.wait() == signal.SIGUSR1)
        """,
        user,
    )
    assert done.stdout == "True\n", done
