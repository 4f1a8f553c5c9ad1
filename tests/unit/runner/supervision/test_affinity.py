"""Which host knows which session."""

from __future__ import annotations

from procvision_runner.supervision.affinity import SessionBindings

TTL_S = 100.0


def opened(sessions: SessionBindings[str], session_id: str, host: str, *, answered: int = 1, now: float = 0.0) -> None:
    binding = sessions.get(session_id, now)
    binding.host, binding.answered = host, answered


def test_session_that_had_an_answer_is_lost_with_its_host() -> None:
    sessions: SessionBindings[str] = SessionBindings(TTL_S)
    opened(sessions, "a", "first")
    opened(sessions, "b", "second")
    assert sessions.lose("first", "it crashed") == 1
    assert sessions.get("a", 1.0).lost == "it crashed"
    assert sessions.get("b", 1.0).lost is None


def test_session_without_an_answer_may_begin_again_elsewhere() -> None:
    sessions: SessionBindings[str] = SessionBindings(TTL_S)
    opened(sessions, "a", "first", answered=0)
    assert sessions.lose("first", "it crashed") == 0
    assert sessions.get("a", 1.0).host is None
    assert sessions.get("a", 1.0).lost is None


def test_session_kept_outside_the_host_goes_on() -> None:
    sessions: SessionBindings[str] = SessionBindings(TTL_S)
    opened(sessions, "a", "first")
    assert sessions.lose("first", "it crashed", keep=True) == 0
    assert sessions.get("a", 1.0).lost is None


def test_silent_session_ends_by_its_time_to_live() -> None:
    sessions: SessionBindings[str] = SessionBindings(TTL_S)
    opened(sessions, "a", "first")
    assert sessions.open_on("first", TTL_S) == 1
    assert sessions.open_on("first", TTL_S + 1) == 0


def test_session_with_a_call_on_its_way_does_not_end() -> None:
    sessions: SessionBindings[str] = SessionBindings(TTL_S)
    opened(sessions, "a", "first")
    sessions.get("a", 0.0).owner = object()
    assert sessions.open_on("first", 10 * TTL_S) == 1


def test_number_of_sessions_is_bounded() -> None:
    sessions: SessionBindings[str] = SessionBindings(TTL_S, max_sessions=10)
    for number in range(1000):
        sessions.get(str(number), 0.0)
    assert len(sessions) <= 11
