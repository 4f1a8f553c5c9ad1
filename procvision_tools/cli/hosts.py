"""Where inspections are made: one host for one of them, one that is kept alive, or several.

Where there are many pictures, a call is made once: what fails is an ERROR, not tried until it goes well. But the
next picture has a host again, however many were killed before.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import click
from attrs import evolve, field, frozen

from procvision_runner.connection.launch import SpawnedHost, host_command
from procvision_runner.errors import RunnerError
from procvision_runner.options import RunnerOptions
from procvision_tools.cli.errors import usage_error
from procvision_tools.report.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from procvision_runner import Runner, Supervisor, SupervisorOptions
    from procvision_sdk.manifest.model import Manifest
    from procvision_tools.report.live import LiveView

GREETED_WITHIN_S = 30.0
"""So long a host waits for the hello of a program that does something else first, on a machine that is busy."""
KEPT_LOGS = 5000
"""Of many inspections, so many of the last log records are kept."""


INSTALLED_HINT = "procvision-host list shows what is installed"
MAX_NAME = 200


def check_name(algorithm: str) -> None:
    """Raise CommandError (exit status 64) for a text that names no algorithm, before a host is launched for it."""
    if not algorithm.partition("==")[0].strip() or len(algorithm) > MAX_NAME:
        raise usage_error(f"{algorithm[:MAX_NAME]!r} is no algorithm's name", INSTALLED_HINT)


@frozen(kw_only=True)
class Hosting:
    """Which algorithm is launched, how its host is started, and how long a call may take."""

    algorithm: str
    """NAME or NAME==VERSION."""
    config: Path | None = None
    """The host's configuration file."""
    sessions: str | None = None
    """The host's session store; None takes the host's default."""
    hooks: tuple[str, ...] = ()
    """Hook plugins that the host must use."""
    hook_options: tuple[str, ...] = ()
    """Their options, as NAME.KEY=VALUE."""
    timeout_s: float | None = None
    """For each call; None takes the runner's defaults."""
    isolation: str | None = None
    """How far the algorithm's process is shut in; None takes the host's default."""
    grants: tuple[str, ...] = ()
    """Needs that the algorithm gets."""
    isolation_missing: str | None = None
    """What becomes of a host where the machine can't enforce that; None takes the host's default."""
    log_level: str | None = None
    """What the host logs; None takes its default. Where nobody reads what is said of each picture it costs time."""
    env: tuple[str, ...] = ()
    """Environment variables that the algorithm gets besides those allowed."""
    readable: tuple[Path, ...] = ()
    """Files and folders that the algorithm reads."""
    spare: bool = False
    """Whether a second host stands by."""
    one_thread: bool = False
    """Whether numeric libraries in it are told to use one thread, unless this process's environment says otherwise."""
    command: tuple[str, ...] = ()
    """What launches the host in place of ours, as it is; then `algorithm` is a name for people."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The host's further arguments, which `procvision run` takes under the same names."""
        given: list[str] = []
        if self.config is not None:
            given += ["--config", str(self.config)]
        if self.sessions is not None:
            given += ["--sessions", self.sessions]
        if self.isolation is not None:
            given += ["--isolation", self.isolation]
        for path in self.readable:
            given += ["--readable", str(path.absolute())]
        if self.isolation_missing is not None:
            given += ["--isolation-missing", self.isolation_missing]
        for need in self.grants:
            given += ["--grant", need]
        for name in self.hooks:
            given += ["--hook", name]
        for value in self.hook_options:
            given += ["--hook-option", value]
        if self.log_level is not None:
            given += ["--log-level", self.log_level]
        return tuple(given)

    def options(self) -> RunnerOptions:
        """Return how a runner treats such a host."""
        environment = None
        if self.one_thread:
            from procvision_tools.engines.protocol import one_thread

            environment = {**os.environ, **one_thread()}
        options = RunnerOptions(
            host_arguments=self.arguments, working_folder=_here(), pass_environment=self.env, environment=environment
        )
        if self.timeout_s is None:
            return options
        return evolve(options, pre_timeout_s=self.timeout_s, execute_timeout_s=self.timeout_s)


