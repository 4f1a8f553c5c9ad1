"""`Runner`: one algorithm in a process of its own, as an object with two methods that matter.

with Runner("pcb-compare") as runner:
    session = runner.session()
    runner.pre_execute(reference, pid="A", session=session)
    result = runner.execute(picture, pid="A", session=session)
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from procvision_runner.connection.client import Client
from procvision_runner.connection.launch import get_ready, host_command
from procvision_runner.errors import RunnerStoppedError
from procvision_runner.field.calls import FieldCalls, FieldRequest
from procvision_runner.field.dialect import FieldDialect
from procvision_runner.field.pictures import field_folder
from procvision_runner.images.slots import Lease, SlotPool
from procvision_runner.options import RunnerOptions
from procvision_runner.process.host_log import HostLog
from procvision_runner.process.host_process import HostProcess
from procvision_runner.requests import (
    ARGUMENTS,
    InspectingPhase,
    InspectionSession,
    Request,
    held_to_the_protocol,
    new_session_id,
    prepare,
    session_ref,
)
from procvision_runner.results import CallResult
from procvision_sdk.images.meta import ColorSpace
from procvision_sdk.keywords import only
from procvision_sdk.masking import masked_command
from procvision_sdk.wire.messages import Call, Result

if TYPE_CHECKING:
    from procvision_runner.requests import Image


class Runner:
    """Launches one host and speaks to it. A context manager; any thread may call.

    `algorithm` is the name of an installed one, NAME or NAME==VERSION. `command` launches any other host instead, the
    field's `python -m procvision_algorithm_sdk.adapter` included.
    `on_log` is given each log record of the host, on a thread of the runner's.
    """

    def __init__(
        self,
        algorithm: str | None = None,
        *,
        command: Sequence[str] | None = None,
        options: RunnerOptions | None = None,
        on_log: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self.options = options if options is not None else RunnerOptions()
        self.command = host_command(algorithm, command, self.options)
        self._foreign = command is not None
        self._on_log = on_log
        self._client: Client | None = None
        self._slots: SlotPool | None = None
        self._info: dict[str, Any] | None = None
        self._owner = os.getpid()
        self._field: FieldCalls | None = None

    # --- life -----------------------------------------------------------------------------------------------

    def start(self) -> Runner:
        """Launches the host and waits until the algorithm is set up. Raises LaunchError."""
        if self._client is not None:
            raise RuntimeError("this Runner was started already: make a new one for a new host")
        environment, field = self.options.environment, None
        if self._foreign:
            field = FieldDialect()
            folder, environment = field_folder(environment)
        slots = SlotPool(self.options.max_slots, self.options.arena_bytes)
        try:
            process = HostProcess(self.command, environment, slots.arena())
            with process.ended_on_error():
                log = HostLog(process.stderr, self.options.log_records, self._on_log)
                self._client = client = Client(process, self.options, log, dialect=field)
        except BaseException:
            slots.close()
            raise
        self._slots = slots
        try:
            self._info = get_ready(client, self.options)
            slots.suit(arena=client.reads_arena)
            if field is not None and field.spoken:
                self._field = FieldCalls(field, folder)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> int | None:
        """Shutdown, then SIGTERM, then SIGKILL for the whole tree; returns the exit status. A second call is free."""
        client, slots = self._client, self._slots
        if client is None or slots is None or os.getpid() != self._owner:
            # A fork of this process has copies of all this, and the host is not the fork's to end.
            return None
        self._slots = None
        try:
            return client.stop()
        finally:
            slots.close()
            if self._field is not None:
                self._field.close()

    def __enter__(self) -> Runner:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __del__(self) -> None:
        if getattr(self, "_slots", None) is not None:
            warnings.warn(f"{self!r} was dropped while it ran: use it in a with block", ResourceWarning, stacklevel=2)
            self.stop()

    def __repr__(self) -> str:
        return f"<Runner {' '.join(masked_command(self.command))}>"

    # --- what there is to know ------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether calls can be made."""
        return self._slots is not None and self._client is not None and self._client.alive

    @property
    def process_id(self) -> int | None:
        """The operating system's id of the process that runs the algorithm, as its hello told it."""
        client = self._client
        return client.hello.process_id if client is not None and client.hello is not None else None

    @property
    def logs(self) -> list[Mapping[str, Any]]:
        """The host's last log records, oldest first."""
        return list(self._client.log.records) if self._client is not None else []

    @property
    def unexpected_answers(self) -> int:
        """How many late, doubled or invented answers are on record."""
        return len(self._client.unexpected) if self._client is not None else 0

    def info(self) -> dict[str, Any]:
        """`manifest`, `info` (the algorithm's own) and `versions`; empty for a host that doesn't tell."""
        return dict(self._info or {})

    def session(self, context: Mapping[str, Any] | None = None, session_id: str | None = None) -> InspectionSession:
        """A new inspection; `context` is what the algorithm may know of the product."""
        return InspectionSession(session_id or new_session_id(), dict(context or {}))

    # --- calls ----------------------------------------------------------------------------------------------

    def lend(self, width: int, height: int, color_space: ColorSpace = "RGB") -> Lease:
        """A slot for a picture that isn't there yet: write into its `array`, then pass it to a call, without a copy.

        Raises SlotsExhaustedError. The lease goes back when its call has ended, or by `release()` if there is none.
        """
        return self._pool().lease((width, height, color_space), self.options.slot_timeout_s)

    def pre_execute(self, image: Image | None = None, *, pid: str, **more: Any) -> CallResult:
        """Prepares a step; takes what `execute` takes."""
        return self._call("pre", image, pid, only(ARGUMENTS, "pre_execute", more))

    def execute(self, image: Image | None = None, *, pid: str, **more: Any) -> CallResult:
        """Inspects a picture and waits for the result.

        `image` is an array (H x W x 3 RGB or H x W, uint8), a `Picture` or a `Lease`. Further arguments:
        `step_index` (1), `session` (an `InspectionSession`, an id, or None for one that ends with this call),
        `user_params`, `final` (ends the session), `camera_id`, `timestamp_ms` (now), `timeout_s`.
        Raises CallError; a result of status ERROR is returned.
        """
        return self._call("execute", image, pid, only(ARGUMENTS, "execute", more))

    def submit(
        self, phase: InspectingPhase, image: Image | None = None, *, pid: str, **more: Any
    ) -> Future[CallResult]:
        """The same without waiting for the answer: a Future of what `execute` returns or raises.

        Returns when the picture is in its slot and the call is written. asyncio users `asyncio.wrap_future` it.
        The Future's callbacks run on the thread that reads the host's answers, so they are short; they may make calls.
        """
        request = self._prepared(phase, image, pid, only(ARGUMENTS, "submit", more))
        kept = self._kept(request)
        if kept is not None:
            known: Future[CallResult] = Future()
            known.set_result(kept)
            return known
        judge = partial(self._judged, request)
        return self._running().submit(request.call, request.timeout_s, _release_of(request), judge)

    def reset(self, session: InspectionSession | str) -> None:
        """Has the algorithm forget a session. Raises CallError."""
        if self._field is not None:
            self._field.forget(session_ref(session, final=False).id)
            return
        call = Call(phase="reset", session=session_ref(session, final=False))
        self._running().call(call, self.options.pre_timeout_s)

    def _call(self, phase: InspectingPhase, image: Image | None, pid: str, more: dict[str, Any]) -> CallResult:
        if self._field is not None:
            return self._field_call(phase, image, pid, more)
        pool, client = self._pool(), self._client
        assert client is not None
        call, size, timeout_s, lease = prepare(pool, self.options, phase, image, pid, **more)
        result, took_s = client.call(call, timeout_s, None if lease is None else lease.release)
        return held_to_the_protocol(result, phase, size, took_s)

    def _field_call(self, phase: InspectingPhase, image: Image | None, pid: str, more: dict[str, Any]) -> CallResult:
        request = self._prepared(phase, image, pid, more)
        kept = self._kept(request)
        if kept is not None:
            return kept
        result, took_s = self._running().call(request.call, request.timeout_s, _release_of(request))
        return self._judged(request, result, took_s)

    def _prepared(
        self, phase: InspectingPhase, image: Image | None, pid: str, more: dict[str, Any]
    ) -> Request | FieldRequest:
        pool = self._pool()
        if self._field is not None:
            return self._field.prepare(pool, self.options, phase, image, pid, **more)
        return prepare(pool, self.options, phase, image, pid, **more)

    def _kept(self, request: Request | FieldRequest) -> CallResult | None:
        """The answer of a call that isn't sent: the field's hosts have no `pre` for a guide picture."""
        if self._field is None or isinstance(request, Request):
            return None
        return self._field.kept_guide(request)

    def _judged(self, request: Request | FieldRequest, result: Result, took_s: float) -> CallResult:
        answer = held_to_the_protocol(result, request.call.phase, request.size, took_s)
        if self._field is None or isinstance(request, Request):
            return answer
        return self._field.check(request, answer)

    def _pool(self) -> SlotPool:
        if self._slots is None:
            raise RunnerStoppedError("this Runner doesn't run: use it in a with block, or call start()")
        if os.getpid() != self._owner:
            raise RunnerStoppedError("this process is a fork of the one that has the host: only that may call")
        return self._slots

    def _running(self) -> Client:
        self._pool()
        assert self._client is not None
        return self._client


def _release_of(request: Request | FieldRequest) -> Callable[[], None] | None:
    return request.lease.release if request.lease is not None else None
