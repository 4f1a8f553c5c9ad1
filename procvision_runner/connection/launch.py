"""Makes a host's command line, spawns its process, and waits until the host is ready.

What speaks with a host is imported only when it speaks: a host that was spawned first starts meanwhile.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from procvision_runner.deployments import active_deployment, host_program, runs_by_python
from procvision_runner.errors import CallError, LaunchError
from procvision_runner.images.slots import SlotPool
from procvision_runner.options import RunnerOptions
from procvision_runner.process.host_process import HostProcess, missing_interpreter

if TYPE_CHECKING:
    from procvision_runner.connection.client import Client


class SpawnedHost:
    """A host's process that nobody speaks with yet, and the memory for its pictures.

    `Runner.start` takes it over. Until then it is a context manager: leaving it ends the process.
    """

    def __init__(self, command: Sequence[str], options: RunnerOptions) -> None:
        """Spawn the process. Raises LaunchError."""
        self.launched_at = time.perf_counter()
        self.slots = SlotPool(options.max_slots, options.arena_bytes)
        try:
            arena = self.slots.arena()
            self.process = HostProcess(command, options.environment, arena, options.pass_environment)
        except BaseException:
            self.slots.close()
            raise
        self._taken = False

    def take(self) -> tuple[HostProcess, SlotPool]:
        """Hand over both: from now on it is the taker who ends them. Raises RuntimeError the second time."""
        if self._taken:
            raise RuntimeError("this host has a runner already, or has ended")
        self._taken = True
        return self.process, self.slots

    def __enter__(self) -> SpawnedHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._taken:
            self._taken = True
            self.process.kill_tree()
            self.process.release()
            self.slots.close()


def host_command(
    algorithm: str | None,
    command: Sequence[str] | None,
    options: RunnerOptions,
    deployments: str | os.PathLike[str] | None = None,
    pid: str | None = None,
) -> tuple[str, ...]:
    """Return a host's command line: `command` as it is, or that of our host for `algorithm` (NAME or NAME==VERSION).

    With `deployments` it is the version that is active there for the product, shut in as `strict` does unless the
    options say how far, and with what its activation grants. Raises ValueError unless exactly one of
    algorithm and command is given, and LaunchError where this program can't launch ours or nothing is active.
    """
    if deployments is None and pid is not None:
        raise ValueError("pid says which product's active version is launched: give deployments=ROOT, too")
    if (algorithm is None) == (command is None):
        raise ValueError("a host is launched either by the name of an algorithm or by its command")
    if command is not None:
        return tuple(command)
    assert algorithm is not None
    given: list[str] = []
    isolation = options.isolation or (None if deployments is None else "strict")
    if isolation is not None:
        given += ["--isolation", isolation]
    if options.isolation_missing is not None:
        given += ["--isolation-missing", options.isolation_missing]
    grants = options.grants
    words: tuple[str, ...] = ()
    if deployments is not None:
        from procvision_sdk.manifest.needs import grants_of

        deployment = active_deployment(Path(deployments), algorithm, pid)
        words = deployment.command(algorithm)
        grants = tuple(dict.fromkeys((*grants_of(algorithm, deployment.grants), *grants)))
    if options.working_folder is not None:
        given += ["--working-folder", os.path.abspath(options.working_folder)]  # noqa: PTH100 - links stay
    for need in grants:
        given += ["--grant", need]
    for path in options.readable:
        given += ["--readable", os.path.abspath(path)]  # noqa: PTH100 - links stay
    if deployments is not None:
        return (*words, *given, *options.host_arguments)
    return (*own_host(), "--algo", algorithm, *given, *options.host_arguments)


def own_host() -> tuple[str, ...]:
    """Return the words that start `procvision-host` of this environment.

    Python itself with -I and -S, so that no code of an installed package runs in the process that is launched. Where
    `sys.executable` is no Python: the script beside it, unless its interpreter is gone. Raises LaunchError where there
    is neither.
    """
    if sys.executable:
        program = host_program()
        if program is not None and runs_by_python():
            return (sys.executable, "-I", "-S", program)
        script = Path(sys.executable).with_name("procvision-host")
        if os.access(script, os.X_OK) and missing_interpreter(script) is None:
            return (str(script),)
        if runs_by_python():
            # -P: a file beside the platform's program is none of the host's modules.
            return (sys.executable, "-P", "-m", "procvision_host")
    what = f"this program, {sys.executable}, is no Python" if sys.executable else "this program doesn't know its Python"
    raise LaunchError(
        f"{what}: procvision-host can't be started by it; "
        'hint: name the host of a Python environment by command=[".../bin/procvision-host", "--algo", NAME]'
    )


def get_ready(client: Client, options: RunnerOptions) -> dict[str, Any]:
    """Shake hands and wait for the end of `setup()`. Return what the host answers to `info`. Raises LaunchError.

    A host answers `info` when it is set up. One that doesn't know this phase is ready after the handshake.
    """
    from procvision_sdk.wire.messages import Call

    client.shake_hands()
    hello = client.hello
    assert hello is not None
    if "info" not in hello.capabilities:
        return {}
    try:
        result, _ = client.call(Call(phase="info"), options.ready_timeout_s)
    except CallError as error:
        raise client.launch_error(str(error)) from None
    return result.data
