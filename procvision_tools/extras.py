"""What the reports need beyond the core, imported when it is used."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType


class MissingExtraError(ImportError):
    """A library of an extra is not installed. The text says which, for what, and how to get it."""


def need(module: str, distribution: str, purpose: str, extra: str = "cli") -> ModuleType:
    """Import ``module``; raise `MissingExtraError`, which names the ``extra``, where its distribution is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(distribution, purpose, extra) from error


def look_for(package: str, distribution: str, purpose: str, extra: str) -> None:
    """Raise `MissingExtraError`, as `need` does, where a top-level ``package`` is missing. Import nothing."""
    if importlib.util.find_spec(package) is None:
        raise _missing(distribution, purpose, extra)


def _missing(distribution: str, purpose: str, extra: str) -> MissingExtraError:
    return MissingExtraError(
        f"{purpose} needs {distribution}, which is not installed\nhint: pip install 'procvision[{extra}]'"
    )
