"""The loop between the runner and the adapter: one thread that waits for all pipes, and one beside it for pictures.

The strategy: nothing in the loop lasts, so a ping is answered at once whatever the adapter does. Pictures are read,
decoded and written on the second thread, for one call at a time. Calls wait here; the adapter has one at a time.
An adapter that can't be followed or has ended takes the gateway with it, by the same exit status or signal: so a runner
sees the end of the adapter's process as it would see a host's.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import resource
import select
import signal
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NoReturn

import attrs

from procvision_compat.gateway.adapter import READ_BYTES, Adapter
from procvision_compat.gateway.calls import FieldCall, FieldCalls
from procvision_compat.gateway.dialect import FieldConnection
from procvision_compat.gateway.log import LOGGER, Log
from procvision_compat.gateway.pictures import FieldFolder
from procvision_compat.package import FieldPackage
from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.wire.codec import error_message
from procvision_sdk.wire.connection import Connection
from procvision_sdk.wire.errors import LocalProtocolError, RemoteProtocolError
from procvision_sdk.wire.events import HandshakeExpired, PeerClosed, Violation
from procvision_sdk.wire.messages import (
    AlgorithmName,
    AnyMessage,
    Call,
    Cancel,
    Error,
    HostHello,
    InFlight,
    Ping,
    Pong,
    Result,
    Shutdown,
)
from procvision_sdk.wire.tables import STATUS_TRANSITIONS, ConnectionState, HostStatus

ADAPTER_FAILED = os.EX_SOFTWARE
"""The exit status where the adapter has none that says so: its own goes before it."""
LEAVING_TIME_S = 3.0
"""How long an adapter that was asked to leave may take: its algorithm's teardown."""
SIGNAL_TIME_S = 2.0
"""How long all of it may take after SIGTERM: a runner sends SIGKILL 3 s later, and then pictures would stay behind."""
EXIT_PATIENCE_S = 2.0
"""How long the end of the adapter's stdout may precede the end of its process."""
FLUSH_TIME_S = 1.0
"""How long a leaving gateway waits for the runner to take the last log lines."""
MAX_STRAY_FRAMES = 1000
"""So many frames in a row that nobody asked for are a flood: the adapter can't be followed any more."""
LONGEST_WAIT_S = 3600.0
"""What `poll` takes has a bound; after so long the loop looks around and waits again."""
_LONGEST_TIMEOUT_MS = 10**12
"""Thirty years; JSON's integers have no bound, the clock's numbers do."""
_CODES = {"1009": ErrorCode.UNKNOWN, "1010": ErrorCode.UNKNOWN}
"""What adapters say of an exception and of a print, which are other things in the protocol."""
_LEAVING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_READINESS = "gateway-readiness"
"""The id of the ping that an adapter answers once its algorithm is set up."""

_log = logging.getLogger(LOGGER)


@attrs.define(eq=False)
class _Running:
    """The call that the adapter has, or is about to get."""

    call: Call
    since: float
    prepared: Future[FieldCall | Result]
    field_call: FieldCall | None = None
    sent_at: float = 0.0
    answered: bool = False
    """Whether the runner has its answer: what the adapter still says of it is dropped."""
    cancelled: bool = False

    @property
    def deadline(self) -> float | None:
        timeout_ms = self.call.timeout_ms
        if self.answered or timeout_ms is None or timeout_ms <= 0:
            return None
        return self.since + min(timeout_ms, _LONGEST_TIMEOUT_MS) / 1000

    def waits_for(self, own_id: str | None) -> bool:
        """Return whether the adapter has the call, under this id."""
        return bool(self.sent_at) and self.field_call is not None and own_id == self.field_call.own_id


