"""Installs a bundle into an environment of its own, as its receiver does: from its wheels alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from procvision_sdk.errors import ErrorCode
from procvision_tools.bundling.bundle import Bundle
from procvision_tools.bundling.tools import find_uv, run

_STEERING = ("PIP_", "UV_", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""Variables by which something else than the bundle could come in."""


def clean_environment() -> dict[str, str]:
    """Give this process' environment without what steers pip, uv and Python."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_STEERING)}


def install(bundle: Bundle, into: Path) -> Path:
    """Make an environment in a new folder and give its Python. Raises BundleError 2005."""
    python = into / "bin" / "python"
    wanted = f"{bundle.index.distribution}=={bundle.index.version}"
    links = ["--no-index", "--find-links", str(bundle.wheel_folder), wanted]
    uv = find_uv()
    if uv is not None:
        make = [uv, "venv", "--quiet", "--no-config", "--python", sys.executable, str(into)]
        fill = [uv, "pip", "install", "--quiet", "--no-config", "--python", str(python), *links]
    else:
        make = [sys.executable, "-m", "venv", str(into)]
        fill = [str(python), "-m", "pip", "--isolated", "install", "--quiet", "--no-compile", *links]
    for command in (make, fill):
        what = "it can't be installed from its own wheels"
        run(command, clean_environment(), ErrorCode.INSTALL_FAILED, what)
    return python
