"""An EAN or UPC is believed when a second reading agrees; one that is uncertain is never an OK."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from code_pictures import DEFAULTS, Gray, code, placed, turned

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from damaged import damaged, plain, printed

from procvision_codes import symbologies
from procvision_codes.algorithm import CodeReader
from procvision_codes.reading import Code, Found, read_codes
from procvision_codes.settings import settings_of
from procvision_codes.verification import verify
from procvision_sdk import Ng, Session
from procvision_testing.lent import LentPictures

RETAIL = ("EAN-13", "EAN-8", "UPC-A", "UPC-E")


def made(symbology: str, scale: int = 3) -> Gray:
    """A code with its quiet zone."""
    return code("EAN-13", "0012345678905", scale) if symbology == "UPC-A" else code(symbology, scale=scale)


@pytest.mark.parametrize("symbology", RETAIL)
@pytest.mark.parametrize("degrees", [0, 5, 88, 90, 180, 268, 45, 200])
def test_a_whole_code_is_believed_at_any_angle(symbology: str, degrees: int) -> None:
    """Also where its bars lie, and where it is read from a patch that was turned."""
    found = read_codes(turned(placed(made(symbology), ground=255), degrees), symbologies.named(symbology))
    if symbology == "UPC-E" and not found.codes:
        pytest.skip("UPC-E at an angle is often missed")
    assert [each.doubt for each in found.codes] == [None]


@pytest.mark.parametrize("change", ["inverted", "faint", "small", "large", "at the edge"])
def test_a_code_that_takes_another_attempt_is_believed(change: str) -> None:
    """The second reading begins where the first ended: in the picture of that attempt."""
    picture = placed(made("EAN-13"))
    if change == "inverted":
        picture = (255 - picture).astype(np.uint8)
    elif change == "faint":
        picture = (120 + picture // 16).astype(np.uint8)
    elif change == "small":
        picture = np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    elif change == "large":
        picture = np.ascontiguousarray(np.kron(made("EAN-13"), np.ones((6, 6), np.uint8)))
    else:
        picture = np.ascontiguousarray(made("EAN-13")[:, 4:-4])
    (found,) = read_codes(picture, ("EAN-13",)).codes
    assert found.doubt is None


MISREAD = (("EAN-13", 285), ("EAN-13", 338), ("EAN-8", 254), ("UPC-A", 166), ("UPC-A", 538))
"""Of the codes of `damaged.py`."""


def _misread(symbology: str, number: int) -> tuple[Gray, bytes]:
    rng = np.random.default_rng([*symbology.encode(), number])
    whole, content = printed(rng, symbology)
    return damaged(rng, whole), content


@pytest.mark.parametrize(("symbology", "number"), MISREAD)
def test_a_misread_is_no_ok(symbology: str, number: int, lent_pictures: LentPictures) -> None:
    """Codes whose damage zxing-cpp turns into another valid content."""
    picture, content = _misread(symbology, number)
    reader = CodeReader()
    reader.setup()
    params = DEFAULTS | {"symbologies": symbology}
    returned = reader.execute(1, "P1", Session("s1"), params, *lent_pictures.put(picture))
    misread = [one for one in reader.diagnostics.take()["codes"] if one["content"].encode() != content]
    assert misread, "zxing-cpp reads it right: find another misread with damaged.py"
    assert all("second reading" in one["doubt"] for one in misread)
    assert isinstance(returned, Ng)
    assert "uncertain" in {rect.label for rect in returned.rects}  # type: ignore[union-attr]
    assert "second reading" in returned.reason


def test_misreads_are_those_of_plain_zxing_cpp() -> None:
    """So the second reading is what keeps them from being believed."""
    assert any(plain(picture, symbology) not in ([], [content])
               for symbology, number in MISREAD
               for picture, content in [_misread(symbology, number)])  # fmt: skip


def _code(text: str, at: int, doubt: str | None) -> Code:
    corners = np.array([[at, 0], [at + 40, 0], [at + 40, 20], [at, 20]], dtype=float)
    return Code("EAN-13", text, text.encode(), corners, (at, 0, 41, 21), 0.9, "full", doubt)


@pytest.mark.parametrize(
    ("expected", "doubts", "least", "labels"),
    [
        ("A", ("no second reading agrees", None), 1, {"uncertain", "wrong"}),
        ("B", ("no second reading agrees", None), 1, set()),
        ("B", ("no second reading agrees", None), 2, {"uncertain"}),
        ("A", (None, "no second reading agrees"), 1, set()),
        ("A", ("x", "y"), 1, {"uncertain"}),
    ],
)
def test_an_uncertain_code_is_held_against_nothing(
    expected: str, doubts: tuple[str | None, str | None], least: int, labels: set[str]
) -> None:
    """Of two codes A and B, with others allowed: it can't be the expected one, nor one of those that must be there."""
    found = Found([_code("A", 0, doubts[0]), _code("B", 100, doubts[1])])
    params = {"match": "exact", "expected": expected, "allow_other_codes": True, "min_codes": least, "max_codes": 2}
    settings = settings_of(DEFAULTS | params, {})
    problems = verify(found, settings, (0, 0, 200, 50), {}).problems
    assert {problem.label for problem in problems} - {"missing", "wrong"} == labels - {"wrong"}
    assert bool(problems) is bool(labels)