class Gateway:
    """One adapter, from its start to its end."""

    def __init__(
        self,
        adapter: Adapter,
        connection: Connection,
        folder: FieldFolder,
        log: Log,
        name: str,
        package: FieldPackage | None,
        versions: Mapping[str, str],
        *,
        runner: tuple[int, int],
        shutdown_grace_s: float,
    ) -> None:
        """Take a connection that has said hello; `runner` are the descriptors that its frames come from and go to."""
        self._adapter = adapter
        self._connection = connection
        self._field = FieldConnection(connection.max_frame_bytes)
        self._folder = folder
        self._log = log
        self._name = name
        self._package = package
        self._versions = dict(versions)
        self._runner_in, self._runner_out = runner
        self._shutdown_grace_s = shutdown_grace_s
        self._pictures = ThreadPoolExecutor(1, "procvision-pictures")
        self._calls: FieldCalls | None = None
        self._status = HostStatus.STARTING
        self._version_told = False
        self._waiting: deque[Call] = deque()
        self._running: _Running | None = None
        self._strays = 0
        self._last_words: str | None = None
        """What the adapter said of itself in an error that answers no call."""
        self._useless: str | None = None
        """Why the adapter can't be followed any more."""
        self._stdout_ended: float | None = None
        self._drain_deadline: float | None = None
        self._last_moment: float | None = None
        """When all has to be over, once a signal has asked for it."""
        self._asked_to_leave = False
        self._killed = False
        self._acknowledged = True
        self._exit_status = os.EX_OK
        self._poller = select.poll()
        self._wake_in, self._wake_out = os.pipe()
        for descriptor in (self._wake_in, self._wake_out):
            os.set_blocking(descriptor, False)
        for descriptor in (self._wake_in, self._runner_in, adapter.stdout, adapter.stderr):
            self._poller.register(descriptor, select.POLLIN)

    def run(self) -> NoReturn:
        """Serve until the adapter is gone; leave as it left."""
        signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        for number in (*_LEAVING_SIGNALS, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        _log.info("the adapter runs as process %d, its hello is awaited", self._adapter.process_id)
        self._adapter.send(self._field.greeting())
        # While the adapter is loading: the first call needn't wait for it.
        self._pictures.submit(importlib.import_module, "numpy")
        while not self._over():
            self._round()
        self._leave()

    def _over(self) -> bool:
        adapter = self._adapter
        adapter.reap()
        return adapter.exit_status is not None or self._useless is not None or self._killed

    # --- the loop -------------------------------------------------------------------------------------------

    def _round(self) -> None:
        for descriptor, _ in self._ready():
            if descriptor == self._wake_in:
                self._woken()
            elif descriptor == self._runner_in:
                self._hear_runner()
            elif descriptor == self._adapter.stdout:
                self._hear_adapter()
            elif descriptor == self._adapter.stderr:
                self._hear_stderr()
            elif descriptor == self._adapter.stdin:
                self._adapter.write_some()
            elif descriptor == self._log.descriptor:
                self._log.write_some()
        self._look_at_the_clock(time.monotonic())
        self._go_on()

    def _ready(self) -> list[tuple[int, int]]:
        outputs = []
        if self._log.waiting:
            outputs.append(self._log.descriptor)
        if self._adapter.unsent:
            outputs.append(self._adapter.stdin)
        for descriptor in outputs:
            self._poller.register(descriptor, select.POLLOUT)
        deadline = self._deadline()
        try:
            patience_s = LONGEST_WAIT_S if deadline is None else min(deadline - time.monotonic(), LONGEST_WAIT_S)
            return self._poller.poll(max(0.0, patience_s) * 1000 + 1)
        finally:
            for descriptor in outputs:
                self._poller.unregister(descriptor)

    def _woken(self) -> None:
        numbers = os.read(self._wake_in, 256)
        if not set(_LEAVING_SIGNALS).isdisjoint(numbers):
            _log.info("asked to leave by a signal")
            self._drain(os.EX_OK)
            self._last_moment = time.monotonic() + SIGNAL_TIME_S

    def _wake(self, _: object) -> None:
        # A full pipe wakes its reader anyway.
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_out, b"\0")

    def _deadline(self) -> float | None:
        running = self._running
        ended = self._stdout_ended
        deadlines = (
            self._connection.deadline,
            self._drain_deadline,
            self._last_moment,
            running.deadline if running is not None else None,
            ended + EXIT_PATIENCE_S if ended is not None else None,
        )
        return min((at for at in deadlines if at is not None), default=None)

    def _look_at_the_clock(self, now: float) -> None:
        for event in self._connection.tick(now):
            if isinstance(event, HandshakeExpired):
                self._send(
                    error_message(
                        ErrorCode.TIMEOUT,
                        "handshake_timeout",
                        f"the runner's hello did not come within {event.timeout_s:g} s; "
                        "hint: answer the gateway's hello at once, or start it with --handshake-timeout-s 0",
                    )
                )
                self._acknowledged = False
                self._drain(os.EX_UNAVAILABLE)
        running = self._running
        if running is not None and running.deadline is not None and now >= running.deadline:
            self._answer_early(
                running,
                ErrorCode.TIMEOUT,
                "timeout",
                f"the adapter did not answer within the call's timeout_ms of {running.call.timeout_ms}",
                retryable=True,
            )
        if any(at is not None and now >= at for at in (self._drain_deadline, self._last_moment)):
            self._drain_is_late()
        if self._stdout_ended is not None and now >= self._stdout_ended + EXIT_PATIENCE_S:
            self._useless = "it has closed its stdout and lives on"

    def _go_on(self) -> None:
        """Do what has become possible: send a prepared call, begin the next, leave."""
        running = self._running
        if running is not None and running.field_call is None and running.prepared.done():
            self._pass_on(running)
        if self._running is None and self._waiting and self._status is HostStatus.READY:
            self._begin(self._waiting.popleft())
        if self._status is HostStatus.DRAINING and self._running is None and not self._asked_to_leave:
            self._asked_to_leave = True
            self._adapter.send(self._field.shutdown())
            self._drain_deadline = time.monotonic() + LEAVING_TIME_S

    # --- the runner -----------------------------------------------------------------------------------------

    def _hear_runner(self) -> None:
        data = os.read(self._runner_in, READ_BYTES)
        if data:
            events = self._connection.receive(data, time.monotonic())
        else:
            self._poller.unregister(self._runner_in)
            events = self._connection.receive_end()
        for event in events:
            if isinstance(event, Ping):
                self._send(self._pong(event))
            elif isinstance(event, Call):
                self._waiting.append(event)
            elif isinstance(event, Cancel):
                self._cancel(event.request_id)
            elif isinstance(event, Shutdown):
                self._drain(os.EX_OK)
            elif isinstance(event, PeerClosed):
                _log.info("the runner closed stdin")
                self._drain(os.EX_OK if self._connection.peer_hello is not None else os.EX_UNAVAILABLE)
            elif isinstance(event, Violation):
                self._runner_is_wrong(event)
            elif isinstance(event, Error):
                _log.warning("the runner reports (%s): %s", event.error_code, event.message)

    def _runner_is_wrong(self, violation: Violation) -> None:
        _log.warning("the runner broke the protocol (%s): %s", violation.kind, violation.message)
        if violation.reply is not None:
            self._send(violation.reply)
        if violation.fatal:
            self._acknowledged = False
            self._drain(os.EX_UNAVAILABLE if violation.kind == "incompatible_version" else os.EX_DATAERR)

    def _pong(self, ping: Ping) -> Pong:
        pong = Pong(request_id=ping.request_id, state=str(self._status))
        running = self._running
        if running is not None:
            elapsed_ms = int((time.monotonic() - running.since) * 1000)
            pong.executing = InFlight(request_id=running.call.request_id, elapsed_ms=elapsed_ms)
        elif self._waiting and self._status is HostStatus.READY:
            # Read together with the ping: it is begun as soon as this reading is done.
            pong.state = str(HostStatus.EXECUTING)
            pong.executing = InFlight(request_id=self._waiting[0].request_id, elapsed_ms=0)
        if self._status is HostStatus.READY and not self._version_told:
            self._version_told = True
            pong.algorithm = AlgorithmName(name=self._name, version=self._versions.get("algorithm"))
            pong.host_version = self._versions.get("gateway")
        return pong

    def _cancel(self, request_id: str | None) -> None:
        for call in self._waiting:
            if call.request_id == request_id:
                self._waiting.remove(call)
                self._refuse(call, ErrorCode.CANCELLED, "cancelled", "the call was cancelled")
                return
        running = self._running
        # No adapter understands a cancel: a call that it has goes on, and its answer is the call's.
        if running is not None and running.call.request_id == request_id and running.field_call is None:
            running.cancelled = True

    def _send(self, message: AnyMessage) -> bool:
        """Write a frame. Return False where the message can't be sent as it is."""
        try:
            rest = memoryview(self._connection.send(message))
        except LocalProtocolError as error:
            _log.error("a message can't be sent: %s", error)
            return False
        with contextlib.suppress(BrokenPipeError):  # The runner is gone: the end of stdin says the same.
            while rest:
                rest = rest[os.write(self._runner_out, rest) :]
        return True

    # --- calls ----------------------------------------------------------------------------------------------

    def _on(self, event: str) -> None:
        self._status = STATUS_TRANSITIONS[self._status][event]

    def _begin(self, call: Call) -> None:
        assert self._calls is not None
        self._on("call")
        prepared = self._pictures.submit(self._calls.prepared, call)
        self._running = _Running(call, time.monotonic(), prepared)
        prepared.add_done_callback(self._wake)

    def _pass_on(self, running: _Running) -> None:
        """Give a prepared call to the adapter, or answer it at once."""
        try:
            prepared = running.prepared.result()
        except CallRefusedError as refusal:
            self._answer(running, _refusal(running.call, refusal))
            return
        except Exception as error:  # noqa: BLE001 - a fault of the gateway's ends one call, and says so
            _log.error("the call could not be prepared", exc_info=error)
            text = f"{type(error).__name__}: {error}"
            self._answer(running, _error(running.call, ErrorCode.UNKNOWN, "program", text))
            return
        if isinstance(prepared, Result):
            self._answer(running, prepared)
            return
        running.field_call = prepared
        if running.answered:
            self._end(running)
        elif running.cancelled:
            self._answer(running, _error(running.call, ErrorCode.CANCELLED, "cancelled", "the call was cancelled"))
        else:
            running.sent_at = time.monotonic()
            self._adapter.send(prepared.frame)

    def _answer(self, running: _Running, answer: Result | Error) -> None:
        """Answer the running call, unless it was answered for, and be ready for the next."""
        if running.answered:
            _log.warning("the answer of call %s came too late and is dropped", running.call.request_id)
        elif not self._send(answer):
            answer = _error(running.call, ErrorCode.INVALID_PARAMS, "bad_result", "the answer is too large or too deep")
            self._send(answer)
        if isinstance(answer, Result) and not running.answered and self._calls is not None:
            self._calls.ended(running.call.session)
        self._end(running)

    def _end(self, running: _Running) -> None:
        if running.field_call is not None:
            running.field_call.release()
        self._running = None
        self._on("answered")

    def _answer_early(self, running: _Running, code: str, kind: str, text: str, *, retryable: bool) -> None:
        """Answer for an adapter that doesn't. It is busy until its own answer comes."""
        self._refuse(running.call, code, kind, text, retryable=retryable)
        running.answered = True

    def _refuse(self, call: Call, code: str, kind: str, text: str, *, retryable: bool = False) -> None:
        self._send(_error(call, code, kind, text, retryable))

    # --- the adapter ----------------------------------------------------------------------------------------

    def _hear_stderr(self) -> None:
        data = self._adapter.read(self._adapter.stderr)
        if data is None:
            return
        self._log.take(data, self._running.call.request_id if self._running is not None else None)
        if not data:
            self._poller.unregister(self._adapter.stderr)

    def _hear_adapter(self) -> bool:
        """Take what has come from the adapter. Return whether there was anything."""
        data = self._adapter.read(self._adapter.stdout)
        if data == b"":
            self._poller.unregister(self._adapter.stdout)
            self._stdout_ended = time.monotonic()
        for message in self._field.receive(data or b""):
            if self._useless is not None:
                break
            if isinstance(message, RemoteProtocolError):
                self._adapter_is_wrong(message)
            elif isinstance(message, HostHello):
                self._hello(message)
            elif isinstance(message, Pong) and message.request_id == _READINESS:
                self._loaded()
            elif isinstance(message, Error) and message.request_id is None:
                self._last_words = message.message[:MAX_WORDS]
                _log.error("the adapter reports (%s): %s", message.error_code, self._last_words)
            elif isinstance(message, (Result, Error)):
                self._adapter_answers(message)
            elif not isinstance(message, Shutdown):
                self._stray(f"{message.TYPE} that nobody asked for")
        return bool(data)

    def _hello(self, hello: HostHello) -> None:
        if self._calls is not None:
            self._stray("a second hello")
            return
        _log.info("the adapter speaks for SDK %s", hello.sdk_version)
        versions = {**self._versions, "procvision_algorithm_sdk": hello.sdk_version}
        self._calls = FieldCalls(self._field, self._folder, self._package, versions)
        if self._field.can("ping"):
            # It reads its first frame when its algorithm is imported and set up.
            self._adapter.send(self._field.ping(_READINESS))
        else:
            self._loaded()

    def _loaded(self) -> None:
        if self._status in (HostStatus.STARTING, HostStatus.DRAINING):
            self._on("loaded")

    def _adapter_answers(self, message: Result | Error) -> None:
        running = self._running
        if running is None or not running.waits_for(message.request_id):
            self._stray(f"{message.TYPE} of {message.request_id!r:.60}, which no call waits for")
            return
        self._strays = 0
        if isinstance(message, Error):
            # What the algorithm raised, as a rule: the adapter tells no other fault of it from that.
            code = _CODES.get(message.error_code, message.error_code)
            answer: Result | Error = _error(running.call, code, "program", message.message)
        else:
            answer = self._judged(running, message)
        self._answer(running, answer)

    def _judged(self, running: _Running, result: Result) -> Result | Error:
        assert self._calls is not None
        assert running.field_call is not None
        took_ms = int((time.monotonic() - running.sent_at) * 1e6) / 1e3
        try:
            return self._calls.judged(running.field_call, result, took_ms)
        except CallRefusedError as refusal:
            _log.warning("the adapter's answer is refused (%s, %s): %s", refusal.error_code, refusal.kind, refusal)
            return _refusal(running.call, refusal)

    def _adapter_is_wrong(self, error: RemoteProtocolError) -> None:
        if error.fatal:
            self._useless = str(error)
            return
        running = self._running
        if running is None or not running.sent_at or (error.request_id and not running.waits_for(error.request_id)):
            self._stray(f"a frame that is none ({error.kind}): {error}")
            return
        # It has one call at a time and sends nothing unasked: what can't be read is that call's answer.
        self._strays = 0
        self._answer(
            running, _error(running.call, ErrorCode.PROTOCOL, error.kind, f"the adapter's answer is malformed: {error}")
        )

    def _stray(self, what: str) -> None:
        self._strays += 1
        if self._strays & (self._strays - 1) == 0:  # The 1st, 2nd, 4th, 8th: a flood must not fill the log.
            _log.warning("the adapter sends %s (%d so far)", what, self._strays)
        if self._strays >= MAX_STRAY_FRAMES:
            self._useless = f"it sent {self._strays} frames in a row that nobody asked for, the last {what}"

    # --- leaving --------------------------------------------------------------------------------------------

    def _drain(self, exit_status: int) -> None:
        """Take no new call, let the running one end, have the adapter leave. The first cause decides the status."""
        if self._exit_status == os.EX_OK:
            self._exit_status = exit_status
        if self._drain_deadline is not None:
            return
        self._drain_deadline = time.monotonic() + self._shutdown_grace_s
        self._connection.drain()
        self._on("drain")
        while self._waiting:
            call = self._waiting.popleft()
            text = "the gateway is leaving: the call was not begun"
            self._refuse(call, ErrorCode.CANCELLED, "draining", text, retryable=True)

    def _drain_is_late(self) -> None:
        running = self._running
        if running is not None and not running.answered:
            text = f"the gateway is leaving and the call did not end within {self._shutdown_grace_s:g} s"
            self._answer_early(running, ErrorCode.CANCELLED, "draining", text, retryable=True)
        _log.error("the adapter did not leave in time and is killed")
        self._killed = True

    def _leave(self) -> NoReturn:
        adapter = self._adapter
        hung = self._useless is not None or self._killed
        adapter.kill_tree()
        self._hear_the_rest()
        own = adapter.exit_status
        left = self._drain_deadline is not None and not hung
        if left and own != 0:
            _log.warning("the adapter %s when it was asked to leave", _described(own))
        elif not left and self._drain_deadline is None:
            self._tell_of_the_end(hung)
        status = self._exit_status
        if not left and status == os.EX_OK:
            status = ADAPTER_FAILED if hung or own in (None, 0) else own
        self._pictures.shutdown(wait=True, cancel_futures=True)
        self._folder.close()
        if self._acknowledged and self._connection.state is ConnectionState.DRAINING:
            self._send(Shutdown(status="OK" if status == os.EX_OK else "ERROR"))
        self._log.flush_for(FLUSH_TIME_S)
        adapter.close()
        _leave_as(status)

    def _hear_the_rest(self) -> None:
        """Take what was written before the end; nobody is left who could write."""
        while self._useless is None and self._stdout_ended is None and self._hear_adapter():
            pass
        while data := self._adapter.read(self._adapter.stderr):
            self._log.take(data, None)
        self._log.take(b"", None)

    def _tell_of_the_end(self, hung: bool) -> None:
        """Say why there is no adapter any more. What ends of it are the calls that wait for an answer."""
        running = self._running
        during = f" while it executed call {running.call.request_id}" if running is not None else ""
        text = f"the field's adapter can't be used any more: {self._useless}" if hung else ""
        if not hung:
            text = f"the field's adapter {_described(self._adapter.exit_status)}{during}"
        if self._last_words is not None:
            text = f"{text}: {self._last_words}"
        _log.error("%s", text)
        kind = "load_failed" if self._status is HostStatus.STARTING else "adapter_ended"
        self._send(error_message(ErrorCode.PROTOCOL if hung else ErrorCode.UNKNOWN, kind, text))


MAX_WORDS = 8192
"""Characters of a text of the adapter's that go on: it is for a person."""


def _error(call: Call, code: str, kind: str, text: str, retryable: bool = False) -> Error:
    return error_message(code, kind, text[:MAX_WORDS], request_id=call.request_id, retryable=retryable)


def _refusal(call: Call, refusal: CallRefusedError) -> Error:
    return _error(call, refusal.error_code, refusal.kind, str(refusal), refusal.retryable)


def _described(exit_status: int | None) -> str:
    if exit_status is None:
        return "still ran"
    if exit_status >= 0:
        return f"exited with status {exit_status}"
    try:
        return f"was ended by {signal.Signals(-exit_status).name}"
    except ValueError:
        return f"was ended by signal {-exit_status}"


def _leave_as(status: int) -> NoReturn:
    """End this process with a status, or by the signal that a negative one stands for."""
    if status < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)
