"""Executes one call at a time: checks it, lets the algorithm work, checks what comes back.

Whatever the algorithm does, `run` returns one answer: a `Result` that was checked, or an `Error` that says why
there is none. Only the thread that set the algorithm up calls it.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from time import perf_counter
from typing import Any, NamedTuple

from procvision_host.calls import CallChecker, CheckedCall
from procvision_host.images import Images
from procvision_host.logs import HOST_LOGGER, LogContext
from procvision_host.sessions import Sessions
from procvision_sdk.algorithm import BaseAlgorithm
from procvision_sdk.errors import AlgorithmError, CallRefusedError, ErrorCode, FatalError
from procvision_sdk.manifest.model import Manifest
from procvision_sdk.plain import PlainValueError, plain
from procvision_sdk.results import Answer, check_returned
from procvision_sdk.session import Session
from procvision_sdk.wire.codec import error_message
from procvision_sdk.wire.messages import AnyMessage, Call, Error, Result

_log = logging.getLogger(HOST_LOGGER)


class Executed(NamedTuple):
    """A call's one answer; `replace` asks for a new process."""

    answer: Result | Error
    replace: bool = False


class Worker:
    """One algorithm, set up, with what its calls need."""

    def __init__(
        self,
        algorithm: BaseAlgorithm,
        manifest: Manifest,
        images: Images,
        sessions: Sessions,
        checker: CallChecker,
        context: LogContext,
        versions: Mapping[str, str],
    ) -> None:
        self._algorithm = algorithm
        self._manifest = manifest
        self._images = images
        self._sessions = sessions
        self._checker = checker
        self._context = context
        self._versions = versions
        # Kept here: an algorithm may overwrite its own attributes.
        self._diagnostics = algorithm.diagnostics
        self._cancellation = algorithm.cancellation

    def run(self, call: Call) -> Executed:
        """The call's answer. Never raises."""
        self._context.fields = fields = {"request_id": call.request_id, "step_index": call.step_index}
        if call.session is not None:
            fields["session_id"] = call.session.id
            trace_id = call.session.context.get("trace_id")
            if trace_id is not None:
                fields["trace_id"] = trace_id
        try:
            inspects = call.phase == "execute" or call.phase == "pre"  # noqa: PLR1714 - no tuple on the hot path
            return Executed(self._inspect(call) if inspects else self._other(call))
        except CallRefusedError as refusal:
            return Executed(self._refusal(call, refusal))
        except BaseException as error:  # noqa: BLE001 - SystemExit and KeyboardInterrupt included: the protocol says so
            return Executed(self._raised(call, error), isinstance(error, FatalError))
        finally:
            self._images.release()
            self._diagnostics.take()
            self._context.fields = {}

    def answered(self, call: Call, answer: AnyMessage, _elapsed_ms: float) -> None:
        """Ends a session whose final call was answered with a result.

        Only now: had the host died before the answer was out, the call would be made again, and needs the state.
        """
        session = call.session
        if session is not None and session.final and type(answer) is Result and call.phase != "info":
            self._sessions.end(session.id)

    # --- the phases -----------------------------------------------------------------------------------------

    def _inspect(self, call: Call) -> Result | Error:
        checked = self._checker.check(call)
        image = None
        if checked.meta is not None:
            assert call.shared_mem_id is not None
            assert call.image_meta is not None
            image = self._images.open(call.shared_mem_id, call.image_meta, checked.meta)
        session = self._session(checked)
        answer = self._execute(call, checked, session)
        if image is not None:
            image.still_valid()
        if self._images.failed_read is not None and answer.status == "OK":
            raise self._images.failed_read
        if self._cancellation.requested:
            # The session stays as it was: what a cancelled call did is not part of the inspection.
            return cancelled_answer(call)
        if not checked.session.final:
            self._save(session)
        return Result(
            request_id=call.request_id,
            phase=call.phase,
            step_index=call.step_index,
            status=answer.status,
            message=answer.message,
            error_code=answer.error_code,
            data=answer.data,
        )

    def _execute(self, call: Call, checked: CheckedCall, session: Session) -> Answer:
        algorithm = self._algorithm
        method = algorithm.execute if call.phase == "execute" else algorithm.pre_execute
        began = perf_counter()
        algorithm.on_step_start(checked.step_index, session, session.context)
        returned = method(
            checked.step_index,
            checked.pid,
            session,
            checked.user_params,
            call.shared_mem_id or "",
            call.image_meta or {},
        )
        meta = checked.meta
        answer = check_returned(returned, call.phase, None if meta is None else (meta.width, meta.height))
        if answer.truncated is not None:
            _log.warning("%d defect_rects were returned, the best-scored 20 are kept", answer.truncated)
        self._add_debug(answer, began)
        algorithm.on_step_finish(
            checked.step_index, session, {"status": answer.status, "message": answer.message, "data": answer.data}
        )
        return answer

    def _add_debug(self, answer: Answer, began: float) -> None:
        debug = answer.data.get("debug")
        published = self._diagnostics.take()
        if debug is None or not isinstance(debug, dict):
            answer.data["debug"] = debug = published
        elif published:
            debug |= published
        debug["latency_ms"] = round((perf_counter() - began) * 1000, 3)

    def _other(self, call: Call) -> Result:
        self._checker.check_phase(call)
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
        reference = self._checker.check_session(call)
        try:
            state = self._sessions.load(reference.id)
        except CallRefusedError as refusal:
            # Asked for by name: a reset is how a session that can't be read is got rid of.
            _log.warning("the session to reset is taken for empty: %s", refusal)
            state = None
        session = Session(reference.id, reference.context, state)
        self._algorithm.reset(session)
        self._sessions.delete(reference.id)
        return {}

    # --- sessions -------------------------------------------------------------------------------------------

    def _session(self, checked: CheckedCall) -> Session:
        reference = checked.session
        return Session(reference.id, reference.context, self._sessions.load(reference.id))

    def _save(self, session: Session) -> None:
        try:
            changed = session.changed_state()
        except PlainValueError as error:
            raise CallRefusedError(
                ErrorCode.INVALID_PARAMS, "bad_session", f"the session can't be kept: {error}"
            ) from None
        if changed is not None:
            self._sessions.save(session.id, changed)

    # --- answers that are no result -------------------------------------------------------------------------

    @staticmethod
    def _refusal(call: Call, refusal: CallRefusedError) -> Error:
        _log.warning("call refused (%s, %s): %s", refusal.code, refusal.kind, refusal)
        return error_message(
            refusal.code, refusal.kind, str(refusal), request_id=call.request_id, retryable=refusal.retryable
        )

    @staticmethod
    def _raised(call: Call, error: BaseException) -> Error:
        """The answer to an exception, which may be of any kind and may itself fail to be shown."""
        name = type(error).__name__
        try:
            _log.error("%s raised %s", call.phase, name, exc_info=error)
            text = str(error).encode("utf-8", "replace").decode()
        except Exception:  # noqa: BLE001 - an exception whose __str__ raises
            text = ""
        known = isinstance(error, AlgorithmError)
        code = error.code if isinstance(error, AlgorithmError) else ErrorCode.UNKNOWN
        kinds = {"RecoverableError": "recoverable", "GPUOutOfMemoryError": "gpu_out_of_memory", "FatalError": "fatal"}
        kind = next((kinds[base.__name__] for base in type(error).__mro__ if base.__name__ in kinds), "program")
        detail: dict[str, Any] = {"exception": name}
        frames = traceback.extract_tb(error.__traceback__)
        if frames:
            detail["where"] = f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}"
        if isinstance(error, AlgorithmError) and error.detail is not None:
            try:
                detail["detail"] = plain(error.detail, "detail")
            except PlainValueError:
                detail["detail"] = repr(error.detail)[:1000]
        return error_message(
            str(code),
            kind,
            text or name if known else f"{name}: {text}",
            request_id=call.request_id,
            retryable=isinstance(error, AlgorithmError) and error.retryable,
            detail=detail,
        )


def cancelled_answer(call: Call) -> Error:
    """The answer of a call that was cancelled, while it waited or while it ran."""
    return error_message(ErrorCode.CANCELLED, "cancelled", "the call was cancelled", request_id=call.request_id)
