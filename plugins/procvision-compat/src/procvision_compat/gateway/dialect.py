"""The frames of the field's adapters, as our messages and back. No file, no thread, no clock.

They are framed like ours. A hello tells the version of their SDK; a call's fields stand in its `data`; a result names
its phase, if at all, in `data` as well; a pong has no state and an error no `data`. What they send goes through our
codec in the end, so that all its checks hold for them too.
"""

from __future__ import annotations

from typing import Any

import msgspec

from procvision_sdk.results import completed_rects
from procvision_sdk.wire.codec import Codec
from procvision_sdk.wire.errors import RemoteProtocolError
from procvision_sdk.wire.frames import DEFAULT_MAX_FRAME_BYTES, FrameSplitter, frame
from procvision_sdk.wire.greeting import PROTOCOL_VERSION
from procvision_sdk.wire.messages import AnyMessage, Call, HostHello
from procvision_sdk.wire.tables import Role

STEPWISE_VERSIONS = "0.0."
GUIDED_VERSIONS = "0.3."
PICTURES = "shared_memory:v1"
"""The capability of an adapter that reads its pictures from files."""


class FieldConnection:
    """The runner's end of a connection to one adapter: bytes in, messages out; messages in, bytes out."""

    def __init__(self, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        self.hello: HostHello | None = None
        """The adapter's, once it has come and was understood."""
        self._codec = Codec(Role.RUNNER)
        self._splitter = FrameSplitter(max_frame_bytes)

    @property
    def guided(self) -> bool:
        """Whether the adapter is of the 0.3.x kind, whose calls carry two pictures."""
        return self.hello is not None and self.hello.sdk_version.startswith(GUIDED_VERSIONS)

    def can(self, capability: str) -> bool:
        """Whether the adapter's hello names this capability."""
        return self.hello is not None and capability in self.hello.capabilities

    # --- what comes in --------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[AnyMessage | RemoteProtocolError]:
        """Return what these bytes complete: messages, and frames that are none. Never raise.

        After an error that is `fatal` nothing that the adapter sends can be told apart any more.
        """
        found: list[AnyMessage | RemoteProtocolError] = []
        for payload in self._splitter.feed(data):
            try:
                found.append(self._taken(payload))
            except RemoteProtocolError as error:
                found.append(error)
                if error.fatal:
                    self._splitter.close()
                    return found
        if self._splitter.overrun is not None:
            found.append(
                RemoteProtocolError(
                    "frame_too_large",
                    f"it announces a frame of {self._splitter.overrun} bytes, the limit is "
                    f"{self._splitter.max_frame_bytes}; hint: an algorithm that prints writes among the frames",
                    fatal=True,
                )
            )
        return found

    def _taken(self, payload: bytes) -> AnyMessage:
        message = self._codec.decode(_as_ours(payload))
        if self.hello is not None:
            return message
        if not isinstance(message, HostHello):
            raise RemoteProtocolError(
                "illegal_in_state", f"it sends {message.TYPE} before its hello", message_type=message.TYPE, fatal=True
            )
        if not message.sdk_version.startswith((STEPWISE_VERSIONS, GUIDED_VERSIONS)) or PICTURES not in (
            message.capabilities
        ):
            raise RemoteProtocolError(
                "incompatible_version",
                f"its hello tells sdk_version {message.sdk_version[:40]!r} and the capabilities "
                f"{', '.join(message.capabilities)[:200] or 'none'}; known are 0.0.x and 0.3.x with {PICTURES}; "
                "hint: a host of the present protocol needs no gateway",
                fatal=True,
            )
        self.hello = message
        return message

    # --- what goes out --------------------------------------------------------------------------------------

    def call(self, call: Call) -> bytes:
        """Return the frame of a call, with the adapter's names. Raise LocalProtocolError as our codec does."""
        fields = msgspec.json.decode(self._codec.encode(call), type=dict[str, Any])
        envelope = {key: fields.pop(key) for key in ("type", "request_id") if key in fields}
        # The gateway looks after the time; no adapter knows the field.
        fields.pop("timeout_ms", None)
        if self.guided:
            # What 0.3.x calls them; its further arguments are parameters of a step with us.
            fields = {
                "step_index": fields.get("step_index"),
                "cur_image_shm_id": fields.get("shared_mem_id"),
                "cur_image_meta": fields.get("image_meta"),
                **fields.get("user_params", {}),
            }
        return frame(msgspec.json.encode({**envelope, "data": fields}))

    @staticmethod
    def greeting() -> bytes:
        """Return the frame of the runner's hello."""
        return frame(msgspec.json.encode({"type": "hello", "runner_version": PROTOCOL_VERSION}))

    @staticmethod
    def ping(request_id: str) -> bytes:
        """Return the frame of a ping."""
        return frame(msgspec.json.encode({"type": "ping", "request_id": request_id}))

    @staticmethod
    def shutdown() -> bytes:
        """Return the frame that asks an adapter to leave."""
        return frame(msgspec.json.encode({"type": "shutdown"}))


def _as_ours(payload: bytes) -> bytes:
    """Put what ours has at the top of a message there, and into its rects what theirs leaves out."""
    try:
        fields = msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        return payload  # The codec says what is wrong with it.
    if not isinstance(fields, dict):
        return payload
    kind = fields.get("type")
    if kind == "pong":
        fields.setdefault("state", "")
    elif kind == "result":
        phase: Any = ""
        data = fields.get("data")
        if isinstance(data, dict):
            phase = data.pop("phase", phase)
            fields.setdefault("step_index", data.pop("step_index", None))
            if data.get("result_status") == "NG":
                data["defect_rects"] = completed_rects(data.get("defect_rects"))
        fields.setdefault("phase", phase)
    else:
        return payload
    return msgspec.json.encode(fields)
