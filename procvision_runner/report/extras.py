"""What the reports need beyond the core, imported when it is used."""

from __future__ import annotations

import importlib
from types import ModuleType


class MissingExtraError(ImportError):
    """A library of the extra `cli` is not installed. The text says which, for what, and how to get it."""


def need(module: str, distribution: str, purpose: str) -> ModuleType:
    """Import ``module``; raise `MissingExtraError` where its distribution is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs {distribution}, which is not installed\nhint: pip install 'procvision[cli]'"
        ) from error
