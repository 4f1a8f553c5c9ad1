"""Draws an inspection's boxes into its picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from procvision_sdk.results import Defect
from procvision_tools.extras import need
from procvision_tools.report.fonts import font_for
from procvision_tools.report.inspection import Picture
from procvision_tools.report.palette import colour_of, text_on
from procvision_tools.report.pictures import write_png
from procvision_tools.report.tags import Frame, place_tags
from procvision_tools.report.text import printable

MIN_FONT_PX = 11


def draw(picture: Picture, defects: Sequence[Defect]) -> Picture:
    """Give an H x W x 3 RGB copy of a picture with each defect's box, label and score.

    Boxes stand just outside of what they mark, so that they hide nothing of it. Line and text grow with the picture.
    A label whose letters no font of this machine has is drawn as its number among `undrawable`.
    Raises `MissingExtraError` where Pillow is not installed.
    """
    image_module = need("PIL.Image", "Pillow", "a picture with boxes")
    draw_module = need("PIL.ImageDraw", "Pillow", "a picture with boxes")
    image = image_module.fromarray(np.ascontiguousarray(picture)).convert("RGB")
    pen = draw_module.Draw(image)
    line = max(2, round(max(image.size) / 400))
    size = max(MIN_FONT_PX, max(image.size) / 50)
    instead = {label: f"label {number} (no font)" for number, label in enumerate(undrawable(defects), 1)}
    texts = [f"{instead.get(defect.label) or printable(defect.label)} {defect.score:.2f}".strip() for defect in defects]
    fonts = [font_for(text, size) or font_for("", size) for text in texts]
    boxes = [
        Frame(defect.x - 2 * line, defect.y - 2 * line, defect.width + 4 * line, defect.height + 4 * line).within(
            image.width, image.height
        )
        for defect in defects
    ]
    ends = [pen.textbbox((0, 0), text, font=font)[2:] for text, font in zip(texts, fonts, strict=True)]
    sizes = [(float(wide + 4 * line), float(high + 2 * line)) for wide, high in ends]
    tags = place_tags(boxes, sizes, image.width, image.height, gap=1)
    for defect, text, font, box, tag in zip(defects, texts, fonts, boxes, tags, strict=True):
        colour = colour_of(defect.label)
        right, bottom = box.x + box.width - 1, box.y + box.height - 1
        pen.rectangle((box.x - 1, box.y - 1, right + 1, bottom + 1), outline=text_on(colour), width=line + 2)
        pen.rectangle((box.x, box.y, right, bottom), outline=colour, width=line)
        pen.rectangle((tag.x, tag.y, tag.x + tag.width, tag.y + tag.height), fill=colour)
        pen.text((tag.x + 2 * line, tag.y + line / 2), text, fill=text_on(colour), font=font)
    return np.asarray(image, np.uint8)


def undrawable(defects: Sequence[Defect]) -> tuple[str, ...]:
    """Give the labels for which there is no font here, each once. Raises `MissingExtraError` without Pillow."""
    labels = dict.fromkeys(defect.label for defect in defects)
    return tuple(label for label in labels if font_for(printable(label), MIN_FONT_PX) is None)


def write(path: Path, picture: Picture, defects: Sequence[Defect]) -> None:
    """Draw the boxes and write the picture as PNG. Raises OSError, and `MissingExtraError` without Pillow."""
    write_png(path, draw(picture, defects))
