"""Finds codes in a picture and reads them.

One reading of the picture always takes place: at full size, or reduced where QUICK is asked for. Where fewer codes
than wanted were read, further attempts follow, as the effort allows: the contrast stretched, bar codes inverted,
stripes turned upright, the picture enlarged, smoothed, equalised, reduced. No attempt begins when the time is up. What
was read by whichever attempt counts; of two readings at one place the first does.

An EAN or UPC is read a second time, in other scales, since its one check digit lets misreads pass: where no second
reading agrees, or one differs, it is uncertain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic
from typing import Any, NamedTuple

import cv2
import numpy as np
import zxingcpp

from procvision_codes import quality, symbologies
from procvision_codes.geometry import IDENTITY, Affine, Box, Corners, box_of, moved, overlapping, same_place, scaling
from procvision_codes.picture import Gray, reduced_to
from procvision_codes.stripes import Stripes, find_stripes, upright

QUICK_PX = 2_000_000
"""What a picture is reduced to for QUICK."""
MAX_ENLARGED_PX = 4_000_000
"""Larger pictures aren't enlarged: small modules in them are the lens' business."""
FAINT_RANGE = 96
"""Grey values between the darkest and the brightest pixel, of 255: zxing-cpp 3.1 finds no Data Matrix of 15."""
_SECOND_BORDER_PX = 16
_SECOND_AVERAGED_PX = 5
MAX_CODES = 255
"""As many codes as zxing-cpp tells of at once."""


class Effort(StrEnum):
    """How hard to try."""

    QUICK = "quick"
    """The picture reduced to 2 megapixels, once."""
    NORMAL = "normal"
    """At full size; stretched, inverted, with stripes turned upright and enlarged if codes are missing."""
    THOROUGH = "thorough"
    """And smoothed, equalised and reduced, until as many codes as may be there are read."""


@dataclass(frozen=True, eq=False)
class Code:
    """One code that was read. Coordinates are the searched picture's pixels."""

    symbology: str
    text: str
    """Its content, decoded as its character set says or as zxing-cpp guesses."""
    content: bytes
    """Its content as bytes."""
    corners: Corners
    box: Box
    contrast: float
    """0 to 1, see `quality.contrast`."""
    attempt: str
    """What the picture was when the code was read: `full`, `turned` …"""
    doubt: str | None = None
    """Why the content is uncertain; None where it is believed."""
    gs1: bool = False
    """Whether FNC1 in the first position marks it as GS1's."""
    facts: dict[str, Any] = field(default_factory=dict)
    """`symbology_identifier` (ISO/IEC 15424), `orientation_degrees`, and where told `error_correction_level`,
    `unused_error_correction`, `version`, `module_px`."""

    @property
    def digest(self) -> str:
        """What tells one content from another."""
        return hashlib.sha256(self.content).hexdigest()[:32]


class Unreadable(NamedTuple):
    """A place that looks like a code and can't be read."""

    what: str
    """The symbology, or `stripes`."""
    why: str
    box: Box


@dataclass
class Found:
    """What a search gave."""

    codes: list[Code] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    attempts: list[str] = field(default_factory=list)
    cut_short: str | None = None
    """Why attempts were left out, None where none was."""


class _View(NamedTuple):
    name: str
    gray: Gray
    back: Affine
    names: tuple[str, ...]
    binarizer: zxingcpp.Binarizer = zxingcpp.Binarizer.LocalAverage


def read_codes(
    gray: Gray,
    names: tuple[str, ...],
    *,
    effort: Effort = Effort.NORMAL,
    at_least: int = 1,
    at_most: int = 1,
    time_limit_s: float = 2.0,
    stop: Callable[[], bool] = lambda: False,
) -> Found:
    """Search a picture.

    Args:
        gray: H x W, contiguous.
        names: symbologies, of `symbologies.NAMES`.
        at_least: further attempts are made while fewer codes were read; THOROUGH goes on to `at_most`.
        time_limit_s: from the start; the first reading takes place whatever it costs.
        stop: asked between attempts.
    """
    found = Found()
    began = monotonic()
    wanted = at_most if effort is Effort.THOROUGH else at_least
    stripes: list[Stripes] = []
    for view in _views(gray, names, effort, stripes):
        if found.attempts:
            if len(found.codes) >= wanted:
                break
            if monotonic() - began > time_limit_s:
                found.cut_short = f"the time limit of {time_limit_s:g} s was over"
                break
        if stop():
            found.cut_short = "stopped"
            break
        found.attempts.append(view.name)
        _read_view(gray, view, found)
    if len(found.codes) < wanted:
        _note_stripes(gray, stripes, found)
    found.unreadable = [
        each for each in found.unreadable if not any(_holds_centre(each.box, code) for code in found.codes)
    ]
    found.codes.sort(key=lambda code: (code.box[1], code.box[0]))
    return found


