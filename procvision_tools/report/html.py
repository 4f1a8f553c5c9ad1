"""One self-contained page of inspections: pictures inlined, boxes as SVG over them, nothing fetched.

Its script, which the page's policy names by its digest, filters, sorts, zooms and pans; without it all is still there.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from procvision_sdk.jsontext import json_text
from procvision_sdk.private_files import write_private
from procvision_tools.extras import need
from procvision_tools.report.inspection import VERDICTS, Inspection, Picture
from procvision_tools.report.palette import colour_of, text_on
from procvision_tools.report.pictures import Shown, show, thumbnail
from procvision_tools.report.provenance import Provenance, time_text
from procvision_tools.report.tags import Frame, place_tags
from procvision_tools.report.text import columns, printable

if TYPE_CHECKING:
    from procvision_sdk.results import Defect

TEMPLATE, SECTION, SCRIPTS = "page.html.jinja", "section.html.jinja", ("zoom.js", "page.js")
PAGE_BYTES = 20_000_000
"""A page stays below that, so that a browser opens it at once and a mail takes it."""
WHOLE_PICTURES_BYTES = 8_000_000
"""So far sections have their pictures whole."""
SECTIONS_BYTES = 15_500_000
"""So far sections have small pictures; after them an inspection is a row."""
THUMBNAILS_BYTES = 3_000_000
"""So far rows have thumbnails."""
ROW_BYTES = 500
"""What a row takes beside its texts, about."""
ROW_CHARACTERS = 300
"""A row's texts are cut after so many."""
SMALL_SIDE_PX = 256
"""The longer side of a small picture."""
DETAIL_PX = 80
"""A defect's close-up shows at least so many pixels of the picture, in both directions."""
GLYPH_WIDTH = 0.61
"""Of a monospaced font's size."""


@frozen
class NextStep:
    """Something to try, and the command line for it."""

    what: str
    command: str


@frozen
class Mark:
    """A defect as it is drawn: box and tag in pixels of the picture, close-up, colours."""

    number: int
    label: str
    score: str
    place: str
    size: str
    box: Frame
    tag: Frame
    tag_origin: str
    """Where it keeps its place when it becomes smaller, as the picture is zoomed into: the point next to its box."""
    detail: Frame
    colour: str
    ink: str


@frozen
class Panel:
    """An inspection as the section's template takes it; the pixels are let go of."""

    number: int
    inspection: Inspection
    width: int
    height: int
    font_px: float
    picture: Shown | None
    shown_as: str
    """How the picture is shown where that is not as it is; "" where it is."""
    reference: Shown | None
    """The picture, or None where it is another panel's, too: ``reference_of`` is that one's number."""
    reference_of: int
    reference_size: tuple[int, int]
    marks: tuple[Mark, ...]
    params: tuple[tuple[str, str], ...]
    times: tuple[tuple[str, str, float], ...]

    @property
    def has_body(self) -> bool:
        """Whether there is something below the verdict."""
        one = self.inspection
        return any([self.picture, self.reference_of, self.marks, self.params, self.times,
                    one.measurements, one.command, one.logs])  # fmt: skip


@frozen
class Row:
    """An inspection in the overview."""

    number: int
    verdict: str
    severity: int
    title: str
    reason: str
    defects: int
    took_ms: float
    thumbnail: str
    detailed: bool
    """Whether it has a section of its own."""


@frozen
class Script:
    """The page's script, and what allows it alone to run."""

    text: Any
    digest: str


