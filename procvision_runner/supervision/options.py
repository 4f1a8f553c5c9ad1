"""How a supervisor keeps its host, with the defaults' sources."""

from __future__ import annotations

from pathlib import Path

import attrs

from procvision_runner.options import RunnerOptions, positive
from procvision_runner.supervision.limits import EnvironmentPolicy, ResourceLimits
from procvision_runner.supervision.restart import RestartPolicy
from procvision_runner.supervision.retry import RetryPolicy


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
    queue_timeout_s: float = attrs.field(default=60.0, validator=positive)
    """How long a call waits for room in a host, or for a host: a restart with a large model takes that long."""
    drain_timeout_s: float = attrs.field(default=60.0, validator=positive)
    """How long the sessions of a version that was swapped out may take to end."""
    session_ttl_s: float = attrs.field(default=3600.0, validator=positive)
    """A session without a call for so long has ended, whether it said so or not: the default store forgets it too."""
    sessions_outlive_host: bool = False
    """True with a session store outside the host: then any host can go on with any session. Where the manifest says
    `pre_per_host` it can't: such a session is lost with its host, as if this were False."""
    spare: bool = False
    """True keeps one host more, launched and set up, that takes the place of one that is lost at once. A pool's hosts
    share it. It takes the memory of a host."""
    limits: ResourceLimits = attrs.field(factory=ResourceLimits)
    """What a host may use."""
    environment: EnvironmentPolicy = attrs.field(factory=EnvironmentPolicy)
    """Used unless `runner.environment` says exactly what the host gets."""
    crash_folder: Path | None = attrs.field(default=None, converter=attrs.converters.optional(Path))
    """Where incidents are reported, a folder each; None keeps none."""
    crash_frames: bool = True
    """Whether a crash report keeps the last frames: parameters, session contexts and results. Pictures are in none."""
    max_crash_reports: int = attrs.field(default=50, validator=attrs.validators.ge(1))
    """The oldest go: a report takes some hundred kilobytes at the most."""
    measure_interval_s: float = attrs.field(default=5.0, validator=positive)
    """How often a host's memory and CPU are looked at: as often as its heartbeat."""
