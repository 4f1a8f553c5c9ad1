"""One inspection as the reports show it, whatever ran it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from attrs import field, frozen

from procvision_sdk.results import Defect
from procvision_tools.report.measurements import Measurement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Picture: TypeAlias = "NDArray[np.uint8]"
"""H x W (mono) or H x W x 3 (RGB), uint8."""
Verdict = Literal["OK", "NG", "ERROR"]
VERDICTS = ("OK", "NG", "ERROR")


def _is_verdict(_: object, __: object, value: str) -> None:
    if value not in VERDICTS:
        raise ValueError(f"verdict is {value!r}: it is one of {', '.join(VERDICTS)}")


def _is_picture(_: object, attribute: Any, value: Picture | None) -> None:
    if value is None:
        return
    right_form = value.ndim == 2 or (value.ndim == 3 and value.shape[2] == 3)
    if value.dtype != "uint8" or not right_form or not value.size:
        raise ValueError(f"{attribute.name} is {value.dtype} {value.shape}: it is uint8, H x W or H x W x 3, not empty")


@frozen
class LogLine:
    """What was logged during an inspection: the level's name as it was given, and the text."""

    level: str
    message: str


@frozen(eq=False, kw_only=True)
class Inspection:
    """A product's inspection, told whole: what was looked at, with what, and what came out.

    Raises ValueError for a verdict that is none and for pictures of another form than `Picture`.
    """

    title: str
    """What was inspected, for people: a file's name, a product's."""
    algorithm: str
    version: str
    pid: str
    verdict: Verdict = field(validator=_is_verdict)
    picture: Picture | None = field(default=None, validator=_is_picture, repr=False)
    """The inspected product, or None where it could not be read."""
    reference: Picture | None = field(default=None, validator=_is_picture, repr=False)
    params: Mapping[str, Any] = field(factory=dict)
    message: str = ""
    """What the algorithm said, or with ERROR what went wrong."""
    ng_reason: str = ""
    error_code: str = ""
    hint: str = ""
    """What to try after an ERROR."""
    defects: tuple[Defect, ...] = ()
    """Rects in pixels of the picture."""
    measurements: tuple[Measurement, ...] = ()
    """What the algorithm published, with the limits that its manifest declares."""
    times_ms: Mapping[str, float] = field(factory=dict)
    """What took how long, in the order in which it happened."""
    logs: tuple[LogLine, ...] = ()
    notices: tuple[str, ...] = ()
    """What the host said that is about no call: a hook plugin that is left out, a log that can't be written."""
    at: datetime | None = None
    """When it began, with its offset from UTC."""
    command: str = ""
    """A command line that repeats the inspection."""

    @property
    def reason(self) -> str:
        """The one sentence that belongs beside the verdict."""
        if self.verdict == "NG":
            return self.ng_reason or self.message
        return self.message or ("no defects found" if self.verdict == "OK" else "no answer")

    def as_record(self) -> dict[str, Any]:
        """Give everything but the pictures, ready for JSON."""
        return {
            "title": self.title,
            "verdict": self.verdict,
            "reason": self.reason,
            "message": self.message,
            "ng_reason": self.ng_reason,
            "error_code": self.error_code,
            "hint": self.hint,
            "algorithm": self.algorithm,
            "version": self.version,
            "pid": self.pid,
            "inspected_at": "" if self.at is None else self.at.isoformat(timespec="milliseconds"),
            "user_params": dict(self.params),
            "defect_rects": [defect.to_dict() for defect in self.defects],
            "debug": {measured.name: measured.value for measured in self.measurements},
            "limits": {
                measured.name: {"unit": measured.unit, "min": measured.low, "max": measured.high}
                for measured in self.measurements
                if measured.limits
            },
            "times_ms": {name: round(value, 3) for name, value in self.times_ms.items()},
            "logs": [{"level": line.level, "message": line.message} for line in self.logs],
            "notices": list(self.notices),
            "command": self.command,
        }
