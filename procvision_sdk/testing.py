"""The old name of `procvision_testing`, for one release. It goes with 0.2.0."""

from __future__ import annotations

import importlib
import sys
import warnings

warnings.warn(
    "procvision_sdk.testing is procvision_testing now, and this name goes with ProcVision 0.2.0; "
    "hint: import procvision_testing",
    DeprecationWarning,
    stacklevel=2,
)
# By name, since the contract imports none of the other packages.
sys.modules[__name__] = importlib.import_module("procvision_testing")
