"""The frames of the field's adapters, as our messages and back.

They are framed like ours. A hello tells the version of their SDK; a call's fields stand in its `data`; a result names
its phase, if at all, in `data` as well; an error has no `data`. Their answers go through our codec in the end, so
that all its checks hold for them too.
"""

from __future__ import annotations

from typing import Any

import msgspec

from procvision_sdk.results import completed_rects
from procvision_sdk.wire.codec import Codec
from procvision_sdk.wire.messages import AnyMessage, Call, HostHello
from procvision_sdk.wire.tables import Role

_STEPWISE = "0.0."
_GUIDED = "0.3."
_PICTURES = "shared_memory:v1"
"""The capability of a host that reads its pictures from files."""


class FieldDialect:
    """One connection's. `guided` says that the host is of the 0.3.x kind, whose calls carry two pictures."""

    def __init__(self) -> None:
        self.guided = False
        self.spoken = False
        self._codec = Codec(Role.RUNNER)
        self._phases: dict[str | None, str] = {}

    def understands(self, hello: HostHello) -> bool:
        """Whether this is an adapter of the field's that reads pictures from files."""
        known = hello.sdk_version.startswith((_STEPWISE, _GUIDED)) and _PICTURES in hello.capabilities
        self.guided = hello.sdk_version.startswith(_GUIDED)
        self.spoken = known
        return known

    def decode(self, raw: bytes) -> AnyMessage:
        """One message. Raises RemoteProtocolError as our codec does."""
        try:
            fields = msgspec.json.decode(raw)
        except (ValueError, RecursionError):
            return self._codec.decode(raw)
        if isinstance(fields, dict) and fields.get("type") in ("result", "error"):
            phase = self._phases.pop(fields.get("request_id"), "execute")
            if fields["type"] == "result":
                self._lift(fields, phase)
                raw = msgspec.json.encode(fields)
        return self._codec.decode(raw)

    def encode(self, message: AnyMessage, *, checked: bool = False) -> bytes:
        """The payload of a message. Raises LocalProtocolError as our codec does."""
        payload = self._codec.encode(message, checked=checked)
        if not isinstance(message, Call):
            return payload
        self._phases[message.request_id] = message.phase
        fields = msgspec.json.decode(payload, type=dict[str, Any])
        call = {key: fields.pop(key) for key in ("type", "request_id") if key in fields}
        if self.guided:
            # What 0.3.x calls them; its further arguments are parameters of a step with us.
            fields = {
                "step_index": fields.get("step_index"),
                "cur_image_shm_id": fields.get("shared_mem_id"),
                "cur_image_meta": fields.get("image_meta"),
                **fields.get("user_params", {}),
            }
        return msgspec.json.encode({**call, "data": fields})

    @staticmethod
    def _lift(fields: dict[str, Any], phase: str) -> None:
        """Puts what ours has at the top of a result there, and into its rects what theirs leaves out."""
        data = fields.get("data")
        if isinstance(data, dict):
            phase = data.pop("phase", phase)
            fields.setdefault("step_index", data.pop("step_index", None))
            if data.get("result_status") == "NG":
                data["defect_rects"] = completed_rects(data.get("defect_rects"))
        fields.setdefault("phase", phase)
