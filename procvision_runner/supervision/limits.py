"""What a host may use, and what of the runner's environment it gets to see.

Limits are set by prlimit right after the spawn, before the host can have started anything, and once more for the
whole tree when it is ready. A limit of the kernel's holds for each process; `memory_bytes` is also held against the
whole tree, by the supervisor that measures it.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Mapping
from typing import Any

import attrs

from procvision_sdk.environment import ALLOWED_NAMES, ALLOWED_PREFIXES


def _positive(instance: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and value <= 0:
        raise ValueError(f"{type(instance).__name__}.{attribute.name} is {value}: it is above 0, or None")


def _not_negative(instance: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and value < 0:
        raise ValueError(f"{type(instance).__name__}.{attribute.name} is {value}: it is not below 0, or None")


_CPU_LAST_WORDS_S = 2


@attrs.frozen(kw_only=True)
class ResourceLimits:
    """None leaves a limit as the runner has it."""

    memory_bytes: int | None = attrs.field(default=None, validator=_positive)
    """Private memory (RLIMIT_DATA: neither the slots nor an accelerator's reserved addresses count)."""
    cpu_s: int | None = attrs.field(default=None, validator=_positive)
    """CPU time of a process in its whole life: for trials, a host that runs for months uses it up."""
    open_files: int | None = attrs.field(default=None, validator=_positive)
    """Descriptors of each process: what leaks them ends before the machine has none left."""
    processes: int | None = attrs.field(default=None, validator=_positive)
    """The kernel counts all processes and threads of the user, and doesn't hold root to it."""
    core_bytes: int | None = attrs.field(default=0, validator=_not_negative)
    """Core dumps are off: one of a host with a model in it fills a station's disk. None leaves them on."""

    def apply(self, process_id: int) -> None:
        """Set the limits of a running process. One that has ended already needs none."""
        for number, value in self._values():
            with contextlib.suppress(ProcessLookupError):
                _, hard = resource.prlimit(process_id, number)
                bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
                # At the hard limit of CPU time comes SIGKILL, which tells nobody why; at the soft one SIGXCPU.
                highest = bound + _CPU_LAST_WORDS_S if number == resource.RLIMIT_CPU else bound
                if hard != resource.RLIM_INFINITY:
                    highest = min(highest, hard)
                with contextlib.suppress(PermissionError):
                    resource.prlimit(process_id, number, (bound, highest))

    def _values(self) -> list[tuple[int, int]]:
        wanted = [
            (resource.RLIMIT_DATA, self.memory_bytes),
            (resource.RLIMIT_CPU, self.cpu_s),
            (resource.RLIMIT_NOFILE, self.open_files),
            (resource.RLIMIT_NPROC, self.processes),
            (resource.RLIMIT_CORE, self.core_bytes),
        ]
        return [(number, value) for number, value in wanted if value is not None]

    def as_dict(self) -> dict[str, Any]:
        """Return the limits for a report."""
        return attrs.asdict(self)


@attrs.frozen(kw_only=True)
class EnvironmentPolicy:
    """An allow-list: tokens and passwords of the platform's own don't reach a host, and so no vendor's code.

    An algorithm gets what this lets through, but for variables that begin with `PROCVISION_`, which are its host's.
    """

    names: frozenset[str] = attrs.field(default=ALLOWED_NAMES, converter=frozenset)
    """Variables that are passed on if they are set."""
    prefixes: tuple[str, ...] = (*ALLOWED_PREFIXES, "PROCVISION_")
    """So are all that begin with one of these."""
    extra: Mapping[str, str] = attrs.field(factory=dict)
    """Set whatever the runner's own environment says."""

    def environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a host, made from `own`."""
        allowed = {name: value for name, value in own.items() if name in self.names or name.startswith(self.prefixes)}
        return {**allowed, **self.extra}

    def held_back(self, own: Mapping[str, str]) -> list[str]:
        """Return the names in `own` that a host gets nothing under, sorted."""
        return sorted(own.keys() - self.environment(own).keys())