def _here() -> str | None:
    """Return the folder that the command was given in, to which the paths in its parameters are relative."""
    try:
        return os.getcwd()  # noqa: PTH109 - links stay
    except FileNotFoundError:  # it is gone
        return None


@frozen
class Launched:
    """A host that is ready, or several, and what the algorithm declares."""

    runner: Runner | Supervisor
    manifest: Manifest
    start_ms: float | None = None
    """How long the start took; None once it was told."""
    kept_logs: Sequence[Mapping[str, Any]] | None = None
    """Where the log records of a host that may be replaced gather; None where the runner has them."""
    pre_left_out: set[int] = field(factory=set)
    """The steps whose `pre` asks for a picture, learnt where none is given."""
    view: LiveView | None = None
    """Where an operator sees what happens to it: what else goes to the same terminal goes through it."""

    @property
    def logs(self) -> Sequence[Mapping[str, Any]]:
        """The last log records."""
        return tuple(self.kept_logs) if self.kept_logs is not None else self.runner.logs


@contextmanager
def spawning(hosting: Hosting) -> Iterator[SpawnedHost | None]:
    """Spawn a host of ours, which starts while this program does something else; it ends if `launched` doesn't take it.

    None where it can't be spawned: `launched` tries again, and says why.
    """
    options = hosting.options()
    try:
        command = hosting.command or host_command(hosting.algorithm, None, options)
        spawned = SpawnedHost((*command, "--handshake-timeout-s", f"{GREETED_WITHIN_S:g}"), options)
    except RunnerError:
        yield None
        return
    with spawned:
        yield spawned


@contextmanager
def launched(hosting: Hosting, spawned: SpawnedHost | None = None) -> Iterator[Launched]:
    """Launch a host, or wait for one that was spawned, and take it down again. Raises RunnerError."""
    from procvision_runner.runner import Runner

    started = time.perf_counter() if spawned is None else spawned.launched_at
    named = None if hosting.command else hosting.algorithm
    runner = Runner(named, command=hosting.command or None, options=hosting.options()).start(spawned)
    try:
        yield Launched(runner, _manifest(runner), (time.perf_counter() - started) * 1000)
    finally:
        runner.stop()


@contextmanager
def kept_alive(hosting: Hosting, live: TextIO | None = None) -> Iterator[Launched]:
    """Launch a host that is replaced when it dies, at once if a spare stands by. Raises RunnerError.

    ``live`` is where an operator sees what happens to it.
    """
    from procvision_runner import Supervisor
    from procvision_tools.cli.noticing import Noticing

    logs: deque[Mapping[str, Any]] = deque(maxlen=KEPT_LOGS)
    noticing = Noticing()

    def on_log(record: Mapping[str, Any]) -> None:
        logs.append(record)
        noticing.take(record)

    options = evolve(supervising(), runner=hosting.options(), spare=hosting.spare)
    named = None if hosting.command else hosting.algorithm
    supervisor = Supervisor(named, command=hosting.command or None, options=options, on_log=on_log)
    with ExitStack() as stack:
        view: LiveView | None = None
        if live is not None:
            from procvision_tools.report.live import watching

            view = stack.enter_context(watching(supervisor, live))
        stack.enter_context(supervisor)
        noticing.begin(_to_stderr if view is None else lambda text: view.show(printable(text)))
        yield Launched(supervisor, _manifest(supervisor), kept_logs=logs, view=view)


def _to_stderr(text: str) -> None:
    click.secho(printable(text), err=True, fg="yellow")


def supervising() -> SupervisorOptions:
    """Return how hosts are kept alive: each picture may kill one. One that doesn't start again is still given up."""
    from procvision_runner import RestartPolicy, RetryPolicy, SupervisorOptions

    restart = RestartPolicy(max_restarts=1_000_000, max_delay_s=0.2)
    return SupervisorOptions(retry=RetryPolicy(retries=0), restart=restart)


def _manifest(runner: Runner | Supervisor) -> Manifest:
    import msgspec

    from procvision_sdk.manifest.model import Manifest

    return msgspec.convert(runner.info()["manifest"], Manifest)
