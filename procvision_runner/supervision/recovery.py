"""From a host that was lost to the next, or to giving up and to somebody's `recover`. When, the restart policy says."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from procvision_runner.errors import BrokenError, CallError, LaunchError
from procvision_runner.supervision import events
from procvision_runner.supervision.restart import GiveUp, RestartHistory, RestartPolicy

if TYPE_CHECKING:
    from procvision_runner.supervision.admission import Admission
    from procvision_runner.supervision.journal import Journal
    from procvision_runner.supervision.spare import Spare
    from procvision_runner.supervision.state import Standing
    from procvision_runner.supervision.supervised_host import SupervisedHost


class Hosts(Protocol):
    """What a recovery needs of the succession whose hosts it brings back."""

    swapping: threading.Lock
    switching: threading.Lock

    def launch_next(self) -> SupervisedHost:
        """One of the running version that is ready, and gets no calls yet. Raises LaunchError."""

    def take_spare(self) -> SupervisedHost | None:
        """The spare host, if it may be used in place of such a launch."""

    def install(self, host: SupervisedHost) -> object:
        """Calls go to this host from now on."""

    def renewed(self, host: SupervisedHost) -> None:
        """What was launched before this host is not to be used."""

    def discard(self, host: SupervisedHost) -> None:
        """Stops a host that got no calls."""


class Recovery:
    """`restart` and `cover` are the keeper's, `recover` anybody's."""

    def __init__(
        self,
        hosts: Hosts,
        policy: RestartPolicy,
        journal: Journal,
        admission: Admission,
        standing: Standing,
        spare: Spare | None,
    ) -> None:
        self.last_logs: tuple[Mapping[str, Any], ...] = ()
        """Of the last host that ended, or never became ready."""
        self._hosts = hosts
        self._policy = policy
        self._journal = journal
        self._admission = admission
        self._standing = standing
        self._spare = spare
        self._history = RestartHistory()

    def launched(self) -> None:
        """A host became ready."""
        self._history = self._history.launched()

    def cover(self, host: SupervisedHost) -> None:
        """Has the spare, if there is one, take the calls of a host that is lost, or is about to be ended.

        It counts like any restart but waits for no delay: what that gives time to, the spare has had already.
        """
        if self._spare is None or self._standing.stopping:
            return
        now = time.monotonic()
        decision, history = self._policy.decide(self._history, now)
        if not isinstance(decision, GiveUp):
            self._took_over(host, history, now)

    def restart(self, ended_at: float) -> None:
        """Launches hosts until one is ready, or the policy gives up, or somebody else has installed one."""
        hosts = self._hosts
        while not self._standing.stopping:
            decision, self._history = self._policy.decide(self._history, time.monotonic())
            if isinstance(decision, GiveUp):
                with hosts.switching:
                    if self._admission.current is None:
                        self.give_up(decision.reason)
                return
            if self._standing.stop_asked.wait(decision.delay_s) or self._admission.current is not None:
                return
            if self._took_over(None, self._history, ended_at):
                return
            try:
                host = hosts.launch_next()
            except LaunchError as error:
                if self._admission.current is not None:
                    return  # A swap's, of which this says nothing.
                self._history = self._history.launch_failed()
                self.last_logs = tuple(error.logs)
                continue
            with hosts.switching:
                swapped = self._admission.current is not None
                if not swapped:
                    hosts.install(host)
            if swapped:
                hosts.discard(host)
                return
            self._restarted(host, ended_at)
            if self._spare is not None:
                self._spare.try_again()
            return

    def _took_over(self, lost: SupervisedHost | None, history: RestartHistory, ended_at: float) -> bool:
        """Whether the spare is the current host now in place of `lost`, or of none."""
        with self._hosts.switching:
            if self._admission.current is not lost:
                return False
            host = self._hosts.take_spare()
            if host is None:
                return False
            self._history = history
            self._hosts.install(host)
        self._journal.count("takeovers")
        self._restarted(host, ended_at)
        return True

    def _restarted(self, host: SupervisedHost, ended_at: float) -> None:
        self._journal.count("restarts")
        down_s = round(time.monotonic() - ended_at, 3)
        self._journal.emit(events.HostRestarted, host=host.number, down_s=down_s)

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

    def recover(self) -> None:
        """Somebody has looked: forgets what was tried, and starts a host again if need be. Raises LaunchError."""
        with self._hosts.swapping:
            if not self._standing.try_again():
                if self._spare is not None:
                    self._spare.try_again()
                return
            self._history = RestartHistory()
            self._journal.emit(events.Recovering)
            try:
                host = self._hosts.launch_next()
            except LaunchError as error:
                self.last_logs = tuple(error.logs)
                self.give_up(str(error))
                raise
            # A spare from before may have loaded what was mended since.
            with self._hosts.switching:
                self._hosts.renewed(host)
                self._hosts.install(host)
            if self._spare is not None:
                self._spare.renew(host.command)

    def _broken_error(self, reason: str) -> CallError:
        error = BrokenError(
            f"{self._journal.name} is broken: {reason}; hint: see the last log lines, mend it, then recover()",
            logs=self.last_logs,
        )
        error.sent = False
        return error
