"""Carries one call of a supervisor through all its attempts to its one end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import replace

from procvision_runner.errors import (
    BrokenError,
    CallError,
    CallFacts,
    CallFailedError,
    CallTimeoutError,
    HostDiedError,
    RunnerStoppedError,
    SuspectPictureError,
)
from procvision_runner.images.shared_lease import SharedLease
from procvision_runner.requests import held_to_the_protocol
from procvision_runner.supervision.events import CallEnded, CallRetried, Executing
from procvision_runner.supervision.retry import host_is_leaving, needs_new_host
from procvision_runner.supervision.suspects import key_of
from procvision_runner.supervision.ticket import Ticket
from procvision_sdk.errors import ErrorCode
from procvision_sdk.records import NO_VERDICT

if TYPE_CHECKING:
    from procvision_runner.connection.pending_call import PendingCall
    from procvision_runner.requests import Request
    from procvision_runner.results import CallResult
    from procvision_runner.supervision.admission import Admission
    from procvision_runner.supervision.inspections import Inspections
    from procvision_runner.supervision.journal import Journal
    from procvision_runner.supervision.options import SupervisorOptions
    from procvision_runner.supervision.succession import Succession
    from procvision_runner.supervision.supervised_host import SupervisedHost
    from procvision_runner.supervision.suspects import SuspectPicture, Suspects
    from procvision_sdk.wire.messages import Result

_log = logging.getLogger("procvision.runner")


class CallTaker(Protocol):
    """What a call needs of the supervisor that it is made in."""

    options: SupervisorOptions
    journal: Journal
    admission: Admission
    succession: Succession
    suspects: Suspects
    inspections: Inspections

    @property
    def stopping(self) -> bool:
        """Whether the supervisor was asked to stop."""

    @property
    def logs(self) -> list[Mapping[str, Any]]:
        """The last log records of the current host, or of the last host if there is none."""


class Attempts:
    """A call with its attempts: `run` blocks, `start` gives `future` the outcome."""

    def __init__(
        self,
        supervisor: CallTaker,
        request: Request,
        elsewhere: Callable[[CallTaker], CallTaker | None] | None = None,
    ) -> None:
        self.future: Future[CallResult] | None = None
        """What a submitted call gives its outcome to."""
        self._supervisor = supervisor
        self._admission = supervisor.admission
        self._elsewhere = elsewhere
        """Returns another supervisor that would take the call; None if there is none."""
        self._request = request
        session = request.call.session
        self.ticket = Ticket(
            request.session_id,
            final=session is not None and session.final,
            forgets=request.call.phase == "reset",
            job=self._decided,
        )
        self._shared_lease = SharedLease(request.lease) if request.lease is not None else None
        self._began = time.monotonic()
        self._attempts = 0
        self._earlier: list[CallError] = []
        self._host: SupervisedHost | None = None
        self._key: str | None = None
        """The call's, where it was looked up among those that ended hosts."""

    # --- blocking -------------------------------------------------------------------------------------------

    def run(self) -> CallResult:
        """Make the call and return its result. Raises CallError."""
        try:
            suspect = self._suspect()
            if suspect is not None:
                raise self._refused(suspect)
            return self._tried(0.0)
        finally:
            self._let_go()

    def take_over(self, pending: PendingCall, host: SupervisedHost, order: int, began: float) -> None:
        """Take over a call that was made once without this, in a host. Its place in the line is that of then."""
        self._shared_lease = pending.kept
        self.ticket.order, self._began = order, began
        self._host, self._attempts = host, 1

    def go_on(self, error: CallError, *, answered: bool) -> CallResult:
        """Go on after the failure of such a call, or where what the host `answered` is malformed. Raises CallError."""
        assert self._host is not None
        if answered:
            error.logs = tuple(self._host.client.log.records)
        try:
            return self._tried(self._next_delay(error))
        finally:
            self._let_go()

    def _tried(self, delay_s: float) -> CallResult:
        while True:
            try:
                host = self._admission.enter(self.ticket, delay_s)
            except CallError as error:
                if isinstance(error, BrokenError) and self._moved():
                    continue
                raise self._failed_waiting(error) from None
            self._goes_to(host)
            try:
                host.place(self._request)
                answer, took_s = host.client.call(self._request.call, self._request.timeout_s, self._share())
                result = self._judged(answer, took_s)
            except CallError as error:
                delay_s = self._next_delay(error)
            except BaseException:
                self._admission.leave(self.ticket, answered=False, done=True)
                raise
            else:
                self._succeeded(result)
                return result

    def _next_delay(self, error: CallError) -> float:
        """Return the seconds until the next attempt after one that failed. Raises CallError if there is none."""
        delay_s = self._attempt_failed(error)
        if delay_s is None:
            raise self._final(error) from error.__cause__
        return delay_s

    # --- submitted ------------------------------------------------------------------------------------------

    def start(self) -> Future[CallResult]:
        """Send the call now, or as soon as there is room."""
        future: Future[CallResult] = Future()
        self.future = future
        future.set_running_or_notify_cancel()
        suspect = self._suspect()
        if suspect is not None:
            self._conclude(error=self._refused(suspect))
            return future
        if self._admission.enter_or_queue(self.ticket):
            self._decided()
        return future

    def _decided(self) -> None:
        """Go on with a call that was let in or turned away."""
        if self.ticket.error is not None:
            if isinstance(self.ticket.error, BrokenError) and self._moved():
                self._queue_again(0.0)
            else:
                self._conclude(error=self._failed_waiting(self.ticket.error))
            return
        host = self.ticket.host
        assert host is not None
        self._goes_to(host)
        try:
            host.place(self._request)
            sent = host.client.submit(self._request.call, self._request.timeout_s, self._share())
        except CallError as error:
            self._try_again_or_end(error)
        except BaseException as error:  # noqa: BLE001 - the Future carries whatever it is
            self._admission.leave(self.ticket, answered=False, done=True)
            self._conclude(error=error)
        else:
            sent.add_done_callback(self._answered)

    def _answered(self, sent: Future[tuple[Result, float]]) -> None:
        try:
            answer, took_s = sent.result()
            result = self._judged(answer, took_s)
        except CallError as error:
            self._try_again_or_end(error)
        except BaseException as error:  # noqa: BLE001 - the Future carries whatever it is
            self._admission.leave(self.ticket, answered=False, done=True)
            self._conclude(error=error)
        else:
            self._succeeded(result)
            self._conclude(result)

    def _try_again_or_end(self, error: CallError) -> None:
        delay_s = self._attempt_failed(error)
        if delay_s is None:
            self._conclude(error=self._final(error))
        else:
            self._queue_again(delay_s)

    def _queue_again(self, delay_s: float) -> None:
        if self._admission.enter_or_queue(self.ticket, delay_s):
            # On a thread of a client's: what may block is the dispatcher's.
            self._admission.hand_over(self.ticket)

    def _conclude(self, result: CallResult | None = None, error: BaseException | None = None) -> None:
        self._let_go()
        assert self.future is not None
        try:
            if error is not None:
                self.future.set_exception(error)
            else:
                assert result is not None
                self.future.set_result(result)
        except BaseException:  # noqa: BLE001 - a callback's SystemExit: this thread reads other calls' answers
            _log.exception("a callback of a call's Future raised")

    # --- both -----------------------------------------------------------------------------------------------

    def _share(self) -> Callable[[], None] | None:
        return self._shared_lease.share() if self._shared_lease is not None else None

    def _let_go(self) -> None:
        if self._shared_lease is not None:
            self._shared_lease.release()

    def _moved(self) -> bool:
        """Hand the call to another supervisor. Return False if none takes it."""
        other = self._elsewhere(self._supervisor) if self._elsewhere is not None else None
        if other is None:
            return False
        self._supervisor, self._admission = other, other.admission
        return True

    def _goes_to(self, host: SupervisedHost) -> None:
        self._host = host
        self._attempts += 1
        supervisor = self._supervisor
        if supervisor.journal.bus.calls_heard:
            phase = self._request.call.phase
            supervisor.journal.emit(Executing, host=host.number, phase=phase, session_id=self.ticket.session_id)

    def _judged(self, answer: Result, took_s: float) -> CallResult:
        try:
            result = held_to_the_protocol(answer, self._request.call.phase, self._request.size, took_s)
            deployment = self._host.process.deployment if self._host is not None else None
            return result if deployment is None else replace(result, deployment=deployment)
        except CallError as error:
            assert self._host is not None
            error.logs = tuple(self._host.client.log.records)
            raise

    def _suspect(self) -> SuspectPicture | None:
        """Return what is known of the call's picture, if it is not to be tried again."""
        suspects, lease = self._supervisor.suspects, self._request.lease
        if not suspects.any or lease is None:
            return None
        if self._key is None:
            self._key = key_of(self._request.call, lease.payload)
        return suspects.find(self._key)

    def _refused(self, suspect: SuspectPicture) -> CallError:
        error = SuspectPictureError(
            f"{suspect} ended {suspect.ends} hosts in a row, the last {suspect.cause}: it is not tried again; "
            "hint: mend the algorithm, then swap() to it or recover()"
        )
        self._fill_in(error)
        return error

    def _succeeded(self, result: CallResult) -> None:
        if self._key is not None:
            self._supervisor.suspects.answered(self._key)
        if self.ticket.forgets and result.status == "OK":
            # The host has nothing of the session any more: where it was, and that it was lost, is forgotten, too.
            self.ticket.final = True
        self._admission.leave(self.ticket, answered=True, done=True)
        self._ended(result.verdict or (NO_VERDICT if result.status == "OK" else "ERROR"), result=result)

    def _attempt_failed(self, error: CallError) -> float | None:
        """Take the call out of its host. Return the seconds until the next attempt; None if `error` is final."""
        supervisor, host = self._supervisor, self._host
        assert host is not None
        leaving = host_is_leaving(error)
        if leaving or needs_new_host(error):
            supervisor.succession.replace(host, str(error), leaving=leaving)
        if leaving and error.error_code == ErrorCode.PROTOCOL and not supervisor.stopping:
            # It crossed the host's decision to leave and was not begun; with 1008 it may have been.
            error.sent = False
        if not error.sent:
            # The host went between the admission and the call: no attempt was made.
            self._attempts -= 1
            with self._admission.lock:
                host.closing = True
        delay_s = self._delay_after(error)
        self._admission.leave(self.ticket, answered=isinstance(error, CallFailedError), done=delay_s is None)
        if delay_s is None:
            self._fill_in(error)
            return None
        self._earlier.append(error)
        supervisor.journal.count("retries")
        if supervisor.journal.bus.calls_heard:
            supervisor.journal.emit(
                CallRetried,
                phase=self._request.call.phase,
                session_id=self.ticket.session_id,
                cause=error.cause,
                attempt=self._attempts,
            )
        if isinstance(error, HostDiedError):
            self._moved()
        return delay_s

    def _final(self, error: CallError) -> CallError:
        """Return the error that the caller gets. A host that refused a call since its supervisor stops did not fail."""
        if not (self._supervisor.stopping and isinstance(error, CallFailedError) and error.kind == "draining"):
            return error
        stopped = RunnerStoppedError(
            f"the supervisor was stopped: {error}", request_id=error.request_id, logs=error.logs
        )
        stopped.facts = error.facts
        return stopped

    def _delay_after(self, error: CallError) -> float | None:
        if self._supervisor.stopping:
            return None
        if isinstance(error, RunnerStoppedError) or not error.sent:
            # Not the supervisor was stopped but a host of its: the call goes to the next.
            return 0.0
        if isinstance(error, HostDiedError):
            suspect = self._suspect()
            if suspect is not None:
                error.add_note(f"{suspect} ended {suspect.ends} hosts in a row: it was not tried again")
                return None
        elapsed_s = time.monotonic() - self._began
        return self._supervisor.options.retry.delay(error, self._attempts, elapsed_s)

    def _failed_waiting(self, error: CallError) -> CallError:
        """End a call that was turned away, with the error of the attempt before if there was one."""
        if self._earlier and not isinstance(error, RunnerStoppedError):
            first, error = error, self._earlier.pop()
            error.add_note(f"it was not tried again: {first}")
        elif not isinstance(error, CallTimeoutError):
            error.logs = error.logs or tuple(self._supervisor.logs)
        self._fill_in(error)
        return error

    def _fill_in(self, error: CallError) -> None:
        call = self._request.call
        error.facts = CallFacts(
            phase=call.phase,
            step_index=call.step_index,
            pid=call.pid,
            session_id=self.ticket.session_id,
            attempts=self._attempts,
            earlier_causes=tuple(earlier.cause for earlier in self._earlier),
            elapsed_s=round(time.monotonic() - self._began, 3),
            process_id=self._host.process_id if self._host is not None else None,
        )
        self._ended(error.cause, error=error)

    def _ended(self, outcome: str, result: CallResult | None = None, error: CallError | None = None) -> None:
        supervisor = self._supervisor
        elapsed_ms = round((time.monotonic() - self._began) * 1000, 3)
        supervisor.journal.metrics.call_ended(self._request.call.phase, outcome, elapsed_ms)
        call, session_id = self._request.call, self.ticket.session_id
        inspections = supervisor.inspections
        supervisor.journal.metrics.products(
            inspections.product_of(call.phase, call.step_index, session_id, outcome, final=self.ticket.final)
        )
        if inspections.heard:
            inspections.tell(
                supervisor.journal.name, call, session_id, result, error, self._attempts, elapsed_ms,
                self._request.lease, self._shared_lease,
            )  # fmt: skip
        if supervisor.journal.bus.calls_heard:
            supervisor.journal.emit(
                CallEnded,
                phase=self._request.call.phase,
                session_id=self.ticket.session_id,
                outcome=outcome,
                elapsed_ms=elapsed_ms,
                attempts=self._attempts,
            )
