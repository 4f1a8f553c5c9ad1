"""Follows what is active in a folder of deployments: another version there is swapped to, while calls go on.

The strategy: a thread looks at one link five times a second, which is a system call or two. Only when it leads
elsewhere is the deployment read and its files looked at. A version that can't be swapped to leaves the old one serving;
the supervisor's events tell of it, and it is tried again when the link changes again. With a spare, a host of the
version before stands by after a change, so that going back takes no launch.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from procvision_runner.connection.launch import host_command
from procvision_runner.deployments import Active, active_version, check_whole, deployment_folder
from procvision_runner.errors import RunnerError
from procvision_runner.supervision.spare import Spare

if TYPE_CHECKING:
    from procvision_runner.images.slots import SlotPool
    from procvision_runner.options import RunnerOptions
    from procvision_runner.supervision.events import EventBus
    from procvision_runner.supervision.options import SupervisorOptions

LOOK_EVERY_S = 0.2
"""Rollbacks are to be there within a second."""


def fallback_spare(
    name: str,
    options: SupervisorOptions,
    bus: EventBus,
    on_log: Callable[[Mapping[str, Any]], None] | None,
    slots: SlotPool,
) -> Spare:
    """Return what keeps a host of the version before; none at first. It doesn't keep that from being removed."""
    return Spare(f"{name}/before", (), options, bus, on_log, slots, locks_deployment=False)


class Swaps(Protocol):
    """What goes over to another command."""

    def swap(self, algorithm: str | None = None, *, command: Sequence[str] | None = None, wait: bool = True) -> Any:
        """Go on with another version."""


class ActivationFollower:
    """Swaps a supervisor or a pool to the version that is active for a product."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        algorithm: str,
        pid: str | None,
        command: tuple[str, ...],
        options: RunnerOptions,
        swaps: Swaps,
        fallback: Spare | None,
    ) -> None:
        self._root = Path(root)
        self._algorithm, self._pid, self._options, self._swaps = algorithm, pid, options, swaps
        self._fallback = fallback
        # The command's first word is ROOT/NAME/VERSION/bin/python.
        self._folder = Path(command[0]).parents[2]
        self._command = command
        self._seen: Active | None = None
        self._stop_asked = threading.Event()
        self._thread: threading.Thread | None = None

    def check_whole(self) -> None:
        """Hold all hashes of the version that is launched first. Raises LaunchError."""
        check_whole(Path(self._command[0]).parents[1])

    def start(self) -> None:
        """Begin to look."""
        self._thread = threading.Thread(target=self._follow, name=f"activations of {self._algorithm}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more. A swap that has begun goes on in its thread, until its supervisor has ended."""
        self._stop_asked.set()

    def _follow(self) -> None:
        while True:
            with contextlib.suppress(RunnerError, OSError, RuntimeError):
                # A swap that fails has told of it by an event; a supervisor that ends wants none.
                self._look()
            if self._stop_asked.wait(LOOK_EVERY_S):
                return

    def _look(self) -> None:
        if self._fallback is not None and self._fallback.command and deployment_folder(self._fallback.command) is None:
            self._fallback.renew(())  # it was uninstalled
        now = active_version(self._folder, self._pid)
        if now == self._seen or now is None:
            return
        self._seen = now
        words = host_command(self._algorithm, None, self._options, self._root, self._pid)
        if words != self._command and not self._stop_asked.is_set():
            self._swaps.swap(command=words, wait=False)
            self._command = words