class _Sections:
    """Makes the sections one by one, and holds a page's size within its bounds."""

    def __init__(self) -> None:
        self.texts: list[Any] = []
        self.algorithms: dict[str, None] = {}
        self.first: dict[str, str] = {}
        self.rows: list[Row] = []
        self._used = self._used_by_rows = 0
        self._whole = self._detailed = True
        self._references: list[tuple[Picture, int]] = []

    def add(self, inspection: Inspection) -> None:
        """Take the next inspection: a row for each, and a section as long as there is room."""
        number = len(self.rows) + 1
        self.algorithms[f"{inspection.algorithm} {inspection.version}".rstrip()] = None
        detailed = self._add_section(number, inspection)
        row = _row(number, inspection, with_picture=self._used_by_rows < THUMBNAILS_BYTES, detailed=detailed)
        self._used_by_rows += len(row.thumbnail) + len(row.title) + len(row.reason) + ROW_BYTES
        self.rows.append(row)
        self.first.setdefault(row.verdict, f"{'i' if detailed else 'r'}{number}")

    def _add_section(self, number: int, inspection: Inspection) -> bool:
        for whole, limit in ((True, WHOLE_PICTURES_BYTES), (False, SECTIONS_BYTES)):
            if not self._detailed or (whole and not self._whole):
                continue
            panel = self._panel(number, inspection, whole=whole)
            text = template(SECTION).render(panel=panel, time_text=time_text)
            size = len(text.encode("utf-8", "replace"))
            if self._used + size <= limit or not self.texts:
                self._used += size
                self.texts.append(markup(text))
                if panel.reference is not None and inspection.reference is not None:
                    self._references.append((inspection.reference, number))
                return True
            if whole:
                self._whole = False
            else:
                self._detailed = False
        return False

    def _panel(self, number: int, inspection: Inspection, *, whole: bool) -> Panel:
        picture, reference = inspection.picture, inspection.reference
        reference_of = next((of for known, of in self._references if known is reference), 0)
        height, width = picture.shape[:2] if picture is not None else (0, 0)
        font_px = max(8.0, max(width, height) / 48)
        marks = _marks(inspection.defects, width, height, font_px)
        longest = max([*inspection.times_ms.values(), 1e-9])
        shown = new = None
        if picture is not None:
            shown = show(picture, [mark.detail for mark in marks] if whole else (), None if whole else SMALL_SIDE_PX)
        if reference is not None and not reference_of and (whole or not self.texts):
            new, reference_of = show(reference, [mark.detail for mark in marks]), number
        return Panel(
            number=number,
            inspection=evolve(inspection, picture=None, reference=None),
            width=width,
            height=height,
            font_px=font_px,
            picture=shown,
            shown_as="" if shown is None else _shown_as(shown, width),
            reference=new,
            reference_of=reference_of,
            reference_size=(0, 0) if reference is None else (reference.shape[1], reference.shape[0]),
            marks=marks,
            params=_params(inspection.params),
            times=tuple(
                (name, f"{value:.1f} ms", round(100 * value / longest, 1))
                for name, value in inspection.times_ms.items()
            ),
        )


def render(
    inspections: Iterable[Inspection],
    *,
    title: str = "Inspection",
    next_steps: Sequence[NextStep] = (),
    counts: Mapping[str, int] | None = None,
    notes: Sequence[str] = (),
    provenance: Provenance | None = None,
) -> str:
    """Give the page, ``next_steps`` at its end; ``counts`` by verdict, where there were more than are shown.

    The inspections are taken one at a time, so that their pictures need not be in memory together. Each has a row. The
    first have their pictures whole, the next small ones, and those after them no section, as `PAGE_BYTES` allows: the
    page says so. ``notes`` say what was left out. ``provenance`` is this process's by default.

    All text is escaped. Raises `MissingExtraError` where jinja2 or Pillow is not installed.
    """
    page = _Sections()
    for inspection in inspections:
        page.add(inspection)
    shown = Counter(row.verdict for row in page.rows)
    without = sum(not row.detailed for row in page.rows)
    if without:
        notes = [*notes, f"the last {without} have a row only: a page holds {PAGE_BYTES / 1e6:.0f} MB at most"]
    text: str = template(TEMPLATE).render(
        title=title,
        sections=page.texts,
        rows=page.rows,
        first=page.first,
        shown={verdict: shown.get(verdict, 0) for verdict in VERDICTS},
        counts={verdict: (shown if counts is None else counts).get(verdict, 0) for verdict in VERDICTS},
        algorithms=list(page.algorithms),
        provenance=provenance or Provenance.here(),
        script=script(),
        next_steps=next_steps,
        notes=notes,
    )
    return text


def write(path: Path, inspections: Iterable[Inspection], **more: Any) -> None:
    """Write the page as UTF-8; takes what `render` takes. Raises OSError, and `MissingExtraError` as `render` does."""
    write_private(path, render(inspections, **more))


