"""The programs that build, resolve, fetch and install: uv, and pip for what uv doesn't do."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from procvision_sdk.errors import ErrorCode
from procvision_tools.bundling.errors import BundleError
from procvision_tools.subprocesses import run_tool

TIMEOUT_S = 1800.0
"""Some gigabytes over a slow line."""
LINES_SHOWN = 6
_STRANGE_CHARS = re.compile(r"[^\x20-\x7e]")


def find_uv() -> str | None:
    """Give uv's path: the one beside this Python, or the shell's."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


def need_uv() -> str:
    """Give uv's path. Raises BundleError 2005 where there is none."""
    uv = find_uv()
    if uv is None:
        text = f"there is no uv beside {sys.executable}; hint: pip install 'procvision[bundle]'"
        raise BundleError(ErrorCode.INSTALL_FAILED, text)
    return uv


def pip() -> list[str]:
    """Give the command that is pip. Raises BundleError 2005 where there is none."""
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    found = shutil.which("pip")
    if found is None:
        hint = "hint: python -m ensurepip, or install pip"
        raise BundleError(ErrorCode.INSTALL_FAILED, f"there is no pip beside {sys.executable}; {hint}")
    return [found, "--disable-pip-version-check"]


def run(
    command: Sequence[str], environment: Mapping[str, str], code: ErrorCode, what: str, held: Sequence[int] = ()
) -> str:
    """Run one, which keeps ``held`` descriptors, and give its stdout.

    Raises BundleError with ``what`` and the end of what it said.
    """
    try:
        done = run_tool(command, environment, TIMEOUT_S, held)
    except subprocess.TimeoutExpired as error:
        raise BundleError(code, f"{what}: it took more than {TIMEOUT_S:g} s") from error
    if done.returncode != 0:
        text = (done.stderr or done.stdout).decode("utf-8", "replace")
        lines = [_STRANGE_CHARS.sub(" ", line).strip() for line in text.splitlines()]
        said = [line for line in lines if line and not line.startswith("WARNING")]
        hint = ["hint: make room on the disk"] if os.strerror(errno.ENOSPC) in text else []
        if "UnknownIssuer" in text:
            # uv's own hint names an option of its command line.
            said = [line for line in said if not line.startswith("hint: ")]
            hint = [
                "hint: SSL_CERT_FILE=FILE in the environment names the certificates that this network needs, as PEM"
            ]
        said = said[-LINES_SHOWN:]
        raise BundleError(code, "\n".join([what, *said, *hint]))
    return done.stdout.decode("utf-8", "replace")
