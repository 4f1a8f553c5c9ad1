"""Follows what is active in a folder of deployments: another version there is swapped to, while calls go on.

The strategy: a thread looks at one link every half second, which is a system call or two. Only when it leads elsewhere
is the deployment read and its files looked at. A version that can't be swapped to leaves the old one serving; the
supervisor's events tell of it, and it is tried again when the link changes again.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from procvision_runner.connection.launch import host_command
from procvision_runner.deployments import active_version
from procvision_runner.errors import RunnerError

if TYPE_CHECKING:
    from procvision_runner.options import RunnerOptions

LOOK_EVERY_S = 0.5
"""Rollbacks are to be there within a second."""


class Swaps(Protocol):
    """What goes over to another command."""

    def swap(self, algorithm: str | None = None, *, command: Sequence[str] | None = None) -> Any:
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
    ) -> None:
        self._root = Path(root)
        self._algorithm, self._pid, self._options, self._swaps = algorithm, pid, options, swaps
        # The command's first word is ROOT/NAME/VERSION/bin/python.
        self._folder = Path(command[0]).parents[2]
        self._command = command
        self._seen: tuple[str, str] | None = None
        self._stop_asked = threading.Event()
        self._thread: threading.Thread | None = None

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
        now = active_version(self._folder, self._pid)
        if now == self._seen or now is None:
            return
        self._seen = now
        words = host_command(self._algorithm, None, self._options, self._root, self._pid)
        if words != self._command and not self._stop_asked.is_set():
            self._swaps.swap(command=words)
            self._command = words
