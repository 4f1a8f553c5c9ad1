"""What no plugin listens to costs nothing on a call: nothing of it stands on its way."""

from __future__ import annotations

import pytest

from procvision_host.algorithm.sessions import GuardedSessions
from procvision_host.builtin.memory_sessions import MemorySessionStore
from procvision_host.hooks.manager import Hooks
from procvision_host.hooks.observers import Telling
from procvision_host.hooks.selection import HookChoice
from procvision_sdk import hookspecs
from procvision_sdk.wire.messages import Call, Result


@pytest.fixture
def hooks() -> Hooks:
    """Those of a host with what is in the box alone."""
    return Hooks(HookChoice())


def test_without_a_listener_the_worker_is_called_itself(hooks: Hooks) -> None:
    """No wrapper, no observer of sessions, nothing after the answer."""
    sessions = GuardedSessions(MemorySessionStore(), 1000)
    told = Telling(hooks, sessions)

    def run(call: Call) -> Result:
        return Result()

    assert told.around(run) is run
    assert told.sessions is sessions
    assert told.answered is None


def test_what_nobody_listens_to_is_not_even_put_together(hooks: Hooks) -> None:
    """For every hook there is."""

    def arguments() -> dict[str, object]:
        raise AssertionError("put together for nobody")

    for hook, sort in hookspecs.SORTS.items():
        if sort == "observer":
            assert not hooks.listening(hook)
            hooks.tell(hook, arguments)
    assert hooks.observers == ()
