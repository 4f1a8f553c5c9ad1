"""The platform's side: launches hosts, feeds them pictures, collects what they answer."""

from __future__ import annotations

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
