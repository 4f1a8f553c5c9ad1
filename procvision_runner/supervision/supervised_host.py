"""One host of a supervisor, from its launch to its end. Mechanism: the supervisor decides what is done when."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from procvision_runner.connection.client import Client
from procvision_runner.connection.launch import get_ready
from procvision_runner.connection.observer import Observer
from procvision_runner.connection.steady_calls import steady_calls
from procvision_runner.process.host_log import HostLog
from procvision_runner.process.host_process import HostProcess
from procvision_runner.process.process_tree import tree
from procvision_sdk.environment import SUPERVISOR_VARIABLE, is_named

if TYPE_CHECKING:
    from procvision_runner.connection.pending_call import PendingCall
    from procvision_runner.connection.steady_calls import Inspects
    from procvision_runner.exit_causes import EndKind, HostEnd
    from procvision_runner.images.slots import SlotPool
    from procvision_runner.requests import Request
    from procvision_runner.results import CallResult
    from procvision_runner.supervision.options import SupervisorOptions
    from procvision_runner.supervision.suspects import SuspectPicture
    from procvision_sdk.wire.messages import Error, Pong, Result

_STACKS_MARK = "most recent call first"
"""Stands in every stack that faulthandler writes."""


class HostObserver(Protocol):
    """What a host tells its supervisor. Each method is called on any thread, and must not block."""

    def host_missed_pong(self, host: SupervisedHost, misses: int) -> None:
        """Note that a ping was not answered in time."""

    def host_unresponsive(self, host: SupervisedHost, misses: int) -> None:
        """Note that too many pings were missed."""

    def host_timed_out(self, host: SupervisedHost, pending: PendingCall) -> None:
        """Note that a call timed out."""

    def host_answered_unexpectedly(self, host: SupervisedHost, answer: Result | Error | Pong) -> None:
        """Note an answer that came late, came twice or answers no call."""

    def host_violated(self, host: SupervisedHost, kind: str, message: str) -> None:
        """Note that the host broke a rule of the wire."""

    def host_ending(self, host: SupervisedHost, end: HostEnd, running: PendingCall | None) -> None:
        """Note that the host has ended while it was at a call. Its calls have not ended yet."""

    def host_died(self, host: SupervisedHost, end: HostEnd) -> None:
        """Note that the host has ended, and its calls with it."""


class SupervisedHost(Observer):
    """A process, its client, and what a supervisor counts of it. The supervisor's lock guards the counts."""

    __slots__ = ("__dict__", "__weakref__", "calls", "closing", "draining", "in_flight", "inspect", "overdue", "ready")

    def __init__(
        self,
        number: int,
        command: tuple[str, ...],
        options: SupervisorOptions,
        observer: HostObserver,
        on_log: Callable[[Mapping[str, Any]], None] | None,
        slots: SlotPool,
        supervisor: str,
        *,
        locks_deployment: bool = True,
    ) -> None:
        self.number = number
        self.command = command
        self.observer = observer
        """Its supervisor or spare. The one that takes the host over puts itself here."""
        self.launched_at = time.monotonic()
        self.info: dict[str, Any] = {}
        self.calls: Inspects | None = None
        """Makes its steady calls; None before it is ready, and for a host that doesn't read pictures in the arena."""
        self.inspect: Callable[..., CallResult | None] | None = None
        """Their `inspect`."""
        self.ready = False
        self.closing = False
        """Whether it gets no new call."""
        self.draining = False
        """Whether it gets calls only of the sessions that it has."""
        self.in_flight = 0
        self.overdue = 0
        """How many calls timed out and have not ended."""
        self.suspect: SuspectPicture | None = None
        """The picture that ended it."""
        self.stopped = False
        self.stacks: list[Mapping[str, Any]] = []
        """What it wrote when it was asked for its stacks."""
        self._stopping = threading.Lock()
        self._options = options
        held_back: list[str] = []
        environment, passed = options.runner.environment, options.runner.pass_environment
        if environment is None:
            # What the policy lets through besides, an integrator has named.
            environment = {name: value for name, value in os.environ.items() if is_named(name, passed)}
            environment |= options.environment.environment(os.environ)
            held_back = sorted(os.environ.keys() - environment.keys())
            passed = (*passed, *(name for name in environment if not name.startswith("PROCVISION_")))
        self._slots = slots
        environment = {**environment, SUPERVISOR_VARIABLE: supervisor}
        self.process = HostProcess(command, environment, slots.arena(), passed, locks_deployment=locks_deployment)
        with self.process.ended_on_error():
            options.limits.apply(self.process.process_id)
            log = HostLog(self.process.stderr, options.runner.log_records, on_log)
            if held_back and number == 1:
                log.add(
                    "info",
                    f"of this process's environment hosts don't get {', '.join(held_back)}; "
                    "hint: SupervisorOptions(environment=EnvironmentPolicy(...)) says what they get",
                )
            self.client = Client(self.process, options.runner, log, self)

    def __repr__(self) -> str:
        return f"<Host {self.number} ({self.process.process_id})>"

    @property
    def process_id(self) -> int:
        """The operating system's id of the process that runs the algorithm, as its hello told it."""
        hello = self.client.hello
        told = hello.process_id if hello is not None else None
        return told if told is not None else self.process.process_id

    @property
    def version(self) -> str | None:
        """The algorithm's, as the host told it."""
        versions = self.info.get("versions")
        version = versions.get("algorithm") if isinstance(versions, dict) else None
        return str(version) if version is not None else None

    def get_ready(self) -> None:
        """Wait for the end of `setup()`. Raises LaunchError."""
        self.info = get_ready(self.client, self._options.runner)
        self._slots.suit(arena=self.client.reads_arena)
        if self.client.reads_arena:
            self.calls = steady_calls(
                self.client, self._slots, self._options.runner, deployment=self.process.deployment, supervised=True
            )
            self.inspect = self.calls.inspect
        # Whatever it started before the limits were set, if anything.
        for process_id in tree(self.process.process_id):
            self._options.limits.apply(process_id)

    def place(self, request: Request) -> None:
        """Have a request's picture lie where this host reads it. Raises SlotsExhaustedError."""
        if request.lease is not None and not self.client.reads_arena:
            request.call.shared_mem_id = request.lease.named_identity()

    def put_down(self, kind: EndKind, text: str) -> None:
        """End a host that can't be used: stacks, SIGTERM, SIGKILL for the tree. Its calls end with the cause given."""
        if self.client.condemn(kind, text):
            self.ask_for_stacks()
        self.stop(politely=False)

    def ask_for_stacks(self) -> None:
        """Send SIGQUIT: our host writes its stacks, by C code that needs no interpreter lock; another make ends."""
        records = self.client.log.records
        before = len(records)
        last = records[-1] if records else None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGQUIT)
        deadline = time.monotonic() + self._options.dump_timeout_s
        while time.monotonic() < deadline and self.process.exit_status is None:
            fresh = _after(list(records), before, last)
            if any(_STACKS_MARK in str(record.get("message", "")) for record in fresh):
                self.stacks = fresh
                return
            time.sleep(0.02)
        self.stacks = [r for r in _after(list(records), before, last) if _STACKS_MARK in str(r.get("message", ""))]

    def ends_within(self, timeout_s: float) -> bool:
        """Wait until the host has left by itself and its client knows how. Return False if it has not in time."""
        deadline = time.monotonic() + timeout_s
        if self.process.wait(timeout_s) is None:
            return False
        while self.client.end is None and time.monotonic() < deadline:
            time.sleep(0.005)
        return self.client.end is not None

    def stop(self, *, politely: bool = True, timeout_s: float | None = None) -> int | None:
        """Stop the host, once. A second caller waits for the first."""
        with self._stopping:
            if not self.stopped:
                self.stopped = True
                self.client.stop(politely=politely, timeout_s=timeout_s)
            return self.process.exit_status

    # --- what the client tells ------------------------------------------------------------------------------

    def missed_pong(self, misses: int) -> None:
        """Pass it on to the observer."""
        self.observer.host_missed_pong(self, misses)

    def unresponsive(self, misses: int) -> bool:
        """Pass it on to the observer. The supervisor ends the host with more care than the client would."""
        self.observer.host_unresponsive(self, misses)
        return True

    def timed_out(self, pending: PendingCall) -> None:
        """Pass it on to the observer."""
        self.observer.host_timed_out(self, pending)

    def unexpected(self, answer: Result | Error | Pong) -> None:
        """Pass it on to the observer."""
        self.observer.host_answered_unexpectedly(self, answer)

    def violated(self, kind: str, message: str) -> None:
        """Pass it on to the observer."""
        self.observer.host_violated(self, kind, message)

    def ending(self, end: HostEnd, running: PendingCall | None) -> None:
        """Pass it on to the observer."""
        self.observer.host_ending(self, end, running)

    def died(self, end: HostEnd) -> None:
        """Pass it on to the observer."""
        self.observer.host_died(self, end)


def pre_belongs_to_the_host(info: Mapping[str, Any]) -> bool:
    """Return whether the algorithm says that what its `pre` leaves lies in its process, besides its session's state."""
    manifest = info.get("manifest")
    return isinstance(manifest, Mapping) and manifest.get("pre_per_host") is True


def _after(records: list[Mapping[str, Any]], before: int, last: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """Return the records after `last`, which may have moved to the front of a full deque."""
    if last is None:
        return records
    for place in range(min(before, len(records)) - 1, -1, -1):
        if records[place] is last:
            return records[place + 1 :]
    return records
