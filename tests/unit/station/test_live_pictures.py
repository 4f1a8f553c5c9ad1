"""The last pictures for the page: written while somebody looks, as the algorithm saw them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from procvision_runner import Picture
from procvision_station import live_pictures as module
from procvision_station.live_pictures import LivePictures

Image = pytest.importorskip("PIL.Image", reason="Pillow reads what was written")
pytest.importorskip("simplejpeg", reason="simplejpeg writes them")

RGB = np.zeros((48, 64, 3), np.uint8)
RGB[:] = (200, 30, 90)
GREY = np.full((48, 64), 77, np.uint8)
DEEP_GREY = np.full((48, 64), 77 << 4, np.uint16)
DEEP_RGB = RGB.astype(np.uint16) * np.uint16(256)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LivePictures]:
    live = LivePictures(tmp_path / "live")
    yield live
    live.stop()


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_nothing_is_written_until_somebody_looks_and_then_the_last_one(live: LivePictures, tmp_path: Path) -> None:
    folder = tmp_path / "live" / "main"
    for number in range(5):
        live.show("main", f"key-{number}", 0, Picture.of(GREY))
    live.show("main", "key-4", 1, Picture.of(RGB))
    time.sleep(0.2)
    assert not folder.exists()
    live.watch()
    wait_until(lambda: folder.exists() and len(list(folder.glob("*.jpg"))) == 2)
    assert {path.name for path in folder.iterdir()} == {"key-4-0.jpg", "key-4-1.jpg"}
    live.show("main", "key-5", 0, Picture.of(GREY))
    wait_until((folder / "key-5-0.jpg").exists)


def test_writing_ends_when_nobody_has_looked_for_a_while(
    live: LivePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCHED_S", 0.0)
    live.watch()
    live.show("main", "key-0", 0, Picture.of(GREY))
    time.sleep(0.2)
    assert not (tmp_path / "live").exists()


@pytest.mark.parametrize(
    ("picture", "seen"),
    [
        pytest.param(Picture.of(RGB), (200, 30, 90), id="RGB"),
        pytest.param(Picture.of(RGB[:, :, ::-1], "BGR"), (200, 30, 90), id="BGR, a view"),
        pytest.param(Picture.of(GREY), (77, 77, 77), id="grey"),
        pytest.param(Picture.of(GREY[::2, ::-2]), (77, 77, 77), id="grey, a view"),
        pytest.param(Picture.of(DEEP_GREY, bits=12), (77, 77, 77), id="12 bits"),
        pytest.param(Picture.of(DEEP_RGB, bits=16), (200, 30, 90), id="RGB of 16 bits"),
    ],
)
def test_a_picture_is_as_the_algorithm_sees_it(picture: Picture, seen: tuple[int, int, int]) -> None:
    data, suffix = module.encoded_for_a_browser(picture)
    assert suffix == ".jpg"
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert shown.shape[:2] == (picture.height, picture.width)
    assert np.abs(shown.astype(int) - seen).max() <= 4
