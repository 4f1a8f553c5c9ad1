"""Makes a host's command line, and waits until the host is ready."""

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
    """Return a host's command line: `command` as it is, or that of our host for `algorithm` (NAME or NAME==VERSION).

    Raises ValueError unless exactly one of them is given.
    """
    if (algorithm is None) == (command is None):
        raise ValueError("a host is launched either by the name of an algorithm or by its command")
    if command is not None:
        return tuple(command)
    assert algorithm is not None
    return (*_own_host(), "--algo", algorithm, *options.host_arguments)


def _own_host() -> tuple[str, ...]:
    """Return the command `procvision-host` of this environment, or `-m procvision_host`, which starts slower."""
    script = Path(sys.executable).with_name("procvision-host")
    return (str(script),) if os.access(script, os.X_OK) else (sys.executable, "-m", "procvision_host")


def get_ready(client: Client, options: RunnerOptions) -> dict[str, Any]:
    """Shake hands and wait for the end of `setup()`. Return what the host answers to `info`. Raises LaunchError.

    A host answers `info` when it is set up. One that doesn't know this phase is ready after the handshake.
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
