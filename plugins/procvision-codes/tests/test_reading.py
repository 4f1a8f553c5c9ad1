"""Finding and reading, in pictures made for it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from code_pictures import SAMPLES, Gray, code, placed, turned

from procvision_codes import symbologies
from procvision_codes.errors import SettingsError
from procvision_codes.reading import Effort, Found, read_codes

RNG = np.random.default_rng(7)


def read(picture: Gray, names: str = "any", **more: object) -> Found:
    return read_codes(np.ascontiguousarray(picture), symbologies.named(names), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("symbology", SAMPLES)
def test_every_symbology_is_read_under_its_name(symbology: str) -> None:
    """By "any" and by its own name, and where it stands; zxing-cpp finds a MaxiCode on a white ground alone."""
    ground = 255 if symbology == "MaxiCode" else 220
    picture = placed(code(symbology), size=(1000, 800), at=((90, 70),), ground=ground)
    for names in ("any", symbology):
        (found,) = read(picture, names).codes
        assert found.symbology == symbology
        x, y, width, height = found.box
        assert x >= 90 and y >= 70 and x + width <= 1000 and y + height <= 800
        assert found.contrast > 0.8


def test_upc_a_is_read_if_it_is_named_alone() -> None:
    """Otherwise it is the EAN-13 with a leading 0 that it is, too."""
    made = code("EAN-13", "0012345678905"[0:13])
    assert [found.symbology for found in read(placed(made), "UPC-A").codes] == ["UPC-A"]
    assert [found.symbology for found in read(placed(made), "EAN-13").codes] == ["EAN-13"]


@pytest.mark.parametrize("symbology", ["DataMatrix", "QR", "Aztec", "Code128", "PDF417"])
@pytest.mark.parametrize("degrees", [7, 20, 45, 67, 90, 135, 180, 200, 300])
def test_codes_are_read_at_any_angle(symbology: str, degrees: int) -> None:
    """Bar codes too, which no scan line crosses at 45 degrees; the box holds the code's middle."""
    picture = turned(np.pad(code(symbology), 60, constant_values=255), degrees)
    found = read(picture, symbology)
    assert [each.text for each in found.codes] == [SAMPLES[symbology][1]], (found.attempts, found.unreadable)
    x, y, width, height = found.codes[0].box
    assert x <= picture.shape[1] / 2 <= x + width
    assert y <= picture.shape[0] / 2 <= y + height


