"""A process with mounts, IPC and network of its own: what it sees, and what it still changes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
BEGIN = f"""
import os, socket, sys
from pathlib import Path
sys.path[:0] = {[str(ROOT), *(path for path in sys.path if path.endswith("-packages"))]!r}
from procvision_host.sandbox.namespaces import enter
from procvision_host.sandbox.kernel import IsolationMissingError, prctl
os.umask(0)
os.mkdir(sys.argv[1]); os.mkdir(sys.argv[1] + "/out"); os.mkdir(sys.argv[1] + "/other")
if {{user}} is not None and os.getuid() == 0:
    for name in ("", "/out", "/other"): os.chown(sys.argv[1] + name, {{user}}, {{user}})
    os.setgroups([]); os.setresgid({{user}}, {{user}}, {{user}}); os.setresuid({{user}}, {{user}}, {{user}})
    prctl(4, 1)  # as after an exec: its files in /proc are its own
def tried(deed):
    try: deed()
    except OSError as error: return error.strerror
    return "done"
own, other = Path(sys.argv[1], "out"), Path(sys.argv[1], "other")
(other / "a").write_text("a")
"""
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's"),
    pytest.mark.parametrize(
        "user",
        [None, pytest.param(12345, marks=pytest.mark.skipif(os.getuid() != 0, reason="only root becomes another"))],
    ),
]


def run(code: str, user: int | None, tmp_path: Path) -> list[str]:
    """What a program says that begins as one user or another."""
    shared = Path(tempfile.gettempdir())
    for folder in (tmp_path, *tmp_path.parents):
        if shared in folder.parents and folder.stat().st_uid == os.getuid():
            folder.chmod(0o755)
    program = BEGIN.format(user=user) + textwrap.dedent(code)
    command = [sys.executable, "-c", program, str(tmp_path / "f")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")
    if "namespaces" in done.stderr and "IsolationMissingError" in done.stderr:
        pytest.skip(f"this user can't have namespaces here: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done
    return done.stdout.splitlines()


def test_what_is_not_its_own_is_read_only(user: int | None, tmp_path: Path) -> None:
    """Modes and times as well, which Landlock doesn't hold; what it is given it writes."""
    code = """
    enter([own])
    print(tried(lambda: (own / "b").write_text("b")), (own / "b").read_text())
    for deed in (lambda: (other / "b").write_text("b"), lambda: (other / "a").chmod(0), lambda: os.utime(other / "a"),
                 lambda: (other / "a").unlink(), lambda: os.setxattr(other / "a", "user.x", b"x")):
        print(tried(deed))
    print((other / "a").read_text(), os.getpid() == int(os.readlink("/proc/self")))
    """
    assert run(code, user, tmp_path) == ["done b", *["Read-only file system"] * 5, "a True"]
    assert (tmp_path / "f" / "out" / "b").read_text() == "b"


def test_shared_memory_and_network_are_its_own(user: int | None, tmp_path: Path) -> None:
    """Nothing of others is there, nothing of its own is seen by others, and its size is bounded."""
    mark = Path(f"/dev/shm/procvision-test-{os.getpid()}")
    mark.write_text("others'")
    code = """
    enter()
    print(os.listdir("/dev/shm"), [name for _, name in socket.if_nameindex() if name != "lo"])
    print(tried(lambda: Path("/dev/shm/procvision-test-inside").write_text("x")))
    print(os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize)
    """
    try:
        assert run(code, user, tmp_path) == ["[] []", "done", str(512 << 20)]
    finally:
        mark.unlink()
    assert not Path("/dev/shm/procvision-test-inside").exists()


def test_the_network_stays_where_it_is_wanted(user: int | None, tmp_path: Path) -> None:
    """For connections that were granted."""
    code = """
    before = os.readlink("/proc/self/ns/net")
    enter(network=True)
    print(os.readlink("/proc/self/ns/net") == before)
    """
    assert run(code, user, tmp_path) == ["True"]
