"""What a vendor tests an algorithm with: pictures with known defects, checks, and results to compare.

pytest finds the fixtures by itself once ProcVision is installed:

| fixture | it gives |
|---|---|
| `in_memory_runner` | `in_memory_runner(Algorithm)`: a runner without a process, with the host's own checks |
| `real_runner` | `real_runner("name")`: a runner with a host process, for an installed algorithm |
| `sample_pictures` | a good product and a bad one, and where its defects are |
| `inspection_session` | a `Session`, for tests that call the algorithm's methods by hand |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from procvision_sdk._lazy import lazy_names
from procvision_sdk.call_errors import CallFailedError
from procvision_sdk.calling import AlgorithmRunner

if TYPE_CHECKING:
    from procvision_testing.backends import check_image_backend
    from procvision_testing.boards.defects import PlacedDefect
    from procvision_testing.checking import ContractBrokenError, check_algorithm, examine
    from procvision_testing.findings import Finding
    from procvision_testing.hook_hosts import HookHost
    from procvision_testing.hooks import check_hook_plugin
    from procvision_testing.kills import Kills, check_survives_kills
    from procvision_testing.samples import SamplePictures, make_plate, with_marks
    from procvision_testing.snapshots import snapshot
    from procvision_testing.stores import check_session_store

_HOMES = {
    "ContractBrokenError": "checking",
    "Finding": "findings",
    "HookHost": "hook_hosts",
    "Kills": "kills",
    "PlacedDefect": "boards.defects",
    "SamplePictures": "samples",
    "check_algorithm": "checking",
    "check_hook_plugin": "hooks",
    "check_image_backend": "backends",
    "check_session_store": "stores",
    "check_survives_kills": "kills",
    "examine": "checking",
    "make_plate": "samples",
    "snapshot": "snapshots",
    "with_marks": "samples",
}
"""Imported when they are used (PEP 562): a test run that needs no pictures needs no numpy."""

__all__ = [
    "AlgorithmRunner",
    "CallFailedError",
    "ContractBrokenError",
    "Finding",
    "HookHost",
    "Kills",
    "PlacedDefect",
    "SamplePictures",
    "check_algorithm",
    "check_hook_plugin",
    "check_image_backend",
    "check_session_store",
    "check_survives_kills",
    "examine",
    "make_plate",
    "snapshot",
    "with_marks",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