def _views(gray: Gray, names: tuple[str, ...], effort: Effort, stripes: list[Stripes]) -> Iterator[_View]:
    if effort is Effort.QUICK:
        small = reduced_to(gray, QUICK_PX)
        yield _View("full" if small is gray else "reduced", small, _back(gray, small), names)
        return
    yield _View("full", gray, IDENTITY, names)
    darkest, brightest, _, _ = cv2.minMaxLoc(gray)
    if 0 < brightest - darkest <= FAINT_RANGE:
        stretched = np.empty_like(gray)
        yield _View("stretched", _gray(cv2.normalize(gray, stretched, 0, 255, cv2.NORM_MINMAX)), IDENTITY, names)
    striped = tuple(name for name in names if name in symbologies.LINEAR or name in symbologies.STACKED)
    if striped:
        # zxing-cpp inverts matrix codes by itself.
        yield _View("inverted", _gray(cv2.bitwise_not(gray)), IDENTITY, striped)
        stripes += find_stripes(gray)
        for patch in stripes:
            turned, back = upright(gray, patch)
            yield _View("turned", turned, back, striped)
        stacked = tuple(name for name in striped if name in symbologies.STACKED)
        for patch in stripes if stacked else ():
            turned, back = upright(gray, patch, wide=True)
            yield _View("turned", turned, back, stacked)
    if gray.size * 4 <= MAX_ENLARGED_PX:
        yield from _enlarged("enlarged", gray, names)
    if effort is Effort.THOROUGH:
        yield from _helped(gray, names)


def _helped(gray: Gray, names: tuple[str, ...]) -> Iterator[_View]:
    smooth = _gray(cv2.GaussianBlur(gray, (0, 0), 1.2))
    yield _View("smoothed", smooth, IDENTITY, names)
    half = _gray(cv2.resize(gray, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)) if min(gray.shape) > 1 else gray
    yield _View("reduced", half, _back(gray, half), names)
    yield _View("median", _gray(cv2.medianBlur(gray, 5)), IDENTITY, names)
    yield _View("equalised", _gray(cv2.createCLAHE(4.0, (8, 8)).apply(smooth)), IDENTITY, names)
    yield _View("one threshold", smooth, IDENTITY, names, zxingcpp.Binarizer.GlobalHistogram)
    sharp = _gray(cv2.addWeighted(gray, 3.0, cv2.GaussianBlur(gray, (0, 0), 3.0), -2.0, 0))
    if gray.size * 4 <= MAX_ENLARGED_PX:
        yield from _enlarged("sharpened", sharp, names)
    else:
        yield _View("sharpened", sharp, IDENTITY, names)


def _enlarged(name: str, gray: Gray, names: tuple[str, ...]) -> Iterator[_View]:
    large = _gray(cv2.resize(gray, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))
    yield _View(name, large, _back(gray, large), names)


def _gray(picture: Any) -> Gray:
    return np.asarray(picture, dtype=np.uint8)


def _back(gray: Gray, other: Gray) -> Affine:
    return IDENTITY if other is gray else scaling(gray.shape[1] / other.shape[1], gray.shape[0] / other.shape[0])


def _read_view(gray: Gray, view: _View, found: Found) -> None:
    size = gray.shape[1], gray.shape[0]
    for read in zxingcpp.read_barcodes(
        view.gray,
        formats=symbologies.formats(view.names),
        text_mode=zxingcpp.TextMode.Plain,
        binarizer=view.binarizer,
        return_errors=True,
    ):
        corners = moved(_corners(read), view.back)
        symbology = symbologies.name_of(read.format)
        if not read.valid:
            why = read.error.type.name.lower() if read.error is not None else "unknown"
            found.unreadable.append(Unreadable(symbology, f"{why} error", box_of(corners, size)))
        elif not any(_same(read.bytes, corners, code) for code in found.codes):
            found.codes.append(_code(gray, read, symbology, corners, view))


