"""Checks for triggers, cameras and outputs of one's own: each raises AssertionError with what does not hold.

def test_our_camera(tmp_path):
    check_camera(OurCamera, {"address": "127.0.0.1:4000"}, tmp_path)
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from procvision_runner import Picture
from procvision_station.configuration.checking import Problem, check
from procvision_station.kinds import Camera, Fired, KindError, Output, Told, Trigger, look_at
from procvision_station.line.messages import Verdict

STOP_WITHIN_S = 5.0
"""After `stop` is set: a station's end waits for no trigger that is slower."""


def _made(kind: Any, table: Mapping[str, Any], folder: Path) -> Any:
    """Make it as a station does, from a table of station.toml."""
    options = getattr(kind, "options", None)
    assert isinstance(options, type), f"{kind!r} has no `options`"
    assert issubclass(options, msgspec.Struct), f"{options!r} is no msgspec.Struct"
    problems: list[Problem] = []
    given = check(dict(table), options, (), problems)
    assert not problems, "; ".join(problem.message for problem in problems)
    wrong: list[Problem] = []
    check({**table, "no_such_key": 1}, options, (), wrong)
    assert wrong, "a key that there is not is refused"
    try:
        look_at(kind, given, folder)
        return kind(given, folder)
    except KindError:
        raise
    except Exception as error:
        raise AssertionError(f"it can't be looked at or made, and raises no KindError: {error!r}") from error


def check_trigger(kind: type[Trigger], table: Mapping[str, Any], folder: Path) -> None:
    """Check that it is made from its table, ends its wait when it is stopped, and is closed twice."""
    trigger = _made(kind, table, folder)
    stop, ended = threading.Event(), threading.Event()

    def wait() -> None:
        while not stop.is_set() and isinstance(trigger.wait(stop), Fired):
            pass
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    ended.wait(0.3)
    stop.set()
    assert ended.wait(STOP_WITHIN_S), f"wait has not returned {STOP_WITHIN_S:g} s after it was stopped"
    trigger.close()
    trigger.close()


def check_camera(kind: type[Camera], table: Mapping[str, Any], folder: Path, fired: Fired | None = None) -> None:
    """Check that it is made from its table, gives pictures that don't change afterwards, and is closed twice."""
    camera = _made(kind, table, folder)
    picture = camera.grab(fired or Fired())
    assert isinstance(picture, Picture), f"grab gives a Picture, this is {type(picture).__name__}"
    assert picture.width > 0
    assert picture.height > 0
    before = picture.pixels.copy() if picture.pixels is not None else None
    try:
        camera.grab(fired or Fired())
    except KindError:
        pass  # one that has no more pictures may say so
    except Exception as error:
        raise AssertionError(f"grab fails with a KindError, this is {error!r}") from error
    if before is not None and picture.pixels is not None:
        assert np.array_equal(picture.pixels, before), "the next grab has changed the picture before"
    camera.close()
    camera.close()


def check_output(kind: type[Output], table: Mapping[str, Any], folder: Path) -> None:
    """Check that it is made from its table, takes every verdict and any text, and is closed twice."""
    output = _made(kind, table, folder)
    for number, verdict in enumerate(Verdict):
        reason = "" if verdict is Verdict.OK else 'a "scratch",\nof 3 µm \x00'
        output.tell(Told("main", f"check-{number}", "A-17", verdict, reason, "2026-01-01T00:00:00.000+00:00"))
    output.close()
    output.close()
