"""What a vendor tests an algorithm with: pictures with known defects, checks, and results to compare.

pytest finds the fixtures by itself once ProcVision is installed:

| fixture | it gives |
|---|---|
| `in_memory_runner` | `in_memory_runner(Algorithm)`: a runner without a process, with the host's own checks |
| `real_runner` | `real_runner("name")`: a runner with a host process, for an installed algorithm |
| `sample_pictures` | a good product and a bad one, and where its defects are |
| `inspection_session` | a `Session`, for tests that call the algorithm's methods by hand |
"""

from procvision_sdk.testing._defects import PlacedDefect
from procvision_sdk.testing.checking import ContractBrokenError, check_algorithm, examine
from procvision_sdk.testing.findings import Finding
from procvision_sdk.testing.kills import Kills, check_survives_kills
from procvision_sdk.testing.runners import AlgorithmRunner, CallFailedError
from procvision_sdk.testing.samples import SamplePictures, make_plate, with_marks
from procvision_sdk.testing.snapshots import snapshot
from procvision_sdk.testing.stores import check_session_store

__all__ = [
    "AlgorithmRunner",
    "CallFailedError",
    "ContractBrokenError",
    "Finding",
    "Kills",
    "PlacedDefect",
    "SamplePictures",
    "check_algorithm",
    "check_session_store",
    "check_survives_kills",
    "examine",
    "make_plate",
    "snapshot",
    "with_marks",
]
