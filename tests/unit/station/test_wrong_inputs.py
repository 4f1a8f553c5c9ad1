"""What is wrong in a station's files is told with its place and a hint: no traceback, and nothing is taken silently."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from wrong_inputs import Wrong, wrong_inputs

from procvision_station.configuration.files import ConfigurationError, version_of
from procvision_station.configuration.page import read_web
from procvision_station.configuration.reading import read_station
from procvision_station.control import ChangeRecipe, ControlError, send
from procvision_station.exporting import records
from procvision_station.kinds import Kinds
from procvision_station.scaffold import make_station
from procvision_tools.cli.main import status_of

SHARE = 1 if os.environ.get("PROCVISION_EVERY") else 17
"""Of all inputs each so manyth is tried; the nox session `inputs` tries all."""


KINDS = Kinds.installed()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("station") / "line-3"
    list(make_station(made))
    (made / "here").mkdir()
    return made


@pytest.fixture(scope="module")
def inputs(folder: Path) -> list[Wrong]:
    station, recipe = (tomllib.loads((folder / name).read_text()) for name in ("station.toml", "recipes/board.toml"))
    return list(wrong_inputs(station, recipe))


def what_is_wrong(folder: Path, wrong: Wrong) -> str | None:
    """What the reading of a wrong file does that it must not; None where it tells what it is to tell."""
    path = folder / wrong.file
    right = path.read_bytes()
    path.write_bytes(wrong.text.encode("utf-8", "surrogateescape"))
    try:
        read_station(folder, KINDS)
    except ConfigurationError as error:
        if wrong.file not in {problem.file for problem in error.problems}:
            return f"is told of another file: {error}"
        for problem in error.problems:
            if problem.place is None or not problem.message or not problem.hint:
                return f"has no place or no hint: {problem}"
            if len(problem.message) > 1000 or not problem.message.isprintable():
                return f"is told in no readable words: {problem.message[:200]!r}"
        return None
    except Exception as error:
        return f"ends with {type(error).__name__}: {str(error)[:200]}"
    finally:
        path.write_bytes(right)
    return "is taken"


def test_each_key_wrong_in_each_way_is_told_with_place_and_hint(folder: Path, inputs: list[Wrong]) -> None:
    read_station(folder)
    found = {str(each): what_is_wrong(folder, each) for each in inputs[::SHARE]}
    bad = [f"{name} {what}" for name, what in found.items() if what is not None]
    assert not bad, "\n".join([f"{len(bad)} of {len(found)}", *bad[:40]])
    read_station(folder)


def test_every_key_of_both_files_is_tried_in_many_ways(inputs: list[Wrong]) -> None:
    """The generator finds what the schema has: a key that it overlooks would be tried by nobody."""
    ways = Counter(each.path for each in inputs)
    for path in (
        ("station", "shifts"), ("pictures", "keep_ok"), ("web", "names"), ("heads", "every_minutes"),
        ("projection", "database"), ("deployments", "max_bundle_mb"), ("lines", "main", "deadline_ms"),
        ("lines", "main", "trigger", "every_s"), ("lines", "main", "cameras", "top", "waiting"),
        ("lines", "main", "outputs", 0, "password_file"), ("lines", "main", "algorithms", "pcb-compare", "isolation"),
        ("steps", 0, "camera"), ("steps", 0, "parameters", "min_score"), ("product",),
    ):  # fmt: skip
        assert ways[path] >= 4, path
    assert len(inputs) > 1500


def test_what_a_page_reads_of_a_wrong_file_is_told_alike(folder: Path, inputs: list[Wrong]) -> None:
    """It reads a part of the file: what is wrong elsewhere keeps nobody from it."""
    path = folder / "station.toml"
    right = path.read_bytes()
    of_file = [each for each in inputs if each.file == "station.toml"]
    for each in of_file[:: 4 * SHARE]:
        path.write_bytes(each.text.encode("utf-8", "surrogateescape"))
        try:
            read_web(folder, {})
        except ConfigurationError as error:
            assert all(problem.hint for problem in error.problems), str(each)
        finally:
            path.write_bytes(right)


LONG = pytest.mark.skipif("PROCVISION_EVERY" not in os.environ, reason="the nox session `inputs` tries it")


@LONG
def test_the_command_ends_with_2_and_the_places_and_no_traceback(folder: Path, inputs: list[Wrong]) -> None:
    for wrong in inputs[::5]:
        path = folder / wrong.file
        right = path.read_bytes()
        path.write_bytes(wrong.text.encode("utf-8", "surrogateescape"))
        out, err = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = status_of(["station", "check", str(folder)])
        finally:
            path.write_bytes(right)
        assert status == 2, str(wrong)
        assert re.match(r"error: (station\.toml|recipes/board\.toml)(:\d+:\d+)?: ", err.getvalue()), str(wrong)
        assert "hint: " in err.getvalue(), str(wrong)
        assert "Traceback" not in out.getvalue() + err.getvalue(), str(wrong)


@LONG
def test_a_line_that_runs_refuses_each_wrong_recipe_and_runs_on(tmp_path: Path, inputs: list[Wrong]) -> None:
    here = tmp_path / "line-3"
    list(make_station(here, every_s=0.2))
    text = (here / "station.toml").read_text().replace('"-" ', '"told.jsonl" ')
    (here / "station.toml").write_text(text)
    path, told = here / "recipes" / "board.toml", here / "told.jsonl"
    right = path.read_text()
    command = [sys.executable, "-m", "procvision_tools", "station", "run", str(here)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as station:
        try:
            wait_until(lambda: told.exists() and told.stat().st_size > 0)
            base = version_of(right.encode())
            refused = 0
            for wrong in inputs:
                # What is no text, or too large or small for a command, does not even get there.
                if wrong.file == "station.toml" or not 0 < len(wrong.text) < 256 * 1024 or "\udcff" in wrong.text:
                    continue
                before = told.stat().st_size
                with pytest.raises(ControlError) as caught:
                    send(here / "data", ChangeRecipe(user="u-1", recipe="board", text=wrong.text, base=base, why="x"))
                assert "Traceback" not in str(caught.value), str(wrong)
                assert path.read_text() == right, str(wrong)
                refused += 1
            assert refused > 100
            wait_until(lambda: told.stat().st_size > before)
            station.terminate()
            assert station.wait(60) == 143
        finally:
            station.kill()
    found = list(records("main", here / "data" / "journal" / "main"))
    products = [each for each in found if each["kind"] == "product"]
    assert {each["recipe_version"] for each in products} == {base}
    assert len({each["key"] for each in products}) == len(products)
    assert not [each for each in found if each.get("event") == "recipe"]


def wait_until(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until
        time.sleep(0.05)
