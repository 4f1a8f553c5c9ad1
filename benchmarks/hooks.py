"""What hook plugins cost a call: an observer of it, and a store for a session that each call changes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import floors
from benchmarks.measure import Case, Once
from benchmarks.ours import CONTEXT, environment
from procvision_runner import Runner, RunnerOptions

CALLS = 1000
LOOKING, KEEPING = 1, 2
"""The steps of the benchmark's algorithm: one leaves its session alone, one changes it."""
OBSERVER_AT_MOST = 1.02
TARGETS = {"ours: one observer": OBSERVER_AT_MOST, "ours: SQLite sessions": 1.8}


@contextmanager
def call(*arguments: str, step_index: int = LOOKING) -> Iterator[Once]:
    """An `execute` without a picture, in a host that was given these arguments."""
    options = RunnerOptions(environment=environment(), host_arguments=arguments)
    with Runner("bench", options=options) as runner:
        session = runner.session(CONTEXT)
        yield lambda: runner.execute(pid="A", session=session, step_index=step_index)


@contextmanager
def sqlite(durability: str) -> Iterator[Once]:
    """The same with a session that each call changes, in a file."""
    with tempfile.TemporaryDirectory() as folder:
        sessions = f"sqlite:{Path(folder)}/sessions.db?durability={durability}"
        with call("--sessions", sessions, step_index=KEEPING) as once:
            yield once


observed = partial(call, "--hook-option", "bench-observer.used=true")
"""A call that a hook plugin is told of."""


def cases() -> list[Case]:
    """All of them beside a host that has no hook plugin."""
    bare = "ours: bare call"
    found = {
        "ours: one observer": observed,
        "ours: memory sessions": partial(call, step_index=KEEPING),
        "ours: SQLite sessions": partial(sqlite, "normal"),
        "ours: SQLite sessions, full": partial(sqlite, "full"),
    }
    return [
        Case(name="floor: SQLite update", group="hooks", open=floors.sqlite_update, calls=CALLS),
        Case(name=bare, group="hooks", open=call, calls=CALLS),
        *(Case(name=name, group="hooks", open=open_, calls=CALLS, reference=bare) for name, open_ in found.items()),
    ]
