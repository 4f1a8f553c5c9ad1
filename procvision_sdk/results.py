"""What a call may answer, as a vendor builds it. What must hold of it is checked in `procvision_sdk.answers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import attrs

Number: TypeAlias = int | float


def _finite(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:  # noqa: PLR0124 - NaN
        raise ValueError(f"{type(instance).__name__}.{attribute.name} is {value!r:.60}: it is a finite number")


def _plain_number(value: Any) -> Any:
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 else value


@attrs.frozen
class Rect:
    """A rectangle in pixels: `x`, `y` its upper left corner, all of it inside the picture."""

    x: Number = attrs.field(converter=_plain_number, validator=_finite)
    y: Number = attrs.field(converter=_plain_number, validator=_finite)
    width: Number = attrs.field(converter=_plain_number, validator=_finite)
    height: Number = attrs.field(converter=_plain_number, validator=_finite)
    label: str = ""
    score: float = attrs.field(default=1.0, converter=_plain_number, validator=_finite)

    def to_dict(self) -> dict[str, Any]:
        """Return the rect as it stands on the wire."""
        return {
            "x": self.x,
            "y": self.y,
            "width": self.width,
            "height": self.height,
            "label": self.label,
            "score": self.score,
        }


@attrs.frozen
class Defect(Rect):
    """A labelled rect of an NG; `score` in 0..1 ranks it."""


RectLike: TypeAlias = Rect | Mapping[str, Any]


def _rects(rects: Sequence[RectLike]) -> list[dict[str, Any]]:
    return [rect.to_dict() if isinstance(rect, Rect) else dict(rect) for rect in rects]


@attrs.frozen(kw_only=True)
class ReturnValue:
    """What the builders have in common: each becomes the plain dict that an algorithm may as well return."""

    message: str = ""
    debug: Mapping[str, Any] = attrs.field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the return value as a plain dict."""
        data = self._data()
        if self.debug:
            data["debug"] = dict(self.debug)
        return {"status": "OK", "message": self.message, "data": data}

    def _data(self) -> dict[str, Any]:
        return {}


@attrs.frozen
class Prepared(ReturnValue):
    """`pre_execute` did its work. It carries no verdict."""

    calibration_rects: Sequence[RectLike] = attrs.field(factory=tuple, kw_only=True)

    def _data(self) -> dict[str, Any]:
        return {"calibration_rects": _rects(self.calibration_rects)} if self.calibration_rects else {}


@attrs.frozen
class Ok(ReturnValue):
    """The product is good."""

    position_rects: Sequence[RectLike] = attrs.field(factory=tuple, kw_only=True)

    def _data(self) -> dict[str, Any]:
        data: dict[str, Any] = {"result_status": "OK"}
        if self.position_rects:
            data["position_rects"] = _rects(self.position_rects)
        return data


@attrs.frozen
class Ng(ReturnValue):
    """The product is not good: why, and where."""

    reason: str = attrs.field(kw_only=False)
    rects: Sequence[RectLike] = attrs.field(factory=tuple, kw_only=False)
    position_rects: Sequence[RectLike] = attrs.field(factory=tuple, kw_only=True)

    def _data(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "result_status": "NG",
            "ng_reason": self.reason,
            "defect_rects": _rects(self.rects),
        }
        if self.position_rects:
            data["position_rects"] = _rects(self.position_rects)
        return data


@attrs.frozen
class Failed(ReturnValue):
    """The call could not be done, and the algorithm knows why.

    `error_code` is an `ErrorCode` or a vendor's own string.
    """

    error_code: str = attrs.field(kw_only=False)
    message: str = attrs.field(kw_only=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the return value as a plain dict."""
        out: dict[str, Any] = {
            "status": "ERROR",
            "message": self.message,
            "error_code": str(self.error_code),
            "data": {},
        }
        if self.debug:
            out["data"]["debug"] = dict(self.debug)
        return out


def completed_rects(rects: Any) -> Any:
    """Return the defects of an algorithm of the field's SDK, where label and score may be left out: "" and 1.0.

    What is no list of rects stays as it is, to be refused.
    """
    if not isinstance(rects, (list, tuple)):
        return rects
    return [{"label": "", "score": 1.0, **rect} if isinstance(rect, Mapping) else rect for rect in rects]
