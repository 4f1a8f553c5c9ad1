from collections.abc import Mapping
from typing import Any

from procvision_runner.images.slots import Lease
from procvision_runner.results import CallResult
from procvision_sdk.calling import CallImage, InspectingPhase, InspectionSession
from procvision_sdk.images.meta import ColorSpace

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
    def frames(self) -> list[tuple[float, str, bytes]]: ...
    def lend(self, width: int, height: int, color_space: ColorSpace, /) -> Lease | None: ...
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
