"""One call on its way to an adapter, and what its answer is worth on its way back.

The strategy: an adapter makes a black picture of one that it can't read, an OK of a status that is missing, and
executes what it doesn't know. So nothing is sent that it could not do, and an answer is held to all that a host of ours
would hold its algorithm to; it counts only if the pictures still lie there as they were written.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from procvision_compat.gateway.dialect import FieldConnection
from procvision_compat.gateway.guides import SessionGuides
from procvision_compat.gateway.log import LOGGER
from procvision_compat.gateway.pictures import FieldFolder, FieldPicture
from procvision_compat.package import FieldPackage
from procvision_compat.steps import GUIDE_INFO
from procvision_sdk.answers import check_answer
from procvision_sdk.errors import CallRefusedError, ErrorCode, ManifestError
from procvision_sdk.wire.errors import LocalProtocolError
from procvision_sdk.wire.messages import PHASES, Call, Result, SessionRef

MAX_SESSION_ID_LENGTH = 256
"""The protocol's bound."""

_log = logging.getLogger(LOGGER)


class FieldCall:
    """A call that is ready for the adapter: as the runner sent it, as a frame of the adapter's, and its files."""

    def __init__(
        self, call: Call, own_id: str, frame: bytes, current: FieldPicture | None, guide: FieldPicture | None
    ) -> None:
        self.call = call
        self.own_id = own_id
        """The request id that the adapter knows; a runner's call may have none."""
        self.frame = frame
        self.current = current
        self._guide = guide

    def intact(self) -> bool:
        """Return whether the adapter had what it was to inspect."""
        return all(picture is None or picture.intact() for picture in (self.current, self._guide))

    def release(self) -> None:
        """Remove the current picture; a guide stays with its session."""
        if self.current is not None:
            self.current.release()


