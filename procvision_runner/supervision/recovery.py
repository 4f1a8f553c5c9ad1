"""Leads from a lost host to the next, or to giving up and to a `recover()`. The restart policy says when."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from procvision_runner.errors import BrokenError, CallError, LaunchError
from procvision_runner.supervision import events
from procvision_runner.supervision.restart import GiveUp, RestartHistory, RestartPolicy

if TYPE_CHECKING:
    from procvision_runner.supervision.admission import Admission
    from procvision_runner.supervision.journal import Journal
    from procvision_runner.supervision.spare import Spare
    from procvision_runner.supervision.state import Lifecycle
    from procvision_runner.supervision.supervised_host import SupervisedHost


class Hosts(Protocol):
    """What a recovery needs of the succession whose hosts it brings back."""

    swapping: threading.Lock
    switching: threading.Lock

    def launch_next(self) -> SupervisedHost:
        """Launch a host of the running version, and return it when it is ready. Raises LaunchError."""

    def take_spare(self) -> SupervisedHost | None:
        """Return the spare host, if it may be used instead of such a launch."""

    def install(self, host: SupervisedHost) -> object:
        """Send calls to this host from now on."""

    def renewed(self, host: SupervisedHost) -> None:
        """Use no spare that was launched before this host."""

    def discard(self, host: SupervisedHost) -> None:
        """Stop a host that got no calls."""


class Recovery:
    """`restart` and `cover` are the keeper's, `recover` anybody's."""

    def __init__(
        self,
        hosts: Hosts,
        policy: RestartPolicy,
        journal: Journal,
        admission: Admission,
        lifecycle: Lifecycle,
        spare: Spare | None,
    ) -> None:
        self.last_logs: tuple[Mapping[str, Any], ...] = ()
        """The log records of the last host that ended or never became ready."""
        self._hosts = hosts
        self._policy = policy
        self._journal = journal
        self._admission = admission
        self._lifecycle = lifecycle
        self._spare = spare
        self._history = RestartHistory()

    def launched(self) -> None:
        """Note that a host became ready."""
        self._history = self._history.launched()

    def cover(self, host: SupervisedHost) -> None:
        """Let the spare, if there is one, take the calls of a host that is lost or is about to be ended.

        It counts like any restart but waits for no delay: the spare has had that time already.
        """
        if self._spare is None or self._lifecycle.stopping:
            return
        now = time.monotonic()
        decision, history = self._policy.decide(self._history, now)
        if not isinstance(decision, GiveUp):
            self._took_over(host, history, now)

    def pardon(self) -> None:
        """Let the newest restart not count: a picture was at fault, not the host."""
        self._history = attrs.evolve(self._history, restarts=self._history.restarts[:-1])

    def restart(self, ended_at: float) -> None:
        """Launch hosts until one is ready, the policy gives up, or another thread has installed one."""
        hosts = self._hosts
        while not self._lifecycle.stopping:
            decision, self._history = self._policy.decide(self._history, time.monotonic())
            if isinstance(decision, GiveUp):
                with hosts.switching:
                    if self._admission.current is None:
                        self.give_up(decision.reason)
                return
            if self._lifecycle.stop_asked.wait(decision.delay_s) or self._admission.current is not None:
                return
            if self._took_over(None, self._history, ended_at):
                return
            try:
                host = hosts.launch_next()
            except LaunchError as error:
                if self._admission.current is not None:
                    return  # A swap's, of which this says nothing.
                self.last_logs = tuple(error.logs)
                if error.retryable:
                    self._history = self._history.must_wait()
                    self._wait(str(error))
                else:
                    self._history = self._history.launch_failed()
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
        """Make the spare the current host in place of `lost`, or of none. Return False if there is no spare."""
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

    def _wait(self, reason: str) -> None:
        if self._lifecycle.wait(reason):
            self._journal.count("waits")
            self._journal.emit(events.WaitingForHost, reason=reason)

    def give_up(self, reason: str) -> None:
        """Take no calls any more."""
        if not self._lifecycle.give_up(reason):
            return
        self._journal.count("broken")
        self._admission.refuse(functools.partial(self._broken_error, reason))
        self._journal.emit(events.Broken, reason=reason)

    def keeper_failed(self, error: Exception) -> None:
        """Give up after a failure of the keeper itself, so that no caller waits for it."""
        self.give_up(f"its supervisor failed: {error!r}")

    def recover(self) -> None:
        """Forget what was tried, and start a host again if the supervisor is broken. Raises LaunchError."""
        with self._hosts.swapping:
            if not self._lifecycle.try_again():
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
