"""The platform's side: launches hosts, feeds them pictures, collects what they answer.

The names below are loaded when they are first used: who runs one host doesn't wait for what keeps many alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from procvision_sdk._lazy import lazy_names

if TYPE_CHECKING:
    from procvision_runner.errors import (
        BrokenError,
        CallError,
        CallFacts,
        CallFailedError,
        CallTimeoutError,
        HostDiedError,
        LaunchError,
        ProtocolViolationError,
        RunnerError,
        RunnerStoppedError,
        SessionLostError,
        SlotsExhaustedError,
        SuspectPictureError,
        SwapError,
    )
    from procvision_runner.images.slots import Lease
    from procvision_runner.options import RunnerOptions
    from procvision_runner.results import CallResult
    from procvision_runner.runner import Runner
    from procvision_runner.supervision.events import Event, JsonLines
    from procvision_runner.supervision.inspections import Inspected
    from procvision_runner.supervision.limits import EnvironmentPolicy, ResourceLimits
    from procvision_runner.supervision.options import SupervisorOptions
    from procvision_runner.supervision.pool import Pool
    from procvision_runner.supervision.restart import RestartPolicy
    from procvision_runner.supervision.retry import RetryPolicy
    from procvision_runner.supervision.state import SupervisorState
    from procvision_runner.supervision.supervisor import Supervisor
    from procvision_runner.supervision.swap import GoldenPicture, SwapReport
    from procvision_sdk.calling import AlgorithmRunner, InspectionSession
    from procvision_sdk.images.picture import Picture

_HOMES = {
    "AlgorithmRunner": "procvision_sdk.calling",
    "BrokenError": "errors",
    "CallError": "errors",
    "CallFacts": "errors",
    "CallFailedError": "errors",
    "CallResult": "results",
    "CallTimeoutError": "errors",
    "EnvironmentPolicy": "supervision.limits",
    "Event": "supervision.events",
    "GoldenPicture": "supervision.swap",
    "HostDiedError": "errors",
    "Inspected": "supervision.inspections",
    "InspectionSession": "procvision_sdk.calling",
    "JsonLines": "supervision.events",
    "LaunchError": "errors",
    "Lease": "images.slots",
    "Picture": "procvision_sdk.images.picture",
    "Pool": "supervision.pool",
    "ProtocolViolationError": "errors",
    "ResourceLimits": "supervision.limits",
    "RestartPolicy": "supervision.restart",
    "RetryPolicy": "supervision.retry",
    "Runner": "runner",
    "RunnerError": "errors",
    "RunnerOptions": "options",
    "RunnerStoppedError": "errors",
    "SessionLostError": "errors",
    "SlotsExhaustedError": "errors",
    "Supervisor": "supervision.supervisor",
    "SupervisorOptions": "supervision.options",
    "SupervisorState": "supervision.state",
    "SuspectPictureError": "errors",
    "SwapError": "errors",
    "SwapReport": "supervision.swap",
}

__all__ = [
    "AlgorithmRunner",
    "BrokenError",
    "CallError",
    "CallFacts",
    "CallFailedError",
    "CallResult",
    "CallTimeoutError",
    "EnvironmentPolicy",
    "Event",
    "GoldenPicture",
    "HostDiedError",
    "Inspected",
    "InspectionSession",
    "JsonLines",
    "LaunchError",
    "Lease",
    "Picture",
    "Pool",
    "ProtocolViolationError",
    "ResourceLimits",
    "RestartPolicy",
    "RetryPolicy",
    "Runner",
    "RunnerError",
    "RunnerOptions",
    "RunnerStoppedError",
    "SessionLostError",
    "SlotsExhaustedError",
    "Supervisor",
    "SupervisorOptions",
    "SupervisorState",
    "SuspectPictureError",
    "SwapError",
    "SwapReport",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
