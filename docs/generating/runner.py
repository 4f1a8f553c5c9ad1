"""The tree of errors, for the page on the runner's API."""

from __future__ import annotations

import inspect

from generating.markdown import Regions
from procvision_sdk import errors


def error_tree() -> str:
    """The drawing in the module's docstring, as text."""
    told = inspect.getdoc(errors) or ""
    drawing = told[told.index("ProcVisionError\n") :].partition("\n\n")[0]
    return f"```text\n{drawing}\n```"


REGIONS: Regions = {"error-tree": error_tree}
