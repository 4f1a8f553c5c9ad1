"""How a runner treats its host, with the defaults' sources."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from math import inf
from typing import Literal, TypeAlias

import attrs

from procvision_runner.images.arena import MIN_ARENA_BYTES
from procvision_sdk.wire.frames import DEFAULT_MAX_FRAME_BYTES, DEFAULT_MAX_PENDING
from procvision_sdk.wire.heartbeat import HeartbeatPolicy

IsolationLevel: TypeAlias = Literal["off", "basic", "strict"]


def positive(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    """Check that a duration is above 0, as an attrs validator. Raises ValueError."""
    if not value > 0:
        raise ValueError(f"{type(instance).__name__}.{attribute.name} is {value}: it is above 0")


def check_stop_timeout(timeout_s: float | None) -> None:
    """Check the time that a stop is given. Raises ValueError."""
    if timeout_s is not None and not 0 < timeout_s < inf:
        raise ValueError(f"timeout_s is {timeout_s}: it is above 0 and finite, or None")


def none_or_room(instance: object, attribute: attrs.Attribute[int | None], value: int | None) -> None:
    """Check that an arena has room for a picture, or that there is none, as an attrs validator. Raises ValueError."""
    if value is not None and value != 0 and value < MIN_ARENA_BYTES:
        raise ValueError(
            f"{type(instance).__name__}.{attribute.name} is {value}: it is 0, or at least {MIN_ARENA_BYTES} (1 MiB)"
        )


def _paths(paths: Iterable[str | os.PathLike[str]]) -> tuple[str | os.PathLike[str], ...]:
    return tuple(paths)


def _needs(texts: Iterable[str]) -> tuple[str, ...]:
    """Give each need its one name, as an attrs converter. Raises ValueError, TypeError."""
    if isinstance(texts, str):
        raise TypeError(f"RunnerOptions.grants is {texts!r:.200}: it is a tuple of needs")
    names = tuple(texts)
    if not names:
        return ()
    from procvision_sdk.manifest.needs import parse_needs

    return tuple(map(str, parse_needs(names)))


@attrs.frozen(kw_only=True)
class RunnerOptions:
    """Durations are seconds. The handshake and heartbeat values are the protocol's."""

    handshake_timeout_s: float = attrs.field(default=10.0, validator=positive)
    """From the launch to the host's hello: a small Python program's start, on a machine that is busy."""
    ready_timeout_s: float = attrs.field(default=120.0, validator=positive)
    """From the hello to the end of `setup()`: models of some gigabytes are loaded in it."""
    pre_timeout_s: float = attrs.field(default=10.0, validator=positive)
    """The project's: a `pre` that learns from one picture. A call's `timeout_s` goes before it."""
    execute_timeout_s: float = attrs.field(default=30.0, validator=positive)
    """The project's: the slowest inspection that a line waits for. A call's `timeout_s` goes before it."""
    shutdown_timeout_s: float = attrs.field(default=5.0, validator=positive)
    """The ladder's first step: longer than the 3 s that a host gives its running call."""
    terminate_timeout_s: float = attrs.field(default=3.0, validator=positive)
    """Its second step, from SIGTERM to SIGKILL."""
    heartbeat: HeartbeatPolicy | None = attrs.field(factory=HeartbeatPolicy)
    """The protocol's: every 5 s, answered within 2 s, two misses. None sends no pings, but for those that ask whether
    a call that timed out has ended.
    """
    max_in_flight: int = attrs.field(default=DEFAULT_MAX_PENDING, validator=attrs.validators.ge(1))
    """Calls sent ahead of their answers; a host takes 4 by default."""
    max_frame_bytes: int = attrs.field(default=DEFAULT_MAX_FRAME_BYTES, validator=attrs.validators.ge(1024))
    """The protocol's: what a host may send at once, checked before anything is allocated for it."""
    max_slots: int = attrs.field(default=8, validator=attrs.validators.ge(1))
    """Slots for pictures; they are made as they are needed."""
    arena_bytes: int | None = attrs.field(default=None, validator=none_or_room)
    """The most that the slots take together, in a sealed memory of the runner's: only what is used of it takes room.
    0 has none: pictures lie in /dev/shm, where each process of this user can change them. None is 16 GiB or, on a
    machine that makes no sealed memory, 0 with a warning in the log."""
    slot_timeout_s: float = attrs.field(default=30.0, validator=positive)
    """How long a caller waits for a slot when all are leased."""
    log_records: int = attrs.field(default=200, validator=attrs.validators.ge(1))
    """How many of the host's last log records are kept."""
    isolation: IsolationLevel | None = attrs.field(
        default=None, validator=attrs.validators.in_((None, "off", "basic", "strict"))
    )
    """How far our host shuts the algorithm's process in: `basic` from other processes, `strict` also from the network
    and from files; None is `basic`, and `strict` for a deployment. A `command` is launched as it is."""
    isolation_missing: Literal["error", "warn"] | None = attrs.field(
        default=None, validator=attrs.validators.in_((None, "error", "warn"))
    )
    """What becomes of a host where this machine can't enforce all of that: a LaunchError that names what is missing,
    which None is as well, or a warning in its log."""
    working_folder: str | os.PathLike[str] | None = None
    """Where our host's algorithm works, as relative paths in parameters are meant; None is `/`."""
    grants: tuple[str, ...] = attrs.field(default=(), converter=_needs)
    """Needs of its manifest that the algorithm gets under `strict`, by name: `network:10.0.0.5:502`,
    `device:/dev/nvidia0`, `read:/srv/models`, `write:/srv/statistics`, `memory:8000MB`,
    `processes:2000`. One that it doesn't ask for is a LaunchError."""
    readable: tuple[str | os.PathLike[str], ...] = attrs.field(default=(), converter=_paths)
    """Files and folders that the algorithm reads under `strict`, as those that its parameters name: a model, say."""
    host_arguments: tuple[str, ...] = ()
    """Further arguments for `procvision-host`."""
    environment: Mapping[str, str] | None = None
    """The host's environment; None passes on the runner's own. Of it the algorithm gets [what is
    allowed](procvision-host.md#environment), and what is set here otherwise than this process has it."""
    pass_environment: tuple[str, ...] = ()
    """Further variables that the algorithm gets, by NAME or PREFIX*."""