def _doubt(view: Gray, symbology: str, first: zxingcpp.Barcode) -> str | None:
    """Return why an EAN or UPC that was read in a view is uncertain; None if a second reading agrees."""
    corners = _corners(first)
    x, y, width, height = box_of(corners, (view.shape[1], view.shape[0]))
    border = _SECOND_BORDER_PX + max(width, height) // 8
    left, top = max(0, x - border), max(0, y - border)
    patch = np.ascontiguousarray(view[top : y + height + border, left : x + width + border])
    agreed = False
    for name, gray, back in _second_views(patch, lying=_orientation(corners) % 180 in range(45, 136)):
        for second in zxingcpp.read_barcodes(
            gray, formats=symbologies.formats((symbology,)), text_mode=zxingcpp.TextMode.Plain
        ):
            place = moved(_corners(second), back) + np.array([left, top])
            if second.bytes == first.bytes:
                agreed = agreed or overlapping(place, corners)
            elif same_place(place, corners):
                return f"a second reading, {name}, gives {second.text}"
    return None if agreed else "no second reading agrees"


def _second_views(patch: Gray, *, lying: bool) -> Iterator[tuple[str, Gray, Affine]]:
    """Yield an EAN's or UPC's place in other scales, and the way back; `lying` is one whose bars lie in the picture.

    Of twelve views that were tried these confirmed most right readings of damaged codes and fewest misreads. Another
    binariser tells nothing: it repeated all of 601 readings.
    """
    fine = patch.size * 4 <= MAX_ENLARGED_PX
    along = cv2.blur(patch, (_SECOND_AVERAGED_PX, 1) if lying else (1, _SECOND_AVERAGED_PX))
    across = ((1.0, 2.0) if lying else (2.0, 1.0)) if fine else ((1.0, 0.75) if lying else (0.75, 1.0))
    both = 2.0 if fine else 0.75
    for name, gray, fx, fy in (("averaged along the bars", along, both, both), ("stretched", patch, *across)):
        how = cv2.INTER_CUBIC if fine else cv2.INTER_AREA
        view = _gray(cv2.resize(gray, None, fx=fx, fy=fy, interpolation=how))
        yield name, view, scaling(patch.shape[1] / view.shape[1], patch.shape[0] / view.shape[0])


def _corners(read: zxingcpp.Barcode) -> Corners:
    place = read.position
    points = (place.top_left, place.top_right, place.bottom_right, place.bottom_left)
    return np.array([[point.x, point.y] for point in points], dtype=float)


def _same(content: bytes, corners: Corners, code: Code) -> bool:
    # Boxes around slanted bar codes are generous: a neighbour's centre may lie in them, but not each in the other's.
    near = overlapping if content == code.content else same_place
    return near(corners, code.corners)


def _code(gray: Gray, read: zxingcpp.Barcode, symbology: str, corners: Corners, view: _View) -> Code:
    facts: dict[str, Any] = {
        "symbology_identifier": read.symbology_identifier,
        "orientation_degrees": _orientation(corners),
        **({"error_correction_level": read.ec_level} if read.ec_level else {}),
        **quality.from_reader(read.extra),
    }
    module = quality.module_px(symbology, facts.get("version", ""), corners)
    if module is not None:
        facts["module_px"] = round(module, 2)
    return Code(
        symbology=symbology,
        text=read.text,
        content=read.bytes,
        corners=corners,
        box=box_of(corners, (gray.shape[1], gray.shape[0])),
        contrast=quality.contrast(gray, corners),
        attempt=view.name,
        doubt=_doubt(view.gray, symbology, read) if symbology in symbologies.RETAIL else None,
        gs1=read.content_type is zxingcpp.ContentType.GS1,
        facts=facts,
    )


def _orientation(corners: Corners) -> int:
    x, y = corners[1] - corners[0]
    return int(np.rint(np.degrees(np.arctan2(y, x)))) % 360


def _note_stripes(gray: Gray, stripes: list[Stripes], found: Found) -> None:
    size = gray.shape[1], gray.shape[0]
    for patch in stripes:
        if not any(overlapping(patch.corners, code.corners) for code in found.codes):
            found.unreadable.append(
                Unreadable("stripes", "like a bar code's, and can't be read", box_of(patch.corners, size))
            )


def _holds_centre(box: Box, code: Code) -> bool:
    x, y = code.corners.mean(axis=0)
    return bool(box[0] <= x <= box[0] + box[2] and box[1] <= y <= box[1] + box[3])
