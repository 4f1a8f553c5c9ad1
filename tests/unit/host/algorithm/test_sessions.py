"""The guard around a store: what it lets through, and what becomes of what goes wrong."""

from __future__ import annotations

import pytest

from procvision_host.algorithm.sessions import MAX_REMEMBERED_ENDS, GuardedSessions
from procvision_host.builtin.memory_store import MemorySessionStore
from procvision_sdk.errors import CallRefusedError
from procvision_sdk.session import SessionInUseError, SessionStoreError


class Failing(MemorySessionStore):
    """Raises what it is given, as long as it is given something."""

    problem: Exception | None = None

    def _fail(self) -> None:
        if self.problem is not None:
            raise self.problem

    def load(self, session_id: str) -> bytes | None:
        self._fail()
        return super().load(session_id)

    def save(self, session_id: str, state: bytes) -> None:
        self._fail()
        super().save(session_id, state)

    def delete(self, session_id: str) -> None:
        self._fail()
        super().delete(session_id)


@pytest.fixture
def store() -> Failing:
    return Failing()


@pytest.fixture
def sessions(store: Failing) -> GuardedSessions:
    return GuardedSessions(store, max_bytes=10)


@pytest.mark.parametrize(
    ("problem", "kind", "retryable", "told"),
    [
        (SessionStoreError("gone", retryable=True), "session_store", True, "can't be saved: gone"),
        (SessionStoreError("spoilt"), "session_store", False, "can't be saved: spoilt"),
        (SessionInUseError("s"), "session_in_use", True, "another host"),
        (ZeroDivisionError("division"), "session_store", False, "ZeroDivisionError: division"),
    ],
)
def test_whatever_a_store_raises_is_the_calls_error(
    store: Failing, sessions: GuardedSessions, problem: Exception, kind: str, retryable: bool, told: str
) -> None:
    """By its own name where it has one."""
    store.problem = problem
    with pytest.raises(CallRefusedError, match=told) as caught:
        sessions.save("s", b"{}")
    assert (caught.value.error_code, caught.value.kind, caught.value.retryable) == ("9999", kind, retryable)


def test_the_bound_and_the_value_are_named(sessions: GuardedSessions) -> None:
    """What was saved before stays."""
    sessions.save("s", b"x" * 10)
    with pytest.raises(CallRefusedError, match="has 11 bytes, the bound is 10"):
        sessions.save("s", b"x" * 11)
    assert sessions.load("s") == b"x" * 10


def test_what_a_store_mixes_up_is_an_error(store: Failing, sessions: GuardedSessions) -> None:
    """Another session's state, whole as it is."""
    sessions.save("a", b"{}")
    store.save("b", store.load("a") or b"")
    with pytest.raises(CallRefusedError, match="damaged"):
        sessions.load("b")


def test_a_session_that_could_not_be_dropped_at_its_end_is_dropped_before_it_is_met_again(
    store: Failing, sessions: GuardedSessions
) -> None:
    """And where that fails, too, the call fails."""
    sessions.save("s", b"{}")
    store.problem = SessionStoreError("away")
    sessions.end("s")
    with pytest.raises(CallRefusedError, match="can't be dropped: away"):
        sessions.load("s")
    store.problem = None
    assert sessions.load("s") is None
    sessions.save("s", b"1")
    assert sessions.load("s") == b"1"


def test_what_is_remembered_of_ends_is_bounded(store: Failing, sessions: GuardedSessions) -> None:
    """The oldest are left to expire."""
    store.problem = SessionStoreError("away")
    for number in range(MAX_REMEMBERED_ENDS + 5):
        sessions.end(str(number))
    assert len(sessions._ended) == MAX_REMEMBERED_ENDS
    assert "0" not in sessions._ended


def test_two_algorithms_have_two_sessions_under_one_id(store: Failing) -> None:
    """Neither reads, overwrites nor ends the other's."""
    weld, label = (GuardedSessions(store, 100, algorithm=name, secret=b"s" * 32) for name in ("weld", "label"))
    weld.save("one", b"{}")
    label.save("one", b"[]")
    assert (weld.load("one"), label.load("one")) == (b"{}", b"[]")
    label.delete("one")
    assert (weld.load("one"), label.load("one")) == (b"{}", None)


def test_a_state_of_somebody_without_the_secret_is_an_error(store: Failing) -> None:
    """Everybody who can write to the store."""
    GuardedSessions(store, 100, algorithm="weld", secret=b"other" * 4).save("one", b"{}")
    with pytest.raises(CallRefusedError, match="another secret"):
        GuardedSessions(store, 100, algorithm="weld", secret=b"s" * 32).load("one")
