"""From a command line to a host that is ready."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from procvision_runner.connection.client import Client
from procvision_runner.errors import CallError
from procvision_runner.options import RunnerOptions
from procvision_sdk.wire.messages import Call


def host_command(algorithm: str | None, command: Sequence[str] | None, options: RunnerOptions) -> tuple[str, ...]:
    """The command line of a host, from the name of an algorithm (NAME or NAME==VERSION) or given as it is."""
    if (algorithm is None) == (command is None):
        raise ValueError("a host is launched either by the name of an algorithm or by its command")
    if command is not None:
        return tuple(command)
    assert algorithm is not None
    return (*_own_host(), "--algo", algorithm, *options.host_arguments)


def _own_host() -> tuple[str, ...]:
    """`procvision-host` of this environment; `-m` finds it anywhere, but imports runpy before the host's first line."""
    script = Path(sys.executable).with_name("procvision-host")
    return (str(script),) if os.access(script, os.X_OK) else (sys.executable, "-m", "procvision_host")


def get_ready(client: Client, options: RunnerOptions) -> dict[str, Any]:
    """The handshake, then the end of `setup()`: what the host answers to `info`. Raises LaunchError.

    A host answers `info` when it is set up; one that doesn't know the phase is ready when it has said hello.
    """
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