def _harmless(value: Any) -> Any:
    """Show control characters; what a macro made is markup already, of values that came through here."""
    return printable(value, keep="\n\t") if isinstance(value, str) and not hasattr(value, "__html__") else value


@cache
def template(name: str) -> Any:
    """Give a template of the reports, which escapes what it is given. Raises `MissingExtraError` without Jinja2."""
    jinja2 = need("jinja2", "Jinja2", "an HTML page")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_file),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    return environment.get_template(name)


@cache
def script() -> Script:
    """Give the script of both reports. The page's policy names its digest, so no other script runs, wherever it stands.

    Without it, as where a mail program shows the page, all of the page is still read.
    """
    text = "".join(map(_file, SCRIPTS))
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(markup(text), f"sha256-{digest}")


def markup(text: str) -> Any:
    """Mark what a template made, or this package brings, as HTML that needs no escaping."""
    return need("markupsafe", "MarkupSafe", "an HTML page").Markup(text)


def _file(name: str) -> str:
    return resources.files("procvision_tools.report").joinpath(name).read_text(encoding="utf-8")


def _row(number: int, inspection: Inspection, *, with_picture: bool, detailed: bool) -> Row:
    picture = inspection.picture
    return Row(
        number=number,
        verdict=inspection.verdict,
        severity=VERDICTS.index(inspection.verdict),
        title=_cut(inspection.title),
        reason=_cut(inspection.reason),
        defects=len(inspection.defects),
        took_ms=round(sum(ms for name, ms in inspection.times_ms.items() if name.startswith("execute")), 3),
        thumbnail=thumbnail(picture) if picture is not None and with_picture else "",
        detailed=detailed,
    )


def _cut(text: str) -> str:
    return text if len(text) <= ROW_CHARACTERS else f"{text[:ROW_CHARACTERS]}…"


def _shown_as(shown: Shown, width: int) -> str:
    if shown.width == width:
        return ""
    exact = ", whole at the defects" if shown.parts else ""
    return f"shown {shown.width} pixels wide{exact}"


def _params(params: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((key, value if isinstance(value, str) else json_text(value)) for key, value in params.items())


def _marks(defects: Sequence[Defect], width: int, height: int, font_px: float) -> tuple[Mark, ...]:
    gap = font_px / 3
    around = [Frame(d.x - gap, d.y - gap, d.width + 2 * gap, d.height + 2 * gap) for d in defects]
    boxes = [box.within(width, height) for box in around]
    texts = [f"{number} {printable(defect.label)}" for number, defect in enumerate(defects, 1)]
    sizes = [(columns(text) * GLYPH_WIDTH * font_px + font_px * 0.7, font_px * 1.3) for text in texts]
    tags = place_tags(boxes, sizes, width, height)
    return tuple(
        Mark(
            number=number,
            label=defect.label,
            score=f"{defect.score:.2f}",
            place=f"{defect.x:g}, {defect.y:g}",
            size=f"{defect.width:g} x {defect.height:g}",
            box=box,
            tag=tag,
            tag_origin=tag_origin(tag, box),
            detail=detail_of(defect, width, height),
            colour=colour_of(defect.label),
            ink=text_on(colour_of(defect.label)),
        )
        for number, (defect, box, tag) in enumerate(zip(defects, boxes, tags, strict=True), 1)
    )


def tag_origin(tag: Frame, box: Frame) -> str:
    """Give the point of a tag that is nearest to its box's centre, as CSS has it in the picture's pixels."""
    x = min(max(box.x + box.width / 2, tag.x), tag.x + tag.width)
    y = min(max(box.y + box.height / 2, tag.y), tag.y + tag.height)
    return f"{x:g}px {y:g}px"


def detail_of(box: Defect | Frame, width: int, height: int) -> Frame:
    """Give what a close-up of a box shows of a picture of that size, square where there is room."""
    side = max(DETAIL_PX, 1.6 * max(box.width, box.height))
    x, y = box.x + box.width / 2 - side / 2, box.y + box.height / 2 - side / 2
    return Frame(_clamped(x, side, width), _clamped(y, side, height), min(side, width), min(side, height))


def _clamped(start: float, length: float, limit: int) -> float:
    """Move a stretch so that it lies inside 0 to limit."""
    return max(0.0, min(start, limit - length))
