"""Decides which call goes to which host, and when: the waiting line of a supervisor's calls.

The strategy: a call that finds room goes at once, on its caller's thread. Else it waits in the line, in the order of
its arrival, which a retry keeps. A session's calls go one at a time and to the host that knows it; everything else
goes to the current host. The thread that gives room back lets the next ones in.
Warning: everything here happens under `lock`; nothing that blocks, and no callback of a user's, is called under it.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from procvision_runner.errors import CallError, CallTimeoutError, SessionLostError
from procvision_runner.supervision.affinity import Binding, SessionBindings
from procvision_runner.supervision.background_thread import BackgroundThread
from procvision_runner.supervision.supervised_host import pre_belongs_to_the_host
from procvision_runner.supervision.ticket import Ticket

if TYPE_CHECKING:
    from procvision_runner.supervision.options import SupervisorOptions
    from procvision_runner.supervision.supervised_host import SupervisedHost

_ALONE = object()
"""Owns a session whose call came alone."""


class Admission:
    """Lets calls in. `current` is the host of every call that no session binds to another."""

    __slots__ = (
        "_closed",
        "_depth",
        "_dispatcher",
        "_line",
        "_outlive",
        "_queue_timeout_s",
        "_refusal",
        "changed",
        "current",
        "lock",
        "sessions",
    )

    def __init__(self, options: SupervisorOptions) -> None:
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        """Notified when a host may have become idle."""
        self.current: SupervisedHost | None = None
        self.sessions: SessionBindings[SupervisedHost] = SessionBindings(options.session_ttl_s)
        self._outlive = options.sessions_outlive_host
        self._depth = options.depth
        self._queue_timeout_s = options.queue_timeout_s
        self._line: list[Ticket] = []
        self._refusal: Callable[[], CallError] | None = None
        self._dispatcher = BackgroundThread("procvision-dispatch", (self._look,))
        """Runs the jobs of decided tickets, and refuses those whose time in the line is over."""
        self._closed = False

    # --- coming ---------------------------------------------------------------------------------------------

    def enter(self, ticket: Ticket, delay_s: float = 0.0) -> SupervisedHost:
        """Wait until the call may go to a host, and return that host. Raises CallError."""
        with self.lock:
            now = time.monotonic()
            if not self._admitted_at_once(ticket, now, delay_s):
                ticket.woken = threading.Event()
                self._stand_in_line(ticket, now, delay_s)
        try:
            self._wait_in_line(ticket)
        except BaseException:
            self._give_up_place(ticket)
            raise
        if ticket.error is not None:
            raise ticket.error
        assert ticket.host is not None
        return ticket.host

    def enter_alone(self, host: SupervisedHost, session_id: str | None, now: float) -> Binding[SupervisedHost] | None:
        """Let a call into the current host if that has none and nobody waits. Return its session's binding.

        A call of no session has one of its own. Return None, with nothing done, where the call has to `enter`.
        """
        with self.lock:
            if (
                self.current is not host
                or self._line
                or self._refusal is not None
                or host.in_flight
                or host.overdue
                or host.closing
                or host.draining
                or not host.ready
            ):
                return None
            binding: Binding[SupervisedHost] = (
                Binding(now) if session_id is None else self.sessions.get(session_id, now)
            )
            if (
                binding.lost is not None
                or binding.owner is not None
                or (binding.host is not None and binding.host is not host)
            ):
                return None
            binding.host, binding.owner = host, _ALONE
            host.in_flight += 1
            return binding

    def take_over(self, ticket: Ticket, host: SupervisedHost, binding: Binding[SupervisedHost] | None) -> None:
        """Let a call that came alone be the ticket's from here on."""
        with self.lock:
            ticket.host = host
            if binding is not None:
                binding.owner = ticket

    def withdraw(self, host: SupervisedHost, binding: Binding[SupervisedHost] | None) -> None:
        """Let a call that came alone, and was not made, not have come."""
        with self.lock:
            if binding is not None:
                binding.owner = None
            self._gone(host, done=True)

    def leave_alone(
        self,
        host: SupervisedHost,
        binding: Binding[SupervisedHost] | None,
        session_id: str | None,
        *,
        answered: bool,
        final: bool,
    ) -> None:
        """Note that a call that came alone has left its host."""
        with self.lock:
            if session_id is not None and binding is not None:
                self.sessions.get(session_id, time.monotonic())
                binding.answered |= answered
                binding.owner = None
                if final:
                    self.sessions.end(session_id)
            self._gone(host, done=True)

    def _wait_in_line(self, ticket: Ticket) -> None:
        while ticket.host is None and ticket.error is None:
            assert ticket.woken is not None
            until = ticket.not_before if ticket.not_before > time.monotonic() else ticket.expires_at
            if not ticket.woken.wait(max(0.0, until - time.monotonic()) + 0.001):
                with self.lock:
                    self._let_in(time.monotonic())

    def _give_up_place(self, ticket: Ticket) -> None:
        """Take the ticket of an interrupted caller out of the line."""
        with self.lock:
            if ticket in self._line:
                self._line.remove(ticket)
                self._let_go_of_session(ticket)
        if ticket.host is not None:
            self.leave(ticket, answered=False, done=True)

    def enter_or_queue(self, ticket: Ticket, delay_s: float = 0.0) -> bool:
        """Return True if the call may go at once. Else the dispatcher runs its job when it is let in or turned away."""
        with self.lock:
            now = time.monotonic()
            if self._admitted_at_once(ticket, now, delay_s):
                return True
            self._stand_in_line(ticket, now, delay_s)
            self._dispatcher.look()
            return False

    def hand_over(self, ticket: Ticket) -> None:
        """Run a decided ticket's job on the dispatcher thread."""
        assert ticket.job is not None
        if not self._dispatcher.do(ticket.job):
            # Nobody is left to do it, and after the close a job only learns that it was turned away.
            ticket.job()

    def _admitted_at_once(self, ticket: Ticket, now: float, delay_s: float) -> bool:
        ticket.host = ticket.error = None
        if delay_s or self._line:
            return False
        self._try_to_place(ticket, now)
        return ticket.host is not None or ticket.error is not None

    def _try_to_place(self, ticket: Ticket, now: float) -> None:
        try:
            ticket.host = self._placed(ticket, now)
        except CallError as error:
            ticket.error = error
            self._let_go_of_session(ticket)

    def _let_go_of_session(self, ticket: Ticket) -> None:
        if ticket.session_id is not None:
            binding = self.sessions.get(ticket.session_id, time.monotonic())
            if binding.owner is ticket:
                binding.owner = None

    def _stand_in_line(self, ticket: Ticket, now: float, delay_s: float) -> None:
        ticket.not_before = now + delay_s
        ticket.expires_at = now + delay_s + self._queue_timeout_s
        bisect.insort(self._line, ticket, key=lambda waiting: waiting.order)
        self._let_in(now)

    # --- deciding -------------------------------------------------------------------------------------------

    def _binding(self, ticket: Ticket, now: float) -> Binding[SupervisedHost] | None:
        return self.sessions.get(ticket.session_id, now) if ticket.session_id is not None else None

    def _placed(self, ticket: Ticket, now: float) -> SupervisedHost | None:
        """Return a host with room, and count the call as one in it; None if none has room. Raises CallError."""
        if self._refusal is not None:
            raise self._refusal()
        binding = self._binding(ticket, now)
        host, bound = self.current, False
        if binding is not None:
            if binding.lost is not None and not ticket.forgets:
                raise SessionLostError(
                    f"the session {ticket.session_id} is lost: {binding.lost}; "
                    "hint: inspect the product again in a new session, or keep sessions in a store outside the host"
                )
            if binding.owner is not None and binding.owner is not ticket:
                return None
            if binding.host is not None:
                host, bound = binding.host, True
        if host is None or host.in_flight >= self._depth or host.overdue or host.closing or not host.ready:
            return None
        if host.draining and not bound:
            return None
        host.in_flight += 1
        if binding is not None:
            binding.host = host
            binding.owner = ticket
        return host

    def _let_in(self, now: float) -> None:
        """Decide on the tickets in the line that can be decided on. Under the lock."""
        held_back: set[str] = set()
        full = False
        decided: list[Ticket] = []
        for ticket in self._line:
            if ticket.session_id is not None and ticket.session_id in held_back:
                continue
            if now >= ticket.not_before and not (full and ticket.session_id is None):
                self._try_to_place(ticket, now)
                full = full or (ticket.host is None and ticket.error is None and ticket.session_id is None)
            if ticket.host is None and ticket.error is None and now >= ticket.expires_at:
                ticket.error = CallTimeoutError(
                    f"no host had room for this call within {self._queue_timeout_s:g} s; "
                    "hint: run more hosts, or raise queue_timeout_s"
                )
                ticket.error.sent = False
                self._let_go_of_session(ticket)
            if ticket.host is not None or ticket.error is not None:
                decided.append(ticket)
            elif ticket.session_id is not None:
                held_back.add(ticket.session_id)
        for ticket in decided:
            self._line.remove(ticket)
            if ticket.woken is not None:
                ticket.woken.set()
            else:
                assert ticket.job is not None
                self._dispatcher.do(ticket.job)

    # --- going ----------------------------------------------------------------------------------------------

    def leave(self, ticket: Ticket, *, answered: bool, done: bool) -> None:
        """Note that a call has left its host. Not `done`, it comes back for another attempt."""
        with self.lock:
            host, ticket.host = ticket.host, None
            assert host is not None
            if ticket.session_id is not None:
                binding = self._binding(ticket, time.monotonic())
                assert binding is not None
                binding.answered |= answered
                if done:
                    binding.owner = None
                    if ticket.final:
                        self.sessions.end(ticket.session_id)
            self._gone(host, done=done)

    def _gone(self, host: SupervisedHost, *, done: bool) -> None:
        """Count a call out of its host. Under the lock."""
        host.in_flight -= 1
        # One that comes back keeps its session's other calls behind it by its older place in the line.
        if done and self._line:
            self._let_in(time.monotonic())
        if host.draining or host.closing:
            self.changed.notify_all()

    # --- what the supervisor decides ------------------------------------------------------------------------

    def install(self, host: SupervisedHost | None, in_place: Callable[[], None] | None = None) -> SupervisedHost | None:
        """Make a host the current one and return the one before. `in_place` is called under the lock."""
        with self.lock:
            before, self.current = self.current, host
            if in_place is not None:
                in_place()
            if host is not None:
                host.ready = True
                if not self._closed:
                    self._refusal = None
            self._let_in(time.monotonic())
            return before

    def look_again(self) -> None:
        """Decide on the line again, since something about a host has changed."""
        with self.lock:
            self._let_in(time.monotonic())
            self.changed.notify_all()

    def refuse(self, make_error: Callable[[], CallError] | None) -> None:
        """Refuse every call with this error from now on, also those in the line. None takes calls again."""
        with self.lock:
            self._refusal = make_error
            self._let_in(time.monotonic())

    def lose(self, host: SupervisedHost, why: str) -> int:
        """Forget a host that is gone. Return how many sessions were lost with it."""
        with self.lock:
            host.ready = False
            if self.current is host:
                self.current = None
            lost = self.sessions.lose(host, why, keep=self._outlive and not pre_belongs_to_the_host(host.info))
            self._let_in(time.monotonic())
            self.changed.notify_all()
            return lost

    def wait_until_idle(self, host: SupervisedHost, timeout_s: float, *, calls_only: bool = False) -> int:
        """Wait for a host's last call and session. Return how many sessions are still open on it."""
        deadline = time.monotonic() + timeout_s
        with self.lock:
            while True:
                now = time.monotonic()
                sessions = 0 if calls_only else self.sessions.open_on(host, now)
                if (not host.in_flight and not sessions) or not host.ready or now >= deadline or self._closed:
                    return sessions
                # Sessions also end by their time to live, which notifies no thread.
                self.changed.wait(min(deadline - now, 0.5))

    def _look(self, now: float) -> float | None:
        """Decide on the line for submitted calls, which have no thread that waits. The dispatcher calls this."""
        with self.lock:
            self._let_in(now)
            instants = [t.not_before if t.not_before > now else t.expires_at for t in self._line if t.woken is None]
        return min(instants) - now + 0.001 if instants else None

    def close(self, make_error: Callable[[], CallError], timeout_s: float = 2.0) -> None:
        """Refuse every call from now on, then end the dispatcher."""
        with self.lock:
            self._closed = True
            self._refusal = make_error
            self._let_in(time.monotonic())
            self.changed.notify_all()
        self._dispatcher.stop(timeout_s)

    @property
    def in_host(self) -> int:
        """Return how many calls are in the current host."""
        current = self.current
        return current.in_flight if current is not None else 0

    @property
    def waiting(self) -> int:
        """Return how many calls wait in the line."""
        with self.lock:
            return len(self._line)

    def load(self) -> int:
        """Return about how many calls are in the current host and in the line. A pool spreads its calls by this."""
        return self.in_host + len(self._line)
