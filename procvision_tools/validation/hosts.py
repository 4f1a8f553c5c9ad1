"""What `procvision-host` says of an algorithm: asked as a program, since a runner never imports a host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from procvision_runner.connection.launch import own_host
from procvision_runner.deployments import host_in
from procvision_runner.errors import LaunchError
from procvision_sdk.errors import ProcVisionError
from procvision_sdk.wire.frames import quoted_text
from procvision_tools.subprocesses import run_tool


def host_of(python: str) -> tuple[str, ...]:
    """Return the words that start our host for another environment, so that no code of a package of it runs in it."""
    return own_host() if python == sys.executable else host_in(Path(python))


def environments(python: str | None) -> list[Path]:
    """Return the folders of an environment and of the interpreter behind it."""
    if python is None:
        return []
    return [Path(python).absolute().parent.parent, Path(python).resolve().parent.parent]


def confined(
    command: Sequence[str],
    isolation: str,
    *,
    readable: Iterable[Path] = (),
    writable: Iterable[Path] = (),
    grants: Iterable[str] = (),
) -> list[str]:
    """Return the words that run a program shut in as an algorithm is. Raises LaunchError where our host isn't there."""
    if isolation == "off":
        return list(command)
    words = [*own_host(), "confined", "--isolation", isolation]
    for option, paths in (("--readable", readable), ("--writable", writable)):
        for path in dict.fromkeys(paths):
            words += [option, str(path)] if path.exists() else []
    for need in grants:
        words += ["--grant", need]
    return [*words, "--", *command]


class HostSilentError(ProcVisionError):
    """The program gave no answer that could be read."""


def ask(
    arguments: list[str],
    environment: Mapping[str, str],
    timeout_s: float,
    python: str | None = None,
    isolation: str = "off",
    grants: Sequence[str] = (),
) -> Any:
    """Run `procvision-host ARGUMENTS --json` and give its answer. Raises HostSilentError.

    `python` is the interpreter whose host is asked; without one it is the host that a runner would launch. It is shut
    in as far as `isolation` says, with what packages run at Python's start.
    """
    try:
        program = own_host() if python is None else (python, "-P", "-m", "procvision_host")
        readable = environments(python)
        readable += [Path(entry) for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
        command = confined([*program, *arguments, "--json"], isolation, readable=readable, grants=grants)
        done = run_tool(command, environment, timeout_s)
    except subprocess.TimeoutExpired:
        raise HostSilentError(
            f"procvision-host {' '.join(arguments)} took more than {timeout_s:g} s; "
            "hint: load less in setup(), or --timeout-s SECONDS"
        ) from None
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