@pytest.mark.parametrize("symbology", ["DataMatrix", "QR", "Code128"])
def test_inverted_and_faint_codes_are_read(symbology: str) -> None:
    """Light on dark, and 6 % contrast, which is measured."""
    picture = placed(code(symbology))
    assert len(read(255 - picture, symbology).codes) == 1
    (faint,) = read((120 + picture // 16).astype(np.uint8), symbology).codes
    assert faint.contrast == pytest.approx(15 / 255, abs=0.02)


def test_partly_covered_codes_are_read_and_say_what_it_cost() -> None:
    """Error correction makes up for a corner of a QR code."""
    picture = placed(code("QR"))
    whole = read(picture).codes[0].facts["unused_error_correction"]
    x, y, width, height = read(picture).codes[0].box
    covered = picture.copy()
    covered[y + height // 2 : y + height // 2 + 12, x + width // 2 : x + width // 2 + 12] = 128
    assert read(covered).codes[0].facts["unused_error_correction"] < whole == 1.0


def test_codes_that_are_covered_too_much_are_pointed_at() -> None:
    """A Data Matrix whose border stands and a bar code that lost a part: unreadable, with a place."""
    made = code("DataMatrix", scale=6)
    made[40:100, 40:100] = 128
    for picture, names in ((placed(made), "DataMatrix"), (placed(_torn()), "Code128")):
        found = read(picture, names, effort=Effort.NORMAL)
        assert not found.codes
        x, y, width, height = found.unreadable[0].box
        assert 40 <= x + width / 2 <= 500 and 60 <= y + height / 2 <= 260


def _torn() -> Gray:
    made = code("Code128")
    made[:, 200:260] = 255
    return made


def test_small_modules_are_read_enlarged() -> None:
    """One and a half pixels a module, blurred by the reduction."""
    made = code("DataMatrix", scale=6)
    small = cv2.resize(made, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    (found,) = read(placed(np.asarray(small, dtype=np.uint8), at=((63, 61),))).codes
    assert found.text == SAMPLES["DataMatrix"][1]
    assert found.facts["module_px"] == pytest.approx(1.5, abs=0.3)


def test_many_codes_are_read_each_once_in_reading_order() -> None:
    """A tray of twelve."""
    picture = np.full((700, 900), 230, np.uint8)
    for row in range(3):
        for column in range(4):
            made = code("DataMatrix", f"PART-{row}{column}", 5)
            picture[40 + 220 * row :, 40 + 210 * column :][: made.shape[0], : made.shape[1]] = made
    found = read(picture, "DataMatrix", at_least=12, at_most=12)
    assert [each.text for each in found.codes] == [f"PART-{r}{c}" for r in range(3) for c in range(4)]
    assert found.attempts == ["full"]


def test_two_codes_with_one_content_are_two_codes() -> None:
    """At two places."""
    assert len(read(placed(code("DataMatrix"), code("DataMatrix")), at_least=2).codes) == 2


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((1, 1), np.uint8),
        np.full((1, 1), 255, np.uint8),
        np.zeros((1, 3000), np.uint8),
        np.zeros((3000, 2), np.uint8),
        np.zeros((480, 640), np.uint8),
        np.full((480, 640), 255, np.uint8),
        RNG.integers(0, 256, (480, 640), dtype=np.uint8),
        np.tile(np.array([0, 0, 0, 255, 255, 255], np.uint8), (480, 100)),
        np.indices((480, 640)).sum(axis=0).astype(np.uint8) % 2 * 255,
    ],
    ids=["pixel", "white pixel", "line", "column", "black", "white", "noise", "stripes", "chequers"],
)
@pytest.mark.parametrize("effort", list(Effort))
def test_nothing_is_read_where_nothing_is(picture: Gray, effort: Effort) -> None:
    """Neither a content nor an exception, whatever is tried."""
    assert read(picture.astype(np.uint8), effort=effort, at_most=3).codes == []


def test_twenty_megapixels_take_a_bounded_time() -> None:
    """The worst case, noise, in the quick mode and with the time limit at 0; a small code in it is found."""
    noise = RNG.integers(0, 256, (3648, 5472), dtype=np.uint8)
    assert read(noise, effort=Effort.QUICK).attempts == ["reduced"]
    made = code("DataMatrix")
    noise[2000 : 2000 + made.shape[0], 4000 : 4000 + made.shape[1]] = made
    found = read(noise, "DataMatrix", effort=Effort.THOROUGH, at_least=2, at_most=2, time_limit_s=0.0)
    assert [each.box[:2] for each in found.codes] == [(4020, 2020)] or abs(found.codes[0].box[0] - 4020) <= 4
    assert found.attempts == ["full"]
    assert found.cut_short is not None and "time limit of 0 s" in found.cut_short


def test_a_stop_ends_the_search_between_attempts() -> None:
    """What a cancelled call asks for."""
    found = read(np.zeros((300, 300), np.uint8), effort=Effort.THOROUGH, stop=lambda: True)
    assert (found.attempts, found.cut_short) == ([], "stopped")


def test_names_of_symbologies_are_taken_as_people_write_them() -> None:
    """And refused with what there is."""
    assert symbologies.named("data matrix, qr-code".replace("-code", "")) == ("DataMatrix", "QR")
    assert symbologies.named("CODE 128,EAN13") == ("Code128", "EAN-13")
    assert symbologies.named("any") == symbologies.NAMES
    for wrong in ("", "Code129", "QR,,DataMatrix"):
        with pytest.raises(SettingsError, match=r"isn't known; hint: known are any, matrix"):
            symbologies.named(wrong)
