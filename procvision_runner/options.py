"""How a runner treats its host, with the defaults' sources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from procvision_runner.limits import EnvironmentPolicy, ResourceLimits
from procvision_runner.restart import RestartPolicy
from procvision_runner.retry import RetryPolicy
from procvision_sdk.wire.connection import DEFAULT_MAX_PENDING
from procvision_sdk.wire.frames import DEFAULT_MAX_FRAME_BYTES
from procvision_sdk.wire.heartbeat import HeartbeatPolicy


def _positive(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{type(instance).__name__}.{attribute.name} is {value}: it is above 0")


@attrs.frozen(kw_only=True)
class RunnerOptions:
    """Durations are seconds. The handshake and heartbeat values are the protocol's."""

    handshake_timeout_s: float = attrs.field(default=10.0, validator=_positive)
    """From the launch to the host's hello: a small Python program's start, on a machine that is busy."""
    ready_timeout_s: float = attrs.field(default=120.0, validator=_positive)
    """From the hello to the end of `setup()`: models of some gigabytes are loaded in it."""
    pre_timeout_s: float = attrs.field(default=10.0, validator=_positive)
    """The project's: a `pre` that learns from one picture. A call's `timeout_s` goes before it."""
    execute_timeout_s: float = attrs.field(default=30.0, validator=_positive)
    """The project's: the slowest inspection that a line waits for. A call's `timeout_s` goes before it."""
    shutdown_timeout_s: float = attrs.field(default=5.0, validator=_positive)
    """The ladder's first step: longer than the 3 s that a host gives its running call."""
    terminate_timeout_s: float = attrs.field(default=3.0, validator=_positive)
    """Its second step, from SIGTERM to SIGKILL."""
    heartbeat: HeartbeatPolicy | None = attrs.field(factory=HeartbeatPolicy)
    """The protocol's: every 5 s, answered within 2 s, two misses. None sends no pings."""
    max_in_flight: int = attrs.field(default=DEFAULT_MAX_PENDING, validator=attrs.validators.ge(1))
    """Calls sent ahead of their answers; a host takes 4 by default."""
    max_frame_bytes: int = attrs.field(default=DEFAULT_MAX_FRAME_BYTES, validator=attrs.validators.ge(1024))
    """The protocol's: what a host may send at once, checked before anything is allocated for it."""
    max_slots: int = attrs.field(default=8, validator=attrs.validators.ge(1))
    """Slots of shared memory; they are made as they are needed."""
    slot_timeout_s: float = attrs.field(default=30.0, validator=_positive)
    """How long a caller waits for a slot when all are leased."""
    log_records: int = attrs.field(default=200, validator=attrs.validators.ge(1))
    """How many of the host's last log records are kept."""
    host_arguments: tuple[str, ...] = ()
    """Further arguments for `procvision-host`."""
    environment: Mapping[str, str] | None = None
    """The host's environment; None passes on the runner's own."""


@attrs.frozen(kw_only=True)
class SupervisorOptions:
    """How a supervisor keeps its host, on top of how a runner treats it."""

    runner: RunnerOptions = attrs.field(factory=RunnerOptions)
    """How each host is treated: timeouts, heartbeat, slots."""
    restart: RestartPolicy = attrs.field(factory=RestartPolicy)
    """When a host that ended is followed by another."""
    retry: RetryPolicy = attrs.field(factory=RetryPolicy)
    """When a call without a result is made again."""
    depth: int = attrs.field(default=2, validator=attrs.validators.ge(1))
    """Calls in a host at once: one is inspected while the next waits in its pipe, so the host is never idle."""
    cancel_grace_s: float = attrs.field(default=2.0, validator=attrs.validators.ge(0))
    """How long a call whose time is over may take to give up by itself, after its cancel: an algorithm that looks
    at its cancellation does so between two stages, and a restart costs more than this."""
    dump_timeout_s: float = attrs.field(default=1.5, validator=attrs.validators.ge(0))
    """How long a hung host gets to write its stacks; its guardian gathers output for up to a second."""
    queue_timeout_s: float = attrs.field(default=60.0, validator=_positive)
    """How long a call waits for room in a host, or for a host: a restart with a large model takes that long."""
    drain_timeout_s: float = attrs.field(default=60.0, validator=_positive)
    """How long the sessions of a version that was swapped out may take to end."""
    session_ttl_s: float = attrs.field(default=3600.0, validator=_positive)
    """A session without a call for so long has ended, whether it said so or not: the default store forgets it too."""
    sessions_outlive_host: bool = False
    """True with a session store outside the host: then any host can go on with any session."""
    limits: ResourceLimits = attrs.field(factory=ResourceLimits)
    """What a host may use."""
    environment: EnvironmentPolicy = attrs.field(factory=EnvironmentPolicy)
    """Used unless `runner.environment` says exactly what the host gets."""
    crash_folder: Path | None = attrs.field(default=None, converter=attrs.converters.optional(Path))
    """Where incidents are reported, a folder each; None keeps none."""
    max_crash_reports: int = attrs.field(default=50, validator=attrs.validators.ge(1))
    """The oldest go: a report takes some hundred kilobytes at the most."""
    measure_interval_s: float = attrs.field(default=5.0, validator=_positive)
    """How often a host's memory and CPU are looked at: as often as its heartbeat."""
