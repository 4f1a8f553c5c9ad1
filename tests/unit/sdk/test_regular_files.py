"""Only regular files are read, only so much of them, and nothing is waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from procvision_sdk.regular_files import opened_regular, read_regular


def test_a_whole_file_is_read_also_through_a_link(tmp_path):
    (tmp_path / "f").write_bytes(b"abc" * 1_000_000)
    (tmp_path / "link").symlink_to("f")
    assert read_regular(tmp_path / "link", 3_000_000) == b"abc" * 1_000_000
    (tmp_path / "empty").touch()
    assert read_regular(tmp_path / "empty", 0) == b""


@pytest.mark.parametrize("kind", ["fifo", "link to a fifo", "device", "folder", "socket"])
def test_what_is_no_regular_file_is_refused_at_once(kind, tmp_path):
    path = tmp_path / "f"
    if kind == "device":
        path = Path("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as end:
            end.bind(str(path))
    else:
        os.mkfifo(path)
        if kind == "link to a fifo":
            (tmp_path / "g").symlink_to(path)
            path = tmp_path / "g"
    with pytest.raises(OSError, match="a folder" if kind == "folder" else "no regular file"):
        read_regular(path, 100)
    with pytest.raises(OSError), opened_regular(path):
        pass


def test_more_than_is_wanted_is_an_error_also_where_the_size_is_not_told(tmp_path):
    (tmp_path / "f").write_bytes(b"12345")
    with pytest.raises(OSError, match="at most 4 bytes are read, it has 5") as caught:
        read_regular(tmp_path / "f", 4)
    assert caught.value.filename == str(tmp_path / "f")
    with pytest.raises(OSError, match="it has more"):
        read_regular("/proc/self/status", 10)
    assert read_regular("/proc/self/status", 100_000).startswith(b"Name:")
