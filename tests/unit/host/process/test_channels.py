"""The host's descriptors, and how they are found again; pipes and a /proc of this very process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from procvision_host.process.channels import HostEnds, out_of_the_way
from procvision_host.process.shared_page import SharedPage

NAMES = ("frames_in", "frames_out", "logs", "notices", "control", "wake", "arena")


class Ends(HostEnds):
    """Ends whose guardian is this process, which holds the other ends of the pipes."""

    __slots__ = ("others",)

    def __init__(self) -> None:
        frames_in, runner_out = os.pipe()
        runner_in, frames_out = os.pipe()
        logs_read, logs = os.pipe()
        notices_read, notices = os.pipe()
        control, wake = os.pipe()
        writer = os.memfd_create("arena", os.MFD_ALLOW_SEALING)
        os.ftruncate(writer, 65536)
        arena = os.open(f"/proc/self/fd/{writer}", os.O_RDONLY)
        os.close(writer)
        sources = tuple(map(out_of_the_way, (frames_in, frames_out, logs_read, notices_read, wake, arena)))
        os.set_blocking(control, False)
        descriptors = (frames_in, frames_out, logs, notices, control, wake, arena)
        super().__init__(os.getpid(), descriptors, (*sources[:-1], *sources[-2:]))
        self.others = [*sources, runner_out, runner_in, logs_read, notices_read]

    def close(self) -> None:
        """Closes all."""
        for descriptor in {*self.others, *(getattr(self, name) for name in NAMES)}:
            os.close(descriptor)


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


def test_untouched_descriptors_are_what_they_were(ends: Ends) -> None:
    """The rule, at every call."""
    before = [getattr(ends, name) for name in NAMES]
    assert ends.verify()
    assert not ends.mend()
    assert [getattr(ends, name) for name in NAMES] == before


@pytest.mark.parametrize("name", NAMES)
def test_closed_descriptor_is_opened_again(ends: Ends, name: str) -> None:
    """It leads to the same pipe, by another number that is out of the way, and no other was touched."""
    before = {other: getattr(ends, other) for other in NAMES}
    inode = os.fstat(before[name]).st_ino
    os.close(before[name])
    assert ends.mend()
    assert os.fstat(getattr(ends, name)).st_ino == inode
    assert getattr(ends, name) >= 3
    assert all(getattr(ends, other) == before[other] for other in NAMES if other != name)
    assert not ends.mend()


@pytest.mark.parametrize("name", NAMES)
def test_number_that_a_vendors_file_got_is_left_to_it(ends: Ends, name: str, tmp_path: Path) -> None:
    """Nothing is written into it, and it stays open."""
    number = getattr(ends, name)
    file = os.open(tmp_path / "vendors.db", os.O_RDWR | os.O_CREAT)
    os.dup2(file, number)
    assert ends.mend()
    assert getattr(ends, name) != number
    assert os.fstat(number).st_ino == os.fstat(file).st_ino
    os.close(number)
    os.close(file)


def test_one_of_ours_is_never_taken_for_another(ends: Ends) -> None:
    """Where a number that was closed leads to another of the host's own pipes."""
    os.close(ends.frames_out)
    os.dup2(ends.wake, ends.frames_out)
    os.close(ends.control)
    os.dup2(ends.wake, ends.control)
    inodes = [os.fstat(ends.others[1]).st_ino, os.fstat(ends.others[4]).st_ino]
    duplicates = ends.frames_out, ends.control
    assert ends.mend()
    assert [os.fstat(ends.frames_out).st_ino, os.fstat(ends.control).st_ino] == inodes
    assert ends.control not in duplicates
    for number in duplicates:
        os.close(number)


def test_who_watches_learns_of_what_a_log_line_mended(ends: Ends) -> None:
    """Once, no matter who found it."""
    os.close(ends.frames_in)
    os.close(ends.logs)
    assert ends.write_log(b"{}\n") == 3
    assert not ends.verify()
    assert ends.verify()


def test_board_tells_the_call_and_how_it_ended() -> None:
    """What a guardian reads after a crash."""
    board = SharedPage()
    assert board.call == (0, None)
    board.call_begins(7, ("ä" * 100).encode())
    number, request_id = board.call
    assert number == 7
    assert request_id is not None
    assert request_id.startswith("ä" * 30)
    board.call_begins(8, b"")
    assert board.call == (8, None)
    board.call_ends()
    assert board.call == (0, None)
    assert not board.left_by_itself
    board.leaves()
    assert board.left_by_itself
