"""Files that only their owner reads, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from procvision_sdk.private_files import check_replaceable, make_private_folder, touch_private, write_private


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """One of the umasks that machines have, for the length of a test."""
    before = os.umask(request.param)
    try:
        yield request.param
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_modes_are_the_same_under_every_umask(tmp_path: Path, umask: int) -> None:
    """Of the folder, of those above it that were missing, and of the files."""
    folder = tmp_path / "a" / "b"
    make_private_folder(folder)
    write_private(folder / "written", "text")
    touch_private(folder / "touched")
    assert [mode(path) for path in (tmp_path / "a", folder)] == [0o700, 0o700]
    assert [mode(path) for path in (folder / "written", folder / "touched")] == [0o600, 0o600]


def test_what_is_there_keeps_its_mode(tmp_path: Path) -> None:
    """Somebody may have given it to others on purpose; a folder too."""
    page = tmp_path / "page.html"
    page.write_text("old")
    page.chmod(0o644)
    tmp_path.chmod(0o755)
    make_private_folder(tmp_path)
    write_private(page, "new")
    touch_private(page)
    assert (page.read_text(), mode(page), mode(tmp_path)) == ("new", 0o644, 0o755)


def test_a_link_stays_a_link_and_a_pipe_a_pipe(tmp_path: Path) -> None:
    """What is named is written, not replaced by a file."""
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_private(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    write_private(Path("/dev/null"), "nothing")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_pipe_is_written_to_who_reads_it_and_not_waited_for(tmp_path: Path) -> None:
    """A page that is piped on arrives; without a reader it is an error at once."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="pipe"):
        write_private(pipe, "lost")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_private(pipe, "a page")
        assert os.read(reader, 100) == b"a page"
    finally:
        os.close(reader)


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda path: None, False),
        (Path.touch, False),
        (lambda path: path.symlink_to("elsewhere"), False),
        (os.mkfifo, True),
        (Path.mkdir, True),
    ],
    ids=["nothing", "file", "link", "pipe", "folder"],
)
def test_only_a_files_place_can_be_taken(make: Callable[[Path], object], wrong: bool, tmp_path: Path) -> None:
    """A model must not take that of /dev/null."""
    make(tmp_path / "place")
    with pytest.raises(OSError, match="and no file") if wrong else contextlib.nullcontext():
        check_replaceable(tmp_path / "place")


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        make_private_folder(tmp_path / "file")
    with pytest.raises(OSError, match="Not a directory"):
        make_private_folder(tmp_path / "file" / "below")


def test_on_a_full_disk_the_old_file_stays_whole(tmp_path: Path) -> None:
    """The limit of a file's size stands for the disk's: the write fails in the middle."""
    page = tmp_path / "page.html"
    page.write_text("yesterday's, whole")
    program = (
        "import resource, signal, sys; from pathlib import Path; "
        "from procvision_sdk.private_files import write_private; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
        "write_private(Path(sys.argv[1]), 'x' * 100_000)"
    )
    done = subprocess.run([sys.executable, "-c", program, page], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert page.read_text() == "yesterday's, whole"
    assert list(tmp_path.iterdir()) == [page]


def test_a_text_that_utf8_cannot_carry_is_written_all_the_same(tmp_path: Path) -> None:
    write_private(tmp_path / "page.html", "a\ud800b")
    assert (tmp_path / "page.html").read_bytes() == b"a?b"
