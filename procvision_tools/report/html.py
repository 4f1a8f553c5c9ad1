"""One self-contained page of inspections: pictures inlined, boxes as SVG over them, no script, nothing fetched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from procvision_sdk.jsontext import json_text
from procvision_sdk.private_files import write_private
from procvision_tools.extras import need
from procvision_tools.report.inspection import VERDICTS, Inspection, Picture
from procvision_tools.report.palette import colour_of, text_on
from procvision_tools.report.pictures import data_uri
from procvision_tools.report.tags import Frame, place_tags
from procvision_tools.report.text import printable

if TYPE_CHECKING:
    from procvision_sdk.results import Defect

TEMPLATE = "page.html.jinja"
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
    detail: Frame
    colour: str
    ink: str


@frozen
class Panel:
    """An inspection as the template takes it."""

    number: int
    inspection: Inspection
    width: int
    height: int
    font_px: float
    picture: str
    reference: str
    """The picture, or "" where it is another panel's, too: ``reference_of`` is the number of the panel that has it."""
    reference_of: int
    marks: tuple[Mark, ...]
    params: tuple[tuple[str, str], ...]
    times: tuple[tuple[str, str, float], ...]


def render(
    inspections: Sequence[Inspection],
    *,
    title: str = "Inspection",
    next_steps: Sequence[NextStep] = (),
    counts: Mapping[str, int] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Give the page, ``next_steps`` at its end; ``counts`` by verdict, where there were more than are shown.

    ``notes`` say what was left out.

    All text is escaped. Raises `MissingExtraError` where jinja2 or Pillow is not installed.
    """
    panels = [_panel(number, inspection, inspections) for number, inspection in enumerate(inspections, 1)]
    if counts is None:
        counts = Counter(inspection.verdict for inspection in inspections)
    marks = max((len(panel.marks) for panel in panels), default=0)
    text: str = template(TEMPLATE).render(
        title=title,
        panels=panels,
        counts={verdict: counts.get(verdict, 0) for verdict in VERDICTS},
        next_steps=next_steps,
        notes=notes,
        most_marks=range(1, marks + 1),
    )
    return text


def write(path: Path, inspections: Sequence[Inspection], **more: Any) -> None:
    """Write the page as UTF-8; takes what `render` takes. Raises OSError, and `MissingExtraError` as `render` does."""
    write_private(path, render(inspections, **more))


def _harmless(value: Any) -> Any:
    """Show control characters; what a macro made is markup already, of values that came through here."""
    return printable(value, keep="\n\t") if isinstance(value, str) and not hasattr(value, "__html__") else value


@cache
def template(name: str) -> Any:
    """Give a template of the reports, which escapes what it is given. Raises `MissingExtraError` without Jinja2."""
    jinja2 = need("jinja2", "Jinja2", "an HTML page")
    home = resources.files("procvision_tools.report")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda file: home.joinpath(file).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    return environment.get_template(name)


def _panel(number: int, inspection: Inspection, inspections: Sequence[Inspection]) -> Panel:
    reference = inspection.reference
    first = next((at for at, other in enumerate(inspections, 1) if other.reference is reference), number)
    height, width = inspection.picture.shape[:2] if inspection.picture is not None else (0, 0)
    font_px = max(8.0, max(width, height) / 48)
    longest = max([*inspection.times_ms.values(), 1e-9])
    return Panel(
        number=number,
        inspection=inspection,
        width=width,
        height=height,
        font_px=font_px,
        picture=_uri(inspection.picture),
        reference=_uri(reference) if first == number else "",
        reference_of=first if reference is not None else 0,
        marks=_marks(inspection.defects, width, height, font_px),
        params=_params(inspection.params),
        times=tuple(
            (name, f"{value:.1f} ms", round(100 * value / longest, 1)) for name, value in inspection.times_ms.items()
        ),
    )


def _uri(picture: Picture | None) -> str:
    return "" if picture is None else data_uri(picture)


def _params(params: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((key, value if isinstance(value, str) else json_text(value)) for key, value in params.items())


def _marks(defects: Sequence[Defect], width: int, height: int, font_px: float) -> tuple[Mark, ...]:
    gap = font_px / 3
    around = [Frame(d.x - gap, d.y - gap, d.width + 2 * gap, d.height + 2 * gap) for d in defects]
    boxes = [box.within(width, height) for box in around]
    texts = [f"{number} {defect.label}" for number, defect in enumerate(defects, 1)]
    sizes = [(len(text) * GLYPH_WIDTH * font_px + font_px * 0.7, font_px * 1.3) for text in texts]
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
            detail=detail_of(defect, width, height),
            colour=colour_of(defect.label),
            ink=text_on(colour_of(defect.label)),
        )
        for number, (defect, box, tag) in enumerate(zip(defects, boxes, tags, strict=True), 1)
    )


def detail_of(box: Defect | Frame, width: int, height: int) -> Frame:
    """Give what a close-up of a box shows of a picture of that size, square where there is room."""
    side = max(DETAIL_PX, 1.6 * max(box.width, box.height))
    x, y = box.x + box.width / 2 - side / 2, box.y + box.height / 2 - side / 2
    return Frame(_clamped(x, side, width), _clamped(y, side, height), min(side, width), min(side, height))


def _clamped(start: float, length: float, limit: int) -> float:
    """Move a stretch so that it lies inside 0 to limit."""
    return max(0.0, min(start, limit - length))
