"""What an algorithm published of an inspection, beside the limits that its manifest declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from procvision_sdk.jsontext import json_text

if TYPE_CHECKING:
    from procvision_sdk.manifest.model import Diagnostic

OF_THE_HOST = frozenset({"latency_ms", "truncated"})
"""What the host adds to `data.debug` itself."""
MAX_TEXT_CHARACTERS = 200


@frozen
class Measurement:
    """One published value. `low` and `high` are its limits, None where there is none."""

    name: str
    value: Any
    unit: str = ""
    low: float | None = None
    high: float | None = None

    @property
    def outside(self) -> bool:
        """Whether it is a number beyond a limit."""
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            return False
        return (self.low is not None and self.value < self.low) or (self.high is not None and self.value > self.high)

    @property
    def text(self) -> str:
        """The value with its unit, cut where nobody would read on."""
        if isinstance(self.value, float):
            shown = f"{self.value:.6g}"
        elif isinstance(self.value, str):
            shown = self.value
        else:
            shown = json_text(self.value)
        if len(shown) > MAX_TEXT_CHARACTERS:
            shown = f"{shown[:MAX_TEXT_CHARACTERS]}…"
        return f"{shown} {self.unit}".rstrip()

    @property
    def limits(self) -> str:
        """Its limits in words; "" where there is none."""
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"at least {self.low:g}"
        return "" if self.high is None else f"at most {self.high:g}"


def measurements(published: Mapping[str, Any], declared: Mapping[str, Diagnostic], of: str = "") -> list[Measurement]:
    """Give what was published in a call, in its order; ``of`` names the step where there are several."""
    found = []
    for name, value in published.items():
        if name in OF_THE_HOST:
            continue
        limit = declared.get(name) or declared.get(name.rpartition(": ")[2])  # of a step: STEP: NAME
        shown = f"{of}{name}"
        found.append(Measurement(shown, value) if limit is None else
                     Measurement(shown, value, limit.unit, limit.min, limit.max))  # fmt: skip
    return found
