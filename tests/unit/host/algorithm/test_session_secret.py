"""The secret of sessions: made once, of the own user alone, and never guessed at."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from procvision_host.algorithm.session_secret import secret_path, session_secret
from procvision_host.configuration import ConfigurationError


def test_it_is_made_once_and_is_the_users_alone(tmp_path: Path) -> None:
    """Whatever the umask, in a folder of its own."""
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    before = os.umask(0)
    try:
        secret = session_secret(environment)
    finally:
        os.umask(before)
    path = secret_path(environment)
    assert session_secret(environment) == secret
    assert len(secret) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_hosts_that_begin_at_once_have_one(tmp_path: Path) -> None:
    """The later finds that of the first."""
    environment = {"PROCVISION_SESSION_KEY": str(tmp_path / "deep" / "key")}
    found: list[bytes] = []
    processes = []
    for _ in range(8):
        read, write = os.pipe()
        process_id = os.fork()
        if process_id == 0:
            os.write(write, session_secret(environment))
            os._exit(0)
        os.close(write)
        processes.append((process_id, read))
    for process_id, read in processes:
        found.append(os.read(read, 64))
        os.close(read)
        os.waitpid(process_id, 0)
    assert len(set(found)) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_one_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """With what to do about it."""
    path = tmp_path / "key"
    path.write_bytes(b"s" * 32)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"hint: chmod 600 {path}"):
        session_secret({"PROCVISION_SESSION_KEY": str(path)})


@pytest.mark.parametrize("kind", ["short", "long", "fifo", "link", "folder", "unmakeable"])
def test_what_is_no_secret_is_refused_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    """It is opened before it is known what it is."""
    path = tmp_path / "key"
    if kind in {"short", "long"}:
        path.write_bytes(b"s" * (31 if kind == "short" else 33))
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        (tmp_path / "real").write_bytes(b"s" * 32)
        path.symlink_to(tmp_path / "real")
    elif kind == "folder":
        path.mkdir()
    else:
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "key"
    if path.is_file():
        path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="the key of sessions"):
        session_secret({"PROCVISION_SESSION_KEY": str(path)})
