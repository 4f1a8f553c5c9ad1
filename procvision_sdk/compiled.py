"""Modules that are compiled where a compiler was there at the installation, and that everything runs without, too."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any

COMPILED_VARIABLE = "PROCVISION_COMPILED"
"""The environment variable that has 0 where Python is to run in place of what was compiled."""
OFF = "0"


def compiled(name: str) -> Any:
    """Return a compiled module; None where it wasn't built for this Python, or is turned off."""
    if os.environ.get(COMPILED_VARIABLE) == OFF:
        return None
    try:
        return import_module(name)
    except ImportError:
        return None


def is_built(name: str) -> bool:
    """Return whether a compiled module is there for this Python, without running it."""
    try:
        return find_spec(name) is not None
    except ImportError:
        return False
