"""Builds the compiled cores of the steady calls, where there is a compiler; without one the wheel is Python alone.

With PROCVISION_COMPILED=0 nothing is compiled either, so that the wheel is one for every Python and machine.
Each core is one C file beside the Python module whose form it is. An editable installation has it there, too.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # tests compile without the builder of wheels
    BuildHookInterface = object

CORES = (
    "procvision_host/conversation/steady_core",
    "procvision_host/halves/table_core",
    "procvision_runner/connection/steady_core",
    "procvision_runner/supervision/steady_core",
)
SHARED = "procvision_sdk/wire/steady.h"
# Small rather than fast: what counts is how many cache lines a call touches that comes after a pause.
FLAGS = ("-std=c11", "-Os", "-fno-plt", "-g0", "-fvisibility=hidden", "-Wno-missing-field-initializers")


class CompiledCores(BuildHookInterface):
    """Adds the cores to a wheel that is built on Linux."""

    PLUGIN_NAME = "custom"
    _folder: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the wheel be one for this Python and machine if that went well."""
        if os.environ.get("PROCVISION_COMPILED") == "0":
            return
        root = Path(self.root)
        self._folder = tempfile.TemporaryDirectory()
        try:
            built = compile_cores(root, None if version == "editable" else Path(self._folder.name))
        except BaseException as error:  # noqa: BLE001 - setuptools leaves by SystemExit, too
            self.app.display_warning(f"steady calls will run in Python: no core could be compiled ({error})")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if version != "editable":
            build_data["force_include"].update({str(path): name for name, path in built.items()})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """The wheel is written: what was compiled for it can go."""
        if self._folder is not None:
            self._folder.cleanup()


def source_of(root: Path, core: str) -> str:
    """Return what tells one source of a core from another, without its `.c`."""
    text = b"".join((root / path).read_bytes() for path in (f"{core}.c", SHARED))
    return hashlib.sha256(text).hexdigest()[:16]


def compile_cores(root: Path, target: Path | None, flags: tuple[str, ...] = ()) -> dict[str, Path]:
    """Compile the cores into a folder, or beside their sources. Return where each one of the wheel's names is."""
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    extensions = [
        Extension(
            core.replace("/", "."),
            [str(root / f"{core}.c")],
            depends=[str(root / SHARED)],
            define_macros=[("PV_SOURCE", f'"{source_of(root, core)}"')],
            extra_compile_args=[*FLAGS, *flags],
            extra_link_args=[*flags],
        )
        for core in CORES
        if (root / f"{core}.c").exists()
    ]
    with tempfile.TemporaryDirectory() as scratch:
        command = build_ext(Distribution({"name": "procvision", "ext_modules": extensions}))
        command.build_lib, command.build_temp, command.force = str(target or root), scratch, True
        command.ensure_finalized()
        for extension in extensions:
            # Written over, it would change under a process that runs it.
            Path(command.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
        command.run()
        return {
            command.get_ext_filename(extension.name): Path(command.get_ext_fullpath(extension.name))
            for extension in extensions
        }
