"""The verdict on a terminal."""

from __future__ import annotations

import io
import json

import click
import numpy as np
import pytest

from procvision_sdk.results import Defect
from procvision_tools.report import terminal
from procvision_tools.report.inspection import Inspection, LogLine
from procvision_tools.report.text import printable


def inspection(**changes):
    fields = {"title": "T.jpg", "algorithm": "pcb-compare", "version": "0.1.0", "pid": "A", "verdict": "OK"}
    return Inspection(**(fields | changes))


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def shown(subject, stream=None):
    stream = stream or io.StringIO()
    terminal.show(subject, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({}, "  OK    no defects found"),
        ({"message": "all 23 nets are there"}, "  OK    all 23 nets are there"),
        ({"verdict": "NG", "ng_reason": "a net is open"}, "  NG    a net is open"),
        ({"verdict": "ERROR", "message": "cut", "error_code": "1002"}, "  ERROR    cut [1002]"),
        ({"verdict": "ERROR"}, "  ERROR    no answer"),
    ],
)
def test_the_first_line_says_all(changes, first):
    assert shown(inspection(**changes)).splitlines()[0] == first


def test_a_defect_is_a_row():
    text = shown(inspection(verdict="NG", ng_reason="x", defects=(Defect(12, 34.5, 6, 7, "mousebite", 0.876),)))
    assert ["1", "mousebite", "0.88", "12", "34.5", "6", "7"] in [line.split() for line in text.splitlines()]


def test_times_and_what_was_inspected_are_told():
    text = shown(inspection(times_ms={"start": 401.26, "execute": 8.0}))
    assert "start 401.3 ms, execute 8.0 ms" in text
    assert "pcb-compare 0.1.0, product A" in text
    assert "T.jpg" in text


def test_an_error_shows_the_last_logs_and_the_hint():
    text = shown(inspection(
        verdict="ERROR", logs=tuple(LogLine("INFO", f"line {n}") for n in range(20)), hint="look there"
    ))  # fmt: skip
    assert "INFO: line 19" in text
    assert "line 3" not in text
    assert text.rstrip().endswith("hint: look there")


def test_a_log_line_that_is_the_reason_is_not_told_twice():
    logs = (LogLine("INFO", "the lamp is on"), LogLine("ERROR", "no model; hint: name one"))
    text = shown(inspection(verdict="ERROR", message="the host left: no model", hint="name one", logs=logs))
    assert text.count("no model") == 1
    assert "the lamp is on" in text
    assert "last log lines" not in shown(inspection(verdict="ERROR", message="it left: no model", logs=logs[1:]))


def test_an_ok_shows_no_logs():
    assert "line" not in shown(inspection(logs=(LogLine("INFO", "line"),)))


def test_colours_are_for_terminals_alone(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain, coloured = shown(inspection()), shown(inspection(), Terminal())
    assert "\x1b[" not in plain
    assert "\x1b[" in coloured
    assert click.unstyle(coloured) == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert shown(inspection(), Terminal()) == plain


def test_foreign_text_cannot_steer_the_terminal():
    text = shown(inspection(
        verdict="NG", ng_reason="red \x1b[31m\r\x07", defects=(Defect(0, 0, 1, 1, "a\nb\x00", 1.0),), title="\u202e"
    ))  # fmt: skip
    assert not set(text) & set("\x1b\r\x07\x00\u202e")
    assert "\\x1b[31m" in text
    assert "a\\nb\\x00" in text


def test_a_stream_that_knows_few_characters_gets_escapes():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    terminal.show(inspection(title="Stra\u00dfe \ud800"), stream)
    stream.flush()
    assert b"Stra\\xdfe" in raw.getvalue()


def test_printable_keeps_what_can_be_read():
    assert printable("gr\u00fcn \u4e2d\n\t\x7f", keep="\n") == "gr\u00fcn \u4e2d\n\\t\\x7f"


def test_a_record_is_json_and_holds_no_picture():
    record = inspection(
        verdict="NG", ng_reason="x", picture=np.zeros((4, 5), np.uint8), params={"a": [1, 2]},
        defects=(Defect(1, 2, 3, 4, "open", 0.5),), logs=(LogLine("INFO", "hello"),), times_ms={"pre": 1.23456},
    ).as_record()  # fmt: skip
    assert json.loads(json.dumps(record)) == record
    assert record["verdict"] == "NG"
    assert record["defect_rects"] == [{"x": 1, "y": 2, "width": 3, "height": 4, "label": "open", "score": 0.5}]
    assert record["times_ms"] == {"pre": 1.235}
    assert "picture" not in record


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verdict": "GOOD"}, "one of OK, NG, ERROR"),
        ({"picture": np.zeros((4, 5), np.uint16)}, "picture is uint16"),
        ({"reference": np.zeros((4, 5, 4), np.uint8)}, "reference is uint8"),
        ({"picture": np.zeros((0, 5), np.uint8)}, "not empty"),
    ],
)
def test_what_is_no_inspection_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        inspection(**changes)


def test_a_record_of_many_lines_shows_its_first_and_its_last():
    """A traceback through a framework begins and ends with what matters."""
    message = "\n".join(f"line {number}" for number in range(500))
    text = terminal.render(inspection(verdict="ERROR", message="no", logs=(LogLine("error", message),)))
    assert "error: line 0" in text
    assert "line 499" in text
    assert "460 more lines" in text
    assert "line 250" not in text