class FieldCalls:
    """The calls of one adapter. One at a time, so nothing here needs a lock."""

    def __init__(
        self,
        connection: FieldConnection,
        folder: FieldFolder,
        package: FieldPackage | None,
        versions: Mapping[str, str],
    ) -> None:
        self._connection = connection
        self._folder = folder
        self._guides = SessionGuides()
        self._package = package
        self._versions = versions
        self._passed_on = 0

    def prepared(self, call: Call) -> FieldCall | Result:
        """Return the call with its files written, or the answer to one that the gateway itself answers.

        Raise CallRefusedError: 1000 for an unknown phase, 1001 without a product, 1002 without a picture, 1003 without
        a guide picture, 1006 for the rest.
        """
        if call.phase not in PHASES:
            raise CallRefusedError(
                ErrorCode.PROTOCOL, "unknown_phase", f"phase is {call.phase!r:.60}, known are {', '.join(PHASES)}"
            )
        if call.phase == "info":
            if self._connection.can("info"):
                return self._framed(call, Call(phase="info"))
            # An adapter that doesn't know the phase would inspect something.
            return self._told(call, {})
        if call.phase == "reset":
            # No adapter has this phase, and none keeps a session from one call to the next.
            self._guides.drop(_session(call).id)
            return self._answer(call, {})
        return self._inspecting(call)

    def _inspecting(self, call: Call) -> FieldCall | Result:
        if call.pid is None:
            raise CallRefusedError(
                ErrorCode.INVALID_PID, "invalid_pid", "pid is missing: a call names the product it is about"
            )
        session, step_index = _session(call), call.step_index
        if step_index is None or step_index < 1:
            # The adapter would make 1 of it.
            raise _refused("step_index", f"step_index is {step_index}: steps count from 1")
        if call.timeout_ms is not None and call.timeout_ms <= 0:
            raise _refused("timeout_ms", f"timeout_ms is {call.timeout_ms}: it is above 0, or left out")
        guide = None
        user_params = call.user_params or {}
        if self._connection.guided and call.phase == "execute":
            guide = self._guides.of(session.id, step_index)
            if guide is None:
                raise CallRefusedError(
                    ErrorCode.ASSET_NOT_FOUND,
                    "no_guide",
                    f"session {session.id!r} has no guide picture; hint: pre_execute it in the same session first",
                )
            user_params = _arguments(user_params, guide)
        current = self._picture(call)
        if self._connection.guided and call.phase == "pre":
            # These adapters have no such call: the picture goes along with `execute`.
            self._guides.keep(session.id, step_index, current)
            return self._answer(call, {"debug": {}}, "guide picture kept")
        passed_on = Call(
            phase=call.phase,
            step_index=step_index,
            pid=call.pid,
            session=session,
            user_params=user_params or None,
            shared_mem_id=current.shared_mem_id,
            image_meta=current.meta,
        )
        return self._framed(call, passed_on, current, guide)

    def _framed(
        self, call: Call, passed_on: Call, current: FieldPicture | None = None, guide: FieldPicture | None = None
    ) -> FieldCall:
        self._passed_on += 1
        passed_on.request_id = own_id = f"call-{self._passed_on}"
        try:
            return FieldCall(call, own_id, self._connection.call(passed_on), current, guide)
        except LocalProtocolError as error:
            if current is not None:
                current.release()
            raise _refused("bad_parameter", str(error)) from None

    def _picture(self, call: Call) -> FieldPicture:
        if call.shared_mem_id is None and call.image_meta is None:
            raise CallRefusedError(
                ErrorCode.IMAGE_LOAD_FAILED,
                "no_picture",
                "a call without a picture isn't passed on: the field's adapter would make a black one of it",
            )
        if call.shared_mem_id is None:
            raise CallRefusedError(
                ErrorCode.IMAGE_LOAD_FAILED, "bad_image_id", "image_meta describes a picture, shared_mem_id is missing"
            )
        if call.image_meta is None:
            raise _refused("image_meta", "shared_mem_id names a picture, image_meta is missing")
        return self._folder.take(call.shared_mem_id, call.image_meta)

    # --- what comes back ------------------------------------------------------------------------------------

    def judged(self, field_call: FieldCall, result: Result, took_ms: float) -> Result:
        """Return the adapter's answer as a host of ours gives it.

        Raise CallRefusedError: 1002 if its pictures were gone or changed, 1006 for the form, 1007 for coordinates.
        """
        call = field_call.call
        if result.phase not in ("", call.phase):
            raise _refused("bad_result", f"the adapter answers {result.phase!r:.60} to {call.phase!r}")
        if call.phase == "info":
            info = result.data.get("info")
            if result.status != "OK" or not isinstance(info, dict):
                raise _refused("bad_result", "the adapter's answer to info has no object `info`")
            return self._told(call, info)
        if not field_call.intact():
            raise CallRefusedError(
                ErrorCode.IMAGE_LOAD_FAILED,
                "picture_lost",
                "the picture's file was gone or changed when the answer came: the field's adapter makes a black "
                f"picture of that, and its answer ({result.data.get('result_status', result.status)!r:.20}) is worth "
                "nothing",
            )
        size = field_call.current.size if field_call.current is not None else None
        answer = check_answer(call.phase, result.status, result.message, result.error_code, result.data, size)
        if answer.truncated is not None:
            _log.warning("%d defect_rects came, the best-scored 20 are kept", answer.truncated)
        debug = answer.data.setdefault("debug", {})
        if isinstance(debug, dict):
            debug["latency_ms"] = took_ms
        return Result(
            request_id=call.request_id,
            phase=call.phase,
            step_index=call.step_index,
            status=answer.status,
            message=answer.message,
            error_code=answer.error_code,
            data=answer.data,
        )

    def ended(self, session: SessionRef | None) -> None:
        """Forget a session whose final call was answered by a result."""
        if session is not None and session.final:
            self._guides.drop(session.id)

    def _told(self, call: Call, info: dict[str, Any]) -> Result:
        """Return what is known of the algorithm: its own `info`, its package's manifest, and the versions."""
        data: dict[str, Any] = {"info": info, "versions": self._versions}
        if self._package is not None:
            try:
                manifest = self._package.manifest(guided=self._connection.guided, info=info)
            except ManifestError as error:
                _log.warning("the package's manifest isn't told: %s", error)
            else:
                data["manifest"] = msgspec.to_builtins(manifest)
        return self._answer(call, data)

    def _answer(self, call: Call, data: dict[str, Any], message: str = "") -> Result:
        return Result(
            request_id=call.request_id,
            phase=call.phase,
            step_index=call.step_index,
            status="OK",
            message=message,
            data=data,
        )


def _session(call: Call) -> SessionRef:
    if call.session is None:
        raise _refused("session", "session is missing: a call names the inspection it belongs to by session.id")
    if not 0 < len(call.session.id) <= MAX_SESSION_ID_LENGTH:
        raise _refused(
            "session", f"session.id has {len(call.session.id)} characters, allowed are 1..{MAX_SESSION_ID_LENGTH}"
        )
    return call.session


def _arguments(user_params: dict[str, Any], guide: FieldPicture) -> dict[str, Any]:
    """Return the arguments of 0.3.x beside the current picture. `guide_info` may be JSON text, as a host takes it."""
    guide_info = user_params.get(GUIDE_INFO, [])
    if isinstance(guide_info, str):
        try:
            guide_info = msgspec.json.decode(guide_info)
        except (ValueError, RecursionError) as error:
            raise _refused("bad_parameter", f"{GUIDE_INFO} is not JSON: {error}") from None
    if not isinstance(guide_info, list):
        raise _refused("bad_parameter", f"{GUIDE_INFO} holds {type(guide_info).__name__}: it is a list")
    return {
        **user_params,
        GUIDE_INFO: guide_info,
        "guide_image_shm_id": guide.shared_mem_id,
        "guide_image_meta": guide.meta,
    }


def _refused(kind: str, text: str) -> CallRefusedError:
    return CallRefusedError(ErrorCode.INVALID_PARAMS, kind, text)
