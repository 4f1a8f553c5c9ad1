"""The field packages that the tests run, and the field's SDK itself, each version in an environment of its own."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

SUPPORT = Path(__file__).parent / "support"
FIELD_VERSIONS = {"stepwise": "0.0.7", "guided": "0.3.2"}


@pytest.fixture(scope="session")
def stepwise_package() -> Path:
    """Written against SDK 0.0.x."""
    return SUPPORT / "field_stepwise"


@pytest.fixture(scope="session")
def guided_package() -> Path:
    """Written against SDK 0.3.x."""
    return SUPPORT / "field_guided"


def _installer(python: Path) -> list[str]:
    """What installs into an environment: the pip of this one, or uv where it was made without."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--python", str(python), "install", "--disable-pip-version-check"]
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("neither pip nor uv is here to install the field's SDK with")
    return [uv, "pip", "install", "--python", str(python)]


def _environment(folder: Path, version: str) -> Path:
    """The interpreter of an environment with this version from the package index; skips where it can't be had.

    NumPy, which the SDK needs, is this environment's: installing it twice would take longer than all the tests.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    (own,) = folder.glob("lib/python*/site-packages")
    (own / "numpy_of_the_tests.pth").write_text(str(Path(np.__file__).parents[1]))
    command = [*_installer(python), "-q", "--no-deps", f"procvision-algorithm-sdk=={version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"procvision-algorithm-sdk {version} can't be obtained: {done.stderr.strip()[-300:]}")
    return python


@pytest.fixture(scope="session")
def stepwise_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the field's SDK 0.0.7."""
    return _environment(tmp_path_factory.mktemp("sdk") / "stepwise", FIELD_VERSIONS["stepwise"])


@pytest.fixture(scope="session")
def guided_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the field's SDK 0.3.2."""
    return _environment(tmp_path_factory.mktemp("sdk") / "guided", FIELD_VERSIONS["guided"])
