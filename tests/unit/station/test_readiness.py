"""What a start would stop at is told before: missing libraries, folders, programs and keys."""

from __future__ import annotations

import importlib.util

import pytest

from procvision_station.configuration.files import STATION_FILE
from procvision_station.configuration.reading import read_station
from procvision_station.kinds import KindError, Kinds
from procvision_station.parts import StationError
from procvision_station.readiness import hold_installed, hold_ready
from procvision_station.scaffold import make_station

TRIGGER = 'kind = "interval"\nevery_s = 1'
CAMERA = 'kind = "simulated"'
OUTPUT = 'kind = "json-lines"\npath = "told.jsonl"'
MQTT = 'kind = "mqtt"\ntopic = "a"'


@pytest.fixture
def station(tmp_path):
    """Return a function that reads a station with these tables in place of the usual ones."""
    list(make_station(tmp_path, 1))

    def read(trigger=TRIGGER, camera=CAMERA, output=OUTPUT, more="[web]\nport = 0"):
        (tmp_path / STATION_FILE).write_text(
            f"""
            {more}
            [station]
            name = "ready"
            [pictures]
            keep_ok = 0
            keep_ng = 1
            keep_error = 1
            [lines.main]
            recipe = "board"
            deadline_ms = 1000
            [lines.main.trigger]
            {trigger}
            [lines.main.cameras.top]
            {camera}
            [[lines.main.outputs]]
            {output}
            """
        )
        return read_station(tmp_path)

    return read


def _without(monkeypatch, *packages):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *at: None if name in packages else find(name, *at))


def test_a_usual_station_is_ready(station):
    hold_ready(station())


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"trigger": 'kind = "folder"\npath = "gone"'}, "main.trigger: .*gone can't be read"),
        ({"trigger": 'kind = "http"\nport = 0\nhost = "0.0.0.0"'}, "main.trigger: .*no token"),
        ({"trigger": 'kind = "camera"\ncamera = { kind = "folder", path = "gone" }'}, "main.trigger: .*can't be read"),
        ({"camera": 'kind = "folder"\npath = "recipes"'}, "main.cameras.top: .*no JPEG or PNG"),
        ({"output": 'kind = "json-lines"\npath = "gone/told.jsonl"'}, r"main.outputs\[0\]: .*no such folder"),
        ({"output": 'kind = "program"\ncommand = ["./gone.py"]'}, r"main.outputs\[0\]: ./gone.py .*no such program"),
        ({"output": 'kind = "program"\ncommand = ["gone"]'}, r"main.outputs\[0\]: gone .*no such program"),
        (
            {"output": 'kind = "mqtt"\ntopic = "a"\nusername = "a"\npassword_file = "gone"'},
            r"main.outputs\[0\]: password_file",
        ),
    ],
)
def test_what_a_start_stops_at_is_told_before_and_nothing_is_made(station, tmp_path, tables, said):
    """The start stops at each of them, too: the check is no stricter."""
    configuration = station(**tables)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StationError, match=said):
        hold_ready(configuration)
    assert sorted(tmp_path.rglob("*")) == before
    line, kinds = configuration.lines["main"], Kinds.installed()
    wanted = [("trigger", line.trigger), ("camera", line.cameras["top"]), ("output", line.outputs[0])]
    with pytest.raises(KindError):
        for sort, each in wanted:
            kinds.load(sort, each.kind)(each.options, tmp_path).close()


def test_all_that_is_missing_is_told_at_once(station, monkeypatch):
    _without(monkeypatch, "harvesters", "paho")
    lacking = station(trigger='kind = "folder"\npath = "gone"', camera='kind = "genicam"', output=MQTT)
    with pytest.raises(StationError) as told:
        hold_ready(lacking)
    for each in (
        "gone can't be read",
        "cameras.top: a camera needs harvesters",
        "outputs[0]: the output mqtt needs paho",
    ):
        assert each in str(told.value)


def test_each_missing_extra_is_told_once(station, monkeypatch):
    _without(monkeypatch, "sqlalchemy", "uvicorn", "psycopg")
    with pytest.raises(StationError) as told:
        hold_installed(station())
    assert str(told.value) == (
        "a station's history needs SQLAlchemy, which is not installed\nhint: pip install 'procvision[station]'"
    )
    with pytest.raises(StationError, match=r"PostgreSQL needs psycopg.*\n.*procvision\[postgres\]"):
        hold_installed(station(more='[projection]\ndatabase = "postgresql://a@b/c"'))


def test_a_page_that_is_not_served_needs_no_library(station, monkeypatch):
    _without(monkeypatch, "uvicorn")
    hold_installed(station(), page=False)
    with pytest.raises(StationError, match="page needs uvicorn"):
        hold_installed(station())
