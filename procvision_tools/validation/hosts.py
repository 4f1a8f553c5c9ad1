"""What `procvision-host` says of an algorithm: asked as a program, since a runner never imports a host."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from procvision_sdk.errors import ProcVisionError
from procvision_tools.subprocesses import run_tool


class HostSilentError(ProcVisionError):
    """The program gave no answer that could be read."""


def ask(arguments: list[str], environment: Mapping[str, str], timeout_s: float, python: str = sys.executable) -> Any:
    """Run `procvision-host ARGUMENTS --json` and give its answer. Raises HostSilentError."""
    command = [python, "-m", "procvision_host", *arguments, "--json"]
    try:
        done = run_tool(command, environment, timeout_s)
    except subprocess.TimeoutExpired:
        raise HostSilentError(f"procvision-host {' '.join(arguments)} took more than {timeout_s:g} s") from None
    try:
        return json.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-3:]
        end = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        said = "\n  ".join(last) or "nothing"
        raise HostSilentError(f"procvision-host {' '.join(arguments)} ended with {end} and said\n  {said}") from None
