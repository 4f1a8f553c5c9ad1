"""Executes one call at a time: checks it, lets the algorithm work, checks what comes back.

Whatever the algorithm does, `run` returns one answer: a `Result` that was checked, or an `Error` that says why
there is none. Only the thread that set the algorithm up calls it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from procvision_host.algorithm.call_checker import CallChecker, CheckedCall
from procvision_host.algorithm.exceptions import error_of, explained
from procvision_host.algorithm.images import Images
from procvision_host.algorithm.sessions import Sessions
from procvision_host.logs import HOST_LOGGER, LogContext
from procvision_sdk.algorithm import SESSION_OF_THE_CALL, BaseAlgorithm
from procvision_sdk.answers import check_returned, is_bare_ok
from procvision_sdk.errors import CallRefusedError, ErrorCode, FatalError
from procvision_sdk.manifest.model import Manifest
from procvision_sdk.plain import PlainValueError, plain
from procvision_sdk.session import Session
from procvision_sdk.wire.codec import error_message
from procvision_sdk.wire.messages import AnyMessage, Call, Error, Result

if TYPE_CHECKING:
    from procvision_host.sandbox.refusals import Refusals
    from procvision_sdk.images.backend import OpenedImage

_NO_START, _NO_FINISH = BaseAlgorithm.on_step_start, BaseAlgorithm.on_step_finish
_log = logging.getLogger(HOST_LOGGER)


class Worker:
    """One algorithm, set up, with what its calls need."""

    __slots__ = (
        "_algorithm",
        "_cancellation",
        "_context",
        "_diagnostics",
        "_manifest",
        "_must_read",
        "_refusals",
        "_sessions",
        "_versions",
        "checker",
        "images",
        "wants_replacing",
    )

    def __init__(
        self,
        algorithm: BaseAlgorithm,
        manifest: Manifest,
        images: Images,
        sessions: Sessions,
        checker: CallChecker,
        context: LogContext,
        versions: Mapping[str, str],
        refusals: Refusals | None = None,
    ) -> None:
        self._algorithm = algorithm
        self._manifest = manifest
        self.images = images
        self._sessions = sessions
        self.checker = checker
        self._context = context
        self._versions = versions
        self._refusals = refusals
        self._must_read = manifest.reads_picture
        # Kept here: an algorithm may overwrite its own attributes.
        self._diagnostics = algorithm.diagnostics
        self._cancellation = algorithm.cancellation
        self.wants_replacing = False
        """Whether the last call that raised asked for a new process."""

    def run(
        self, call: Call, checked: CheckedCall | None = None, user_params: dict[str, Any] | None = None
    ) -> Result | Error:
        """Execute a call and return its one answer. Never raises.

        `checked` is what a check of the call gave, if it was checked before; `user_params` are then its completed ones.
        """
        self._context.call = call
        phase, algorithm, images = call.phase, self._algorithm, self.images
        image = None
        try:
            if phase != "execute" and phase != "pre":  # noqa: PLR1714 - on the way of every call
                return self._other(call)
            if call.session is not None:
                self._sessions.expect(call.session.id)
            if checked is None or user_params is None:
                checked = self.checker.check(call)
                user_params = checked.user_params
            step_index, reference = checked.step_index, checked.session
            image_id, image_meta = call.shared_mem_id, call.image_meta
            if checked.meta is not None:
                assert image_id is not None
                assert image_meta is not None
                image = images.open(image_id, image_meta, checked.meta)
            session = Session(reference.id, reference.context, self._sessions.load(reference.id))
            attributes = algorithm.__dict__
            attributes[SESSION_OF_THE_CALL] = session
            method = algorithm.execute if phase == "execute" else algorithm.pre_execute
            began = perf_counter()
            if type(algorithm).on_step_start is not _NO_START or "on_step_start" in attributes:
                algorithm.on_step_start(step_index, session, session.context)
            returned = method(step_index, checked.pid, session, user_params, image_id or "", image_meta or {})
            return self.judge(call, checked, session, image, returned, began)
        except BaseException as error:  # noqa: BLE001 - SystemExit and KeyboardInterrupt included: the protocol says so
            return self.raised(call, error)
        finally:
            self.leave(image)

    def judge(
        self,
        call: Call,
        checked: CheckedCall,
        session: Session,
        image: OpenedImage | None,
        returned: Any,
        began: float,
    ) -> Result | Error:
        """Return the answer that an algorithm's return value is, once all is held against it. May raise anything."""
        phase, algorithm, images, reference = call.phase, self._algorithm, self.images, checked.session
        status: Literal["OK", "ERROR"] = "OK"
        message, error_code = "", None  # as an OK has them
        data: dict[str, Any]
        if phase == "execute" and is_bare_ok(returned):
            # What most calls return.
            data = {"result_status": "OK"}
        else:
            answer = check_returned(returned, phase, checked.size)
            status, message, error_code, data = answer.status, answer.message, answer.error_code, answer.data
            if answer.truncated is not None:
                _log.warning("%d defect_rects were returned, the best-scored 20 are kept", answer.truncated)
        debug = data.get("debug")
        if type(debug) is dict:
            debug |= self._diagnostics.take()
        else:
            data["debug"] = debug = self._diagnostics.take()
        debug["latency_ms"] = int((perf_counter() - began) * 1e6) / 1e3
        if type(algorithm).on_step_finish is not _NO_FINISH or "on_step_finish" in algorithm.__dict__:
            # A copy: what was checked goes out, whatever the algorithm does to what it is shown.
            algorithm.on_step_finish(
                checked.step_index, session, {"status": status, "message": message, "data": plain(data, "data")}
            )
        if image is not None:
            image.still_valid()
        if status == "OK":
            if images.failed_read is not None:
                raise images.failed_read
            unseen = image is not None and not images.was_read
            if unseen and self._must_read and data.get("result_status") == "OK":
                raise _not_read()
        if self._cancellation.requested:
            # The session stays as it was: what a cancelled call did is not part of the inspection.
            return cancelled_answer(call)
        if session._loaded is not None and not reference.final:
            self.save(reference.id, session)
        return Result(
            request_id=call.request_id,
            phase=phase,
            step_index=checked.step_index,
            status=status,
            message=message,
            error_code=error_code,
            data=data,
        )

    def raised(self, call: Call, error: BaseException) -> Error:
        """Return the answer of a call in which this was raised. Never raises."""
        # By its type: `isinstance` would ask the exception itself, which may raise.
        kind = type(error)
        if issubclass(kind, CallRefusedError):
            assert isinstance(error, CallRefusedError)
            return self._refusal(call, error)
        self.wants_replacing = issubclass(kind, FatalError)
        needed = explained(self._refusals, error)
        with suppress(Exception):
            told = f": {self._manifest.name} {needed}" if needed else ""
            _log.error("%s raised %s%s", call.phase, kind.__name__, told, exc_info=error)
        return error_of(call.request_id, error, self._manifest.name, needed)

    def leave(self, image: OpenedImage | None) -> None:
        """Leave nothing of a call behind."""
        images = self.images
        if image is not None or images.failed_read is not None:
            images.release()
        if self._diagnostics._values:
            self._diagnostics.take()
        self._context.call = None
        self._algorithm.__dict__.pop(SESSION_OF_THE_CALL, None)

    def answered(self, call: Call, answer: AnyMessage, _elapsed_ms: float) -> None:
        """End a session whose final call was answered with a result.

        Only now: had the host died before the answer was out, the call would be made again, and needs the state.
        """
        session = call.session
        if session is not None and session.final and type(answer) is Result and call.phase != "info":
            self._sessions.end(session.id)

    # --- the other phases -----------------------------------------------------------------------------------

    def _other(self, call: Call) -> Result:
        self.checker.check_phase(call)
        data = self._info() if call.phase == "info" else self._reset(call)
        return Result(request_id=call.request_id, phase=call.phase, step_index=call.step_index, status="OK", data=data)

    def _info(self) -> dict[str, Any]:
        import msgspec

        told = self._algorithm.get_info()
        try:
            return {
                "manifest": msgspec.to_builtins(self._manifest),
                "info": plain(told, "get_info()"),
                "versions": dict(self._versions),
            }
        except PlainValueError as error:
            raise CallRefusedError(ErrorCode.INVALID_PARAMS, "bad_result", f"get_info() returned {error}") from None

    def _reset(self, call: Call) -> dict[str, Any]:
        reference = self.checker.check_session(call)
        try:
            state = self._sessions.load(reference.id)
        except CallRefusedError as refusal:
            # Asked for by name: a reset is how a session that can't be read is got rid of.
            _log.warning("the session to reset is taken for empty: %s", refusal)
            state = None
        session = Session(reference.id, reference.context, state)
        vars(self._algorithm)[SESSION_OF_THE_CALL] = session
        self._algorithm.reset(session)
        self._sessions.delete(reference.id)
        return {}

    # --- sessions -------------------------------------------------------------------------------------------

    def save(self, session_id: str, session: Session) -> None:
        """Keep a session's state if it was changed. Raises CallRefusedError."""
        try:
            changed = session.changed_state()
        except PlainValueError as error:
            raise CallRefusedError(
                ErrorCode.INVALID_PARAMS, "bad_session", f"the session can't be kept: {error}"
            ) from None
        if changed is not None:
            self._sessions.save(session_id, changed)

    # --- answers that are no result -------------------------------------------------------------------------

    @staticmethod
    def _refusal(call: Call, refusal: CallRefusedError) -> Error:
        _log.warning("call refused (%s, %s): %s", refusal.error_code, refusal.kind, refusal)
        return error_message(
            refusal.error_code, refusal.kind, str(refusal), request_id=call.request_id, retryable=refusal.retryable
        )


def _not_read() -> CallRefusedError:
    """Return the refusal of an OK for a picture that the algorithm never had."""
    return CallRefusedError(
        ErrorCode.INVALID_PARAMS,
        "picture_not_read",
        "execute passed a picture that it never read; hint: call read_image_from_shared_memory(shared_mem_id, "
        'image_meta), or declare "reads_picture": false in manifest.json if the verdict needs no picture',
    )


def cancelled_answer(call: Call) -> Error:
    """Return the answer of a call that was cancelled, while it waited or while it ran."""
    return error_message(ErrorCode.CANCELLED, "cancelled", "the call was cancelled", request_id=call.request_id)
