"""Checks a call before the algorithm sees it. Pure: no I/O, no state but the manifest's."""

from __future__ import annotations

from typing import Any

import msgspec

from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.images.meta import MAX_PIXELS, ImageMeta, check_meta
from procvision_sdk.manifest.model import ANY_PID, Manifest
from procvision_sdk.manifest.parameters import ParameterSchema
from procvision_sdk.wire.messages import PHASES, Call, SessionRef

MAX_SESSION_ID_LENGTH = 256


class CheckedCall(msgspec.Struct, frozen=True, gc=False):
    """A call of phase pre or execute whose every field holds."""

    step_index: int
    pid: str
    session: SessionRef
    user_params: dict[str, Any]
    meta: ImageMeta | None
    size: tuple[int, int] | None
    """The picture's width and height."""


class CallChecker:
    """Checks calls against one algorithm's manifest."""

    def __init__(self, manifest: Manifest, max_pixels: int = MAX_PIXELS) -> None:
        self._pids = frozenset(manifest.supported_pids)
        self._any_pid = ANY_PID in self._pids
        self._schemas = {step.index: ParameterSchema(step.index, step.params) for step in manifest.steps}
        self._max_pixels = max_pixels

    def check(self, call: Call) -> CheckedCall:
        """Check a call of phase pre or execute, and complete its parameters.

        Raises CallRefusedError naming the field, the bound and the value: 1001 pid, 1002 picture, 1006 the rest.
        """
        step_index, pid = call.step_index, call.pid
        if pid is None or (not self._any_pid and pid not in self._pids):
            raise CallRefusedError(ErrorCode.INVALID_PID, "invalid_pid", self._pid_problem(pid))
        session = call.session
        if session is None or not 0 < len(session.id) <= MAX_SESSION_ID_LENGTH:
            session = self.check_session(call)
        schema = self._schemas.get(step_index) if step_index is not None else None
        if schema is None or step_index is None:
            known = ", ".join(str(index) for index in self._schemas)
            raise _refused("step_index", f"step_index is {step_index}, the manifest has the steps {known}")
        if call.timeout_ms is not None and call.timeout_ms <= 0:
            raise _refused("timeout_ms", f"timeout_ms is {call.timeout_ms}: it is above 0, or left out")
        meta = size = None
        if call.shared_mem_id is not None or call.image_meta is not None:
            meta = self._check_picture(call)
            size = (meta.width, meta.height)
        return CheckedCall(step_index, pid, session, schema.completed(call.user_params, size), meta, size)

    @staticmethod
    def check_session(call: Call) -> SessionRef:
        """Return the call's session. Raises CallRefusedError (1006)."""
        session = call.session
        if session is None:
            raise _refused("session", "session is missing: a call names the inspection it belongs to by session.id")
        if not 0 < len(session.id) <= MAX_SESSION_ID_LENGTH:
            raise _refused(
                "session", f"session.id has {len(session.id)} characters, allowed are 1..{MAX_SESSION_ID_LENGTH}"
            )
        return session

    @staticmethod
    def check_phase(call: Call) -> None:
        """Check the phase. Raises CallRefusedError (1000) for a phase that isn't one."""
        if call.phase not in PHASES:
            raise CallRefusedError(
                ErrorCode.PROTOCOL, "unknown_phase", f"phase is {call.phase!r:.60}, known are {', '.join(PHASES)}"
            )

    def _check_picture(self, call: Call) -> ImageMeta:
        if call.shared_mem_id is None:
            raise CallRefusedError(
                ErrorCode.IMAGE_LOAD_FAILED, "bad_image_id", "image_meta describes a picture, shared_mem_id is missing"
            )
        if call.image_meta is None:
            raise _refused("image_meta", "shared_mem_id names a picture, image_meta is missing")
        return check_meta(call.image_meta, self._max_pixels)

    def _pid_problem(self, pid: str | None) -> str:
        if pid is None:
            return "pid is missing: a call names the product it is about"
        known = ", ".join(sorted(self._pids))
        return f"pid {pid[:80]!r} is not supported, the manifest declares {known[:400]}"


def _refused(kind: str, text: str) -> CallRefusedError:
    return CallRefusedError(ErrorCode.INVALID_PARAMS, kind, text)
