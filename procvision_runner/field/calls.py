"""Calls to the field's adapters: pictures as files, guides by session, and what an answer of theirs is worth."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from procvision_runner.errors import CallFailedError
from procvision_runner.field.dialect import FieldDialect
from procvision_runner.field.guides import SessionGuides
from procvision_runner.field.pictures import FieldFolder, FieldPicture
from procvision_runner.images.slots import SlotPool
from procvision_runner.options import RunnerOptions
from procvision_runner.requests import prepare
from procvision_runner.results import CallResult
from procvision_sdk.calling import InspectingPhase, InspectionSession
from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.images.picture import image_meta
from procvision_sdk.wire.messages import Call

if TYPE_CHECKING:
    from procvision_sdk.calling import CallImage

GUIDE_INFO = "guide_info"


class FieldLease:
    """The files of one call."""

    def __init__(self, current: FieldPicture, guide: FieldPicture | None, ends: Callable[[], None] | None) -> None:
        self.current = current
        self._guide = guide
        self._ends = ends
        # A caller may look before, while or after its files are released by whoever read the answer.
        self._lock = threading.Lock()
        self._was_intact: bool | None = None

    def intact(self) -> bool:
        """Whether the host had what it was to inspect: now, or when the files were released."""
        with self._lock:
            if self._was_intact is None:
                return self._lie_there()
            return self._was_intact

    def release(self) -> None:
        """Removes the current picture; a second call does nothing."""
        with self._lock:
            if self._was_intact is not None:
                return
            self._was_intact = self._lie_there()
            self.current.release()
        if self._ends is not None:
            self._ends()

    def _lie_there(self) -> bool:
        return self.current.intact() and (self._guide is None or self._guide.intact())


class FieldRequest(NamedTuple):
    """A call that is ready to be sent, as `Request`, with its files."""

    call: Call
    size: tuple[int, int]
    timeout_s: float
    lease: FieldLease


class FieldCalls:
    """One host's."""

    def __init__(self, dialect: FieldDialect, folder: FieldFolder) -> None:
        self._guided = dialect.guided
        self._folder = folder
        folder.open()
        self._guides = SessionGuides()

    def prepare(
        self,
        slots: SlotPool,
        options: RunnerOptions,
        phase: InspectingPhase,
        image: CallImage | None,
        pid: str,
        step_index: int,
        named: InspectionSession | str | None,
        user_params: Mapping[str, Any] | None,
        final: bool,
        camera_id: str | None,
        timestamp_ms: int | None,
        timeout_s: float | None,
    ) -> FieldRequest:
        """The call with its files written. Raises CallFailedError: 1002 without a picture, 1003 without a guide."""
        request = prepare(
            slots, options, phase, None, pid, step_index, named, user_params, final, None, None, timeout_s
        )
        call, session = request.call, request.call.session
        assert session is not None
        guide = None
        if self._guided and phase == "execute":
            guide = self._guides.of(session.id, step_index)
            if guide is None:
                raise _refused(
                    ErrorCode.ASSET_NOT_FOUND,
                    "no_guide",
                    f"session {session.id!r} has no guide picture; hint: pre_execute it in the same session first",
                )
            call.user_params = _arguments(call.user_params or {}, guide)
        current = self._written(image)
        call.shared_mem_id = current.shared_mem_id
        call.image_meta = image_meta(current.picture, camera_id, timestamp_ms)
        ends = (lambda: self._guides.drop(session.id)) if guide is not None and session.final else None
        size = (current.picture.width, current.picture.height)
        return FieldRequest(call, size, request.timeout_s, FieldLease(current, guide, ends))

    def kept_guide(self, request: FieldRequest) -> CallResult | None:
        """What `pre` of a guided host comes to: there is no such call, its picture is kept. None for any other."""
        call = request.call
        if not self._guided or call.phase != "pre":
            return None
        assert call.session is not None
        assert call.step_index is not None
        self._guides.keep(call.session.id, call.step_index, request.lease.current)
        return CallResult(
            phase="pre",
            step_index=call.step_index,
            status="OK",
            message="guide picture kept",
            error_code=None,
            data={},
            request_id=None,
            elapsed_ms=0.0,
        )

    @staticmethod
    def check(request: FieldRequest, answer: CallResult) -> CallResult:
        """The answer, if the host can have seen the pictures. Raises CallFailedError (1002)."""
        if not request.lease.intact():
            raise _refused(
                ErrorCode.IMAGE_LOAD_FAILED,
                "picture_lost",
                "the picture's file was gone or changed when the answer came: this host makes a black picture of that, "
                f"its answer ({answer.data.get('result_status', answer.status)}) is worth nothing",
            )
        return answer

    def forget(self, session_id: str) -> None:
        """What `reset` comes to: these hosts have no such phase, and keep no session between two calls."""
        self._guides.drop(session_id)

    def close(self) -> None:
        """Removes the files; to be called when the host reads them no more."""
        self._folder.close()

    def _written(self, image: CallImage | None) -> FieldPicture:
        if image is None:
            raise _refused(
                ErrorCode.IMAGE_LOAD_FAILED,
                "no_picture",
                "a call without a picture isn't sent: this host would make a black one of it",
            )
        try:
            return self._folder.write(image)
        except CallRefusedError as error:
            raise _refused(error.error_code, error.kind, str(error)) from None


def _arguments(user_params: dict[str, Any], guide: FieldPicture) -> dict[str, Any]:
    """The arguments of 0.3.x beside the current picture. `guide_info` may be given as JSON text, as a host takes it."""
    guide_info = user_params.get(GUIDE_INFO, [])
    if isinstance(guide_info, str):
        try:
            guide_info = msgspec.json.decode(guide_info)
        except ValueError as error:
            raise _refused(ErrorCode.INVALID_PARAMS, "bad_parameter", f"{GUIDE_INFO} is not JSON: {error}") from None
    return {
        **user_params,
        GUIDE_INFO: guide_info,
        "guide_image_shm_id": guide.shared_mem_id,
        "guide_image_meta": image_meta(guide.picture, None, None),
    }


def _refused(code: str, kind: str, text: str) -> CallFailedError:
    return CallFailedError(text, error_code=code, kind=kind, retryable=False)
