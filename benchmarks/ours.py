"""Our runner and our host, with every check on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.floors import first_output, picture
from benchmarks.measure import Once
from procvision_runner import Runner, RunnerOptions

PLUGIN = Path(__file__).with_name("plugin")
CONTEXT = {"product_code": "A-1234", "trace_id": "0" * 32}


def environment() -> dict[str, str]:
    """Ours, with the benchmark's algorithm on the path as if it were installed."""
    path = os.pathsep.join(filter(None, [str(PLUGIN), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path}


@contextmanager
def call(width: int = 0, height: int = 0, *, lent: bool = False) -> Iterator[Once]:
    """An `execute` through `Runner`: without a picture, with one that is copied, or with one that is in its slot."""
    with Runner("bench", options=RunnerOptions(environment=environment())) as runner:
        session = runner.session(CONTEXT)
        image = picture(width, height) if width else None

        def with_copy() -> None:
            runner.execute(image, pid="A", session=session)

        def with_lent_slot() -> None:
            runner.execute(runner.lend(width, height), pid="A", session=session, user_params={"touch": False})

        yield with_lent_slot if lent else with_copy


@contextmanager
def spawn_to_hello() -> Iterator[Once]:
    """From the launch to the first frame; seconds."""
    command = [sys.executable, "-m", "procvision_host", "--algo", "bench"]
    yield lambda: first_output(command, environment())


@contextmanager
def spawn_to_ready() -> Iterator[Once]:
    """From the launch to an algorithm that is set up, and to its end."""

    def once() -> None:
        runner = Runner("bench", options=RunnerOptions(environment=environment()))
        runner.start()
        runner.stop()

    yield once
