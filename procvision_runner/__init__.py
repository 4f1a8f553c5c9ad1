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
    SwapError,
)
from procvision_runner.events import Event, JsonLines
from procvision_runner.limits import EnvironmentPolicy, ResourceLimits
from procvision_runner.options import RunnerOptions, SupervisorOptions
from procvision_runner.pictures import Picture
from procvision_runner.pool import Pool
from procvision_runner.requests import InspectionSession
from procvision_runner.restart import RestartPolicy
from procvision_runner.results import CallResult
from procvision_runner.retry import RetryPolicy
from procvision_runner.runner import Runner
from procvision_runner.slots import Lease
from procvision_runner.standing import SupervisorState
from procvision_runner.supervisor import Supervisor
from procvision_runner.swap import GoldenPicture, SwapReport

__all__ = [
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
    "SwapError",
    "SwapReport",
]
