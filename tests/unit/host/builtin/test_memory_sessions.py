"""The store in memory: its bounds, and that what had to go is never taken for an empty session."""

from __future__ import annotations

import pytest

from procvision_host.builtin.memory_sessions import MemorySessions
from procvision_host.builtin.memory_store import REMEMBERED_PER_SESSION, MemorySessionStore
from procvision_sdk.session import SessionStoreError


def test_the_least_recently_used_is_put_out_and_says_so() -> None:
    """Looking at a session is using it."""
    store = MemorySessionStore(max_sessions=2)
    store.save("a", b"1")
    store.save("b", b"2")
    assert store.load("a") == b"1"
    store.save("c", b"3")
    assert (store.load("a"), store.load("c")) == (b"1", b"3")
    with pytest.raises(SessionStoreError, match="put out: the memory holds 2 sessions"):
        store.load("b")


def test_a_session_that_was_put_out_can_be_begun_again_after_a_reset() -> None:
    """Which deletes it."""
    store = MemorySessionStore(max_sessions=1)
    store.save("a", b"1")
    store.save("b", b"2")
    store.delete("a")
    assert store.load("a") is None


def test_the_memory_of_all_together_is_bounded() -> None:
    """The newest alone may be over it: a host's own bound on one state is smaller."""
    store = MemorySessionStore(max_megabytes=0.001)
    store.save("a", b"x" * 600)
    store.save("b", b"x" * 400)
    assert store.load("a") == b"x" * 600
    store.save("b", b"x" * 500)
    with pytest.raises(SessionStoreError, match=r"0\.001 MB"):
        store.load("a")
    store.save("c", b"x" * 2000)
    assert store.load("c") == b"x" * 2000


def test_a_session_expires() -> None:
    """Put out or not."""
    now = [0.0]
    store = MemorySessionStore(max_sessions=1, ttl_s=10, clock=lambda: now[0])
    store.save("a", b"1")
    store.save("b", b"2")
    now[0] = 10.0
    assert store.load("b") == b"2"
    now[0] = 10.1
    assert store.load("a") is None
    assert store.load("b") is None


def test_what_is_remembered_of_the_put_out_is_bounded() -> None:
    """A host that runs for years doesn't grow."""
    store = MemorySessionStore(max_sessions=1)
    for number in range(3 * REMEMBERED_PER_SESSION):
        store.save(str(number), b"")
    assert len(store._put_out) == REMEMBERED_PER_SESSION


@pytest.mark.parametrize("text", ["memory", "memory:", "memory:?max_sessions=3&ttl_s=60"])
def test_options_stand_in_the_text(text: str) -> None:
    """As for every store."""
    assert MemorySessions()._open(text).load("a") is None


@pytest.mark.parametrize("text", ["memory:?size=3", "memory:here", "memory:?max_sessions=0", "memory:?ttl_s=nan"])
def test_a_wrong_text_is_an_error(text: str) -> None:
    """Naming what is wrong."""
    with pytest.raises(SessionStoreError):
        MemorySessions()._open(text)
