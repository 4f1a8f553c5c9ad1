"""Where inspections are made: one host for one of them, one that is kept alive, or several.

Where there are many pictures, a call is made once: what fails is an ERROR, not tried until it goes well. But the
next picture has a host again, however many were killed before.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import click
import msgspec
from attrs import evolve, field, frozen

from procvision_runner import Pool, RestartPolicy, RetryPolicy, Runner, Supervisor, SupervisorOptions
from procvision_sdk.manifest.model import Manifest
from procvision_tools.cli.noticing import Noticing
from procvision_tools.report.text import printable

if TYPE_CHECKING:
    from procvision_tools.report.live import LiveView

KEPT_LOGS = 5000
"""Of many inspections, so many of the last log records are kept."""
OPTIONS = SupervisorOptions(
    retry=RetryPolicy(retries=0), restart=RestartPolicy(max_restarts=1_000_000, max_delay_s=0.2)
)
"""Each picture may kill a host. One that doesn't start again is still given up."""


@frozen
class Station:
    """A host that is ready, or several, and what the algorithm declares."""

    runner: Runner | Supervisor | Pool
    manifest: Manifest
    start_ms: float | None = None
    """How long the start took; None once it was told."""
    kept_logs: Sequence[Mapping[str, Any]] = ()
    """Where the log records of a host that may be replaced gather."""
    pre_left_out: set[int] = field(factory=set)
    """The steps whose `pre` asks for a picture, learnt where none is given."""
    view: LiveView | None = None
    """Where an operator sees what happens to it: what else goes to the same terminal goes through it."""

    @property
    def logs(self) -> Sequence[Mapping[str, Any]]:
        """The last log records."""
        return self.runner.logs if isinstance(self.runner, Runner) else tuple(self.kept_logs)


@contextmanager
def launched(algorithm: str) -> Iterator[Station]:
    """Launch a host and take it down again. Raises RunnerError."""
    started = time.perf_counter()
    with Runner(algorithm) as runner:
        yield Station(runner, _manifest(runner), (time.perf_counter() - started) * 1000)


@contextmanager
def kept_alive(algorithm: str, live: TextIO | None = None, *, spare: bool = False) -> Iterator[Station]:
    """Launch a host that is replaced when it dies, at once if a ``spare`` stands by. Raises RunnerError.

    ``live`` is where an operator sees what happens to it.
    """
    from procvision_tools.report.live import watching

    logs: deque[Mapping[str, Any]] = deque(maxlen=KEPT_LOGS)
    noticing = Noticing()

    def on_log(record: Mapping[str, Any]) -> None:
        logs.append(record)
        noticing.take(record)

    supervisor = Supervisor(algorithm, options=evolve(OPTIONS, spare=spare), on_log=on_log)
    with ExitStack() as stack:
        view = stack.enter_context(watching(supervisor, live)) if live is not None else None
        stack.enter_context(supervisor)
        noticing.begin(_to_stderr if view is None else lambda text: view.show(printable(text)))
        yield Station(supervisor, _manifest(supervisor), kept_logs=logs, view=view)


@contextmanager
def several(algorithm: str, hosts: int) -> Iterator[Station]:
    """Launch so many hosts, each replaced when it dies. Raises RunnerError."""
    noticing = Noticing()
    with Pool(algorithm, hosts=hosts, options=OPTIONS, on_log=noticing.take) as pool:
        noticing.begin(_to_stderr)
        yield Station(pool, _manifest(pool))


def _to_stderr(text: str) -> None:
    click.secho(printable(text), err=True, fg="yellow")


def _manifest(runner: Runner | Supervisor | Pool) -> Manifest:
    return msgspec.convert(runner.info()["manifest"], Manifest)
