"""From a host that was lost to the next, or to giving up and to somebody's `reset`. When, the restart policy says."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from procvision_runner.errors import BrokenError, CallError, LaunchError
from procvision_runner.supervision import events
from procvision_runner.supervision.restart import GiveUp, RestartHistory, RestartPolicy

if TYPE_CHECKING:
    from procvision_runner.supervision.admission import Admission
    from procvision_runner.supervision.journal import Journal
    from procvision_runner.supervision.standing import Standing
    from procvision_runner.supervision.succession import Succession


class Recovery:
    """`restart` is the keeper's, `reset` anybody's."""

    def __init__(
        self,
        succession: Succession,
        policy: RestartPolicy,
        journal: Journal,
        admission: Admission,
        standing: Standing,
    ) -> None:
        self.last_logs: tuple[Mapping[str, Any], ...] = ()
        """Of the last host that ended, or never became ready."""
        self._succession = succession
        self._policy = policy
        self._journal = journal
        self._admission = admission
        self._standing = standing
        self._history = RestartHistory()

    def launched(self) -> None:
        """A host became ready."""
        self._history = self._history.launched()

    def restart(self, ended_at: float) -> None:
        """Launches hosts until one is ready, or the policy gives up, or somebody else has installed one."""
        succession = self._succession
        while not self._standing.stopping:
            decision, self._history = self._policy.decide(self._history, time.monotonic())
            if isinstance(decision, GiveUp):
                self.give_up(decision.reason)
                return
            if self._standing.stop_asked.wait(decision.delay_s) or self._admission.current is not None:
                return
            try:
                host = succession.launch(succession.command)
            except LaunchError as error:
                self._history = self._history.launch_failed()
                self.last_logs = tuple(error.logs)
                continue
            with succession.switching:
                swapped = self._admission.current is not None
                if not swapped:
                    succession.install(host)
            if swapped:
                succession.discard(host)
                return
            self._journal.count("restarts")
            down_s = round(time.monotonic() - ended_at, 3)
            self._journal.emit(events.HostRestarted, host=host.number, down_s=down_s)
            return

    def give_up(self, reason: str) -> None:
        """No call is taken any more."""
        if not self._standing.give_up(reason):
            return
        self._journal.count("broken")
        self._admission.refuse(functools.partial(self._broken_error, reason))
        self._journal.emit(events.Broken, reason=reason)

    def keeper_failed(self, error: Exception) -> None:
        """What should not happen: it is better told than waited for."""
        self.give_up(f"its supervisor failed: {error!r}")

    def reset(self) -> None:
        """Somebody has looked: forgets what was tried and starts a host again. Raises LaunchError."""
        succession = self._succession
        with succession.swapping:
            if not self._standing.try_again():
                return
            self._history = RestartHistory()
            self._journal.emit(events.WasReset)
            try:
                host = succession.launch(succession.command)
            except LaunchError as error:
                self.last_logs = tuple(error.logs)
                self.give_up(str(error))
                raise
            succession.install(host)

    def _broken_error(self, reason: str) -> CallError:
        error = BrokenError(
            f"{self._journal.name} is broken: {reason}; hint: see the last log lines, mend it, then reset()",
            logs=self.last_logs,
        )
        error.sent = False
        return error
