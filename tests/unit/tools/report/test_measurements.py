"""What an algorithm published, beside its limits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from procvision_sdk.manifest.model import Diagnostic
from procvision_tools.report import html, terminal
from procvision_tools.report.inspection import Inspection
from procvision_tools.report.measurements import Measurement, measurements

DECLARED = {
    "gap": Diagnostic(unit="mm", min=0.2, max=0.8),
    "light": Diagnostic(min=100),
    "noise": Diagnostic(max=5),
}


@pytest.mark.parametrize(
    ("name", "value", "text", "limits", "outside"),
    [
        ("gap", 0.5, "0.5 mm", "0.2 to 0.8", False),
        ("gap", 0.2, "0.2 mm", "0.2 to 0.8", False),
        ("gap", 0.9, "0.9 mm", "0.2 to 0.8", True),
        ("light", 99, "99", "at least 100", True),
        ("noise", 5.5, "5.5", "at most 5", True),
        ("noise", True, "true", "at most 5", False),
        ("noise", "high", "high", "at most 5", False),
        ("other", [1, 2], "[1, 2]", "", False),
        ("other", {"\u96f6": None}, '{"\u96f6": null}', "", False),
        ("other", 1 / 3, "0.333333", "", False),
        ("other", "x" * 500, "x" * 200 + "\u2026", "", False),
    ],
)
def test_a_value_stands_beside_its_limits(name: str, value: Any, text: str, limits: str, outside: bool) -> None:
    """Both limits are included; what is no number lies beyond none."""
    (found,) = measurements({name: value, "latency_ms": 3.5, "truncated": True}, DECLARED)
    assert (found.name, found.text, found.limits, found.outside) == (name, text, limits, outside)


def test_a_step_is_named_where_there_are_several() -> None:
    """The limits are found by the name all the same, also when it is read back."""
    (found,) = measurements({"gap": 0.9}, DECLARED, "front: ")
    assert (found.name, found.outside) == ("front: gap", True)
    assert measurements({found.name: found.value}, DECLARED) == [found]


def test_it_is_told_on_the_terminal_in_json_and_on_the_page() -> None:
    """With what lies outside marked as such."""
    shown = (Measurement("gap", 0.9, "mm", 0.2, 0.8), Measurement("a<b\x1b", "\u597d"))
    inspection = Inspection(title="a", algorithm="b", version="1", pid="A", verdict="OK", measurements=shown)
    text = terminal.render(inspection)
    assert "0.9 mm  (0.2 to 0.8)" in text
    assert "a<b\\x1b" in text
    record = json.loads(json.dumps(inspection.as_record()))
    assert record["debug"] == {"gap": 0.9, "a<b\x1b": "\u597d"}
    assert record["limits"] == {"gap": {"unit": "mm", "min": 0.2, "max": 0.8}}
    page = html.render([inspection])
    assert "0.2 to 0.8" in page
    assert "a&lt;b" in page
    assert "outside" in page
