from collections.abc import Mapping
from typing import Any

from procvision_runner.results import CallResult
from procvision_sdk.calling import CallImage, InspectingPhase, InspectionSession

SOURCE: str

class SteadyCalls:
    def __new__(
        cls,
        parts: dict[str, Any],
        stdin: int,
        stdout: int,
        execute_timeout_s: float,
        pre_timeout_s: float,
        max_frame_bytes: int,
        /,
    ) -> SteadyCalls: ...
    def inspect(
        self,
        phase: InspectingPhase,
        image: CallImage | None,
        pid: str,
        step_index: int,
        session: InspectionSession | str | None,
        user_params: Mapping[str, Any] | None,
        final: bool,
        camera_id: str | None,
        timestamp_ms: int | None,
        timeout_s: float | None,
        /,
    ) -> CallResult | None: ...

def read_answer(frame: bytes, request_id: str, phase: str, step_index: int, /) -> Any: ...
def read_value(data: bytes, /) -> Any: ...
