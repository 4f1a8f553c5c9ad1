"""What `procvision-host` says of an algorithm: asked as a program, since a runner never imports a host."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from procvision_runner.connection.launch import own_host
from procvision_runner.errors import LaunchError
from procvision_sdk.errors import ProcVisionError
from procvision_sdk.wire.frames import quoted_text
from procvision_tools.subprocesses import run_tool


class HostSilentError(ProcVisionError):
    """The program gave no answer that could be read."""


def ask(arguments: list[str], environment: Mapping[str, str], timeout_s: float, python: str | None = None) -> Any:
    """Run `procvision-host ARGUMENTS --json` and give its answer. Raises HostSilentError.

    `python` is the interpreter whose host is asked; without one it is the host that a runner would launch.
    """
    try:
        program = own_host() if python is None else (python, "-P", "-m", "procvision_host")
        command = [*program, *arguments, "--json"]
        done = run_tool(command, environment, timeout_s)
    except subprocess.TimeoutExpired:
        raise HostSilentError(f"procvision-host {' '.join(arguments)} took more than {timeout_s:g} s") from None
    except (LaunchError, OSError) as error:
        raise HostSilentError(str(error)) from None
    try:
        return json.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-3:]
        end = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        said = "\n  ".join(last) or "nothing"
        text = quoted_text(done.stdout.lstrip().partition(b"\n")[0])
        if text and done.returncode == 0:
            raise HostSilentError(
                f"what procvision-host {' '.join(arguments)} printed is no JSON, it begins with {text}; "
                "hint: something prints when Python starts, such as a sitecustomize.py or a .pth file"
            ) from None
        raise HostSilentError(f"procvision-host {' '.join(arguments)} ended with {end} and said\n  {said}") from None
