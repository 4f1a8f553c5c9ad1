"""Children that ended: those of hook plugins are theirs to collect, orphans are nobody else's."""

from __future__ import annotations

import os
import signal
import time

from procvision_host.process.linux import Orphans, ended_children


def test_a_child_that_ended_is_seen_until_it_is_collected() -> None:
    """One that still runs isn't."""
    running = os.fork()
    if running == 0:
        signal.pause()
    ended = os.fork()
    if ended == 0:
        os._exit(3)
    os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
    try:
        assert ended in ended_children()
        assert running not in ended_children()
        assert os.waitstatus_to_exitcode(os.waitpid(ended, 0)[1]) == 3
        assert ended not in ended_children()
    finally:
        os.kill(running, signal.SIGKILL)
        os.waitpid(running, 0)


def test_only_what_was_there_at_the_last_look_is_an_orphan() -> None:
    """And no number is taken for one that has come anew."""
    orphans = Orphans(30.0)
    now = time.monotonic() + 100
    assert orphans.to_collect(now - 30, lambda: {1, 2}) == set()
    assert orphans.to_collect(now, lambda: {1, 2}) == set()
    assert orphans.to_collect(now + 10, lambda: {1, 2, 3}) == set()
    assert orphans.to_collect(now + 31, lambda: {2, 3}) == {2}
    assert orphans.to_collect(now + 62, lambda: {3, 4}) == {3}
    assert orphans.to_collect(now + 93, lambda: {2}) == set()


def test_it_looks_once_in_its_patience() -> None:
    """A host whose algorithm starts many processes doesn't walk through /proc for each."""
    looks: list[float] = []
    orphans = Orphans(30.0)
    for second in range(100):

        def look(second: int = second) -> set[int]:
            looks.append(second)
            return set()

        orphans.to_collect(1000.0 + second, look)
    assert looks == [30, 60, 90]
