"""What no plugin listens to costs nothing on a call: nothing of it stands on its way."""

from __future__ import annotations

import pytest

from procvision_host.algorithm.sessions import GuardedSessions
from procvision_host.builtin.memory_store import MemorySessionStore
from procvision_host.halves.alone import Alone
from procvision_host.halves.asked import host_half_is_asked_for
from procvision_host.hooks.manager import Hooks
from procvision_host.hooks.observers import CALL_HOOKS, LIFE_HOOKS, LOG_HOOK, SESSION_HOOKS, Wrappers
from procvision_host.hooks.selection import HookChoice
from procvision_sdk import hookspecs
from procvision_sdk.wire.messages import AnyMessage, Call, Result


@pytest.fixture
def hooks() -> Hooks:
    """Those of a host with what is in the box alone."""
    return Hooks(HookChoice())


def test_without_a_host_half_the_worker_is_called_itself() -> None:
    """No wrapper, no observer of sessions, nothing after the answer, no question asked."""
    sessions = GuardedSessions(MemorySessionStore(), 1000)
    half = Alone(None)  # type: ignore[arg-type] - there is no channel that it could use

    def run(call: Call) -> Result:
        return Result()

    def answered(call: Call, answer: AnyMessage, elapsed_ms: float) -> None:
        return

    assert half.around(run) is run
    assert half.after(answered) is answered
    assert half.observed(sessions) is sessions
    assert half.records is None


def test_what_is_in_the_box_listens_to_nothing(hooks: Hooks) -> None:
    """So that a store alone costs its own questions and no records."""
    assert not hooks.listening(*CALL_HOOKS, *SESSION_HOOKS, *LIFE_HOOKS, LOG_HOOK)
    assert not Wrappers(hooks)


@pytest.mark.parametrize(
    ("arguments", "variables", "asked"),
    [
        ([], {}, False),
        (["--algo", "x", "--max-pending", "3"], {"PATH": "/bin", "PROCVISION_STATE": "x"}, False),
        (["--sessions", "sqlite:x"], {}, True),
        (["--hook=x"], {}, True),
        (["--hook-option", "x.y=z"], {}, True),
        (["--no-hook", "posix-images"], {}, True),
        (["--config", "x"], {}, True),
        ([], {"PROCVISION_HOOKS": "x"}, True),
        ([], {"PROCVISION_SESSIONS": "sqlite:x"}, True),
        ([], {"PROCVISION_CONFIG": "x"}, True),
        ([], {"PROCVISION_HOOK_SQLITE_SESSIONS_BUSY_MS": "x"}, True),
    ],
)
def test_a_host_half_is_there_where_somebody_asked_for_something(
    arguments: list[str], variables: dict[str, str], asked: bool
) -> None:
    """Otherwise a start doesn't pay for it."""
    assert host_half_is_asked_for(arguments, variables) is asked


def test_what_nobody_listens_to_is_not_even_put_together(hooks: Hooks) -> None:
    """For every hook there is."""

    def arguments() -> dict[str, object]:
        raise AssertionError("put together for nobody")

    for hook, sort in hookspecs.SORTS.items():
        if sort == "observer":
            assert not hooks.listening(hook)
            hooks.tell(hook, arguments)
    assert hooks.observers == ()
