"""Installs a bundle into an environment of its own, as its receiver does: from its wheels alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from procvision_sdk.errors import ErrorCode
from procvision_tools.bundling.bundle import Bundle
from procvision_tools.bundling.own_wheel import supplied
from procvision_tools.bundling.tools import need_uv, run

_STEERING = ("PIP_", "UV_", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""Variables by which something else than the bundle could come in."""


def clean_environment() -> dict[str, str]:
    """Give this process' environment without what steers pip, uv and Python."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_STEERING)}


def install(bundle: Bundle, into: Path, *, compiled: bool = False, held: Sequence[int] = ()) -> Path:
    """Make an environment in a new folder and give its Python. Raises BundleError 2005.

    It gets the ProcVision that runs here. Files are copies: what is written in one environment stays in it. With
    ``compiled`` its bytecode is there before anything runs. The programs that do it keep ``held`` descriptors.
    """
    uv, python = need_uv(), into / "bin" / "python"
    own = supplied(bundle.wheels, bundle.own, bundle.target, bundle.own.path.parent)
    wanted = [bundle.index.label, *bundle.index.also, own]
    links = ["--no-index", "--find-links", str(bundle.wheel_folder), "--find-links", str(bundle.own.path.parent)]
    make = [uv, "venv", "--quiet", "--no-config", "--no-python-downloads", "--python", sys.executable, str(into)]
    fill = [
        uv, "pip", "install", "--quiet", "--no-config", "--no-cache", "--offline", "--link-mode", "copy",
        *(["--compile-bytecode"] if compiled else []), "--only-binary", ":all:", "--python", str(python),
        *links, *wanted,
    ]  # fmt: skip
    for command in (make, fill):
        what = f"it can't be installed from its own wheels into {into}"
        run(command, clean_environment(), ErrorCode.INSTALL_FAILED, what, held)
    return python
