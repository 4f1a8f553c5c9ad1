"""The platform's side: launches hosts, feeds them pictures, collects what they answer."""

from __future__ import annotations

from procvision_runner.errors import (
    CallError,
    CallFailedError,
    CallTimeoutError,
    HostDiedError,
    LaunchError,
    ProtocolViolationError,
    RunnerError,
    RunnerStoppedError,
    SlotsExhaustedError,
)
from procvision_runner.options import RunnerOptions
from procvision_runner.pictures import Picture
from procvision_runner.requests import InspectionSession
from procvision_runner.results import CallResult
from procvision_runner.runner import Runner
from procvision_runner.slots import Lease

__all__ = [
    "CallError",
    "CallFailedError",
    "CallResult",
    "CallTimeoutError",
    "HostDiedError",
    "InspectionSession",
    "LaunchError",
    "Lease",
    "Picture",
    "ProtocolViolationError",
    "Runner",
    "RunnerError",
    "RunnerOptions",
    "RunnerStoppedError",
    "SlotsExhaustedError",
]
