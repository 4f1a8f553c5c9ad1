"""The picture with its boxes."""

from __future__ import annotations

import base64
import io
import shutil
import sys

import attrs
import numpy as np
import pytest

from procvision_sdk.results import Defect
from procvision_tools.extras import MissingExtraError
from procvision_tools.report import fonts, overlay
from procvision_tools.report.palette import COLOURS, colour_of, contrast, text_on
from procvision_tools.report.pictures import read_picture, show, thumbnail, write_png
from procvision_tools.report.tags import Frame, place_tags

pytest.importorskip("PIL", reason="Pillow draws")

OPEN = Defect(100, 80, 20, 10, "open", 0.9)


def rgb(colour):
    return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))


def test_a_box_stands_round_its_defect_and_hides_nothing_of_it():
    picture = np.full((200, 300), 255, np.uint8)
    drawn = overlay.draw(picture, [OPEN])
    assert drawn.shape == (200, 300, 3)
    assert (drawn[80:90, 100:120] == 255).all()
    rows, columns = np.nonzero((drawn == rgb(COLOURS["open"])).all(axis=2))
    assert columns.min() < 100
    assert columns.max() >= 120
    assert rows.min() < 80
    assert rows.max() >= 90
    assert columns.min() > 90
    assert rows.max() < 100


def test_a_box_round_the_whole_picture_is_seen_on_all_four_sides():
    drawn = overlay.draw(np.full((200, 300), 255, np.uint8), [Defect(0, 0, 300, 200, "open", 0.9)])
    lines = (drawn == rgb(COLOURS["open"])).all(axis=2)
    assert lines[:4].any(axis=0).all()
    assert lines[-4:].any(axis=0).all()
    assert lines[:, :4].any(axis=1).all()
    assert lines[:, -4:].any(axis=1).all()


def test_the_picture_itself_stays_as_it_is():
    picture = np.zeros((50, 50, 3), np.uint8)
    picture.setflags(write=False)
    overlay.draw(picture, [Defect(10, 10, 5, 5, "copper", 0.5)])
    assert not picture.any()


def test_no_defects_give_the_picture_in_rgb():
    mono = np.arange(100, dtype=np.uint8).reshape(10, 10)
    assert np.array_equal(overlay.draw(mono, []), np.repeat(mono[:, :, None], 3, axis=2))


@pytest.mark.parametrize("defect", [
    Defect(0, 0, 1, 1, "spur", 1.0), Defect(0, 0, 1, 1, "a label that is far wider than its picture", 0.1),
    Defect(0, 0, 30, 20, "", 0.0), Defect(29.5, 19.5, 0.5, 0.5, "\u00e4\u4e2d\n", 0.25),
])  # fmt: skip
def test_boxes_at_the_edges_and_odd_labels_are_drawn(defect):
    assert overlay.draw(np.zeros((20, 30), np.uint8), [defect]).shape == (20, 30, 3)


def test_what_is_written_is_read_back_the_same(tmp_path):
    picture = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    write_png(tmp_path / "p.png", picture)
    assert np.array_equal(read_picture(tmp_path / "p.png"), picture)
    write_png(tmp_path / "m.png", picture[:, :, 0])
    assert np.array_equal(read_picture(tmp_path / "m.png"), picture[:, :, 0])
    overlay.write(tmp_path / "o.png", picture, [])
    assert np.array_equal(read_picture(tmp_path / "o.png"), picture)


def test_a_file_that_is_no_picture_is_an_os_error(tmp_path):
    (tmp_path / "p.png").write_bytes(b"no picture")
    with pytest.raises(OSError, match=r"p\.png"):
        read_picture(tmp_path / "p.png")
    with pytest.raises(OSError, match="absent"):
        read_picture(tmp_path / "absent.png")


def test_large_noisy_pictures_go_into_a_page_smaller_and_as_jpeg():
    noise = np.random.default_rng(1).integers(0, 256, (2500, 900), np.uint8)
    shown = show(noise)
    assert shown.href.startswith("data:image/jpeg;base64,")
    assert shown.width == 864
    assert show(noise[:10]).href.startswith("data:image/png;base64,")


def test_what_is_shown_smaller_has_all_its_pixels_where_that_is_asked():
    picture = np.zeros((100, 5000, 3), np.uint8)
    picture[40:60, 4000:4100:2] = 255
    asked = [Frame(3999.5, 30, 100, 50), Frame(3999.5, 30, 100, 50), Frame(0, 0, 4000, 100), Frame(4990, 90, 50, 50)]
    [(frame, href), (edge, _)] = show(picture, asked).parts
    assert frame == Frame(3999, 30, 101, 50)
    assert edge == Frame(4990, 90, 10, 10)
    encoded = base64.b64decode(href.partition(",")[2])
    part = np.asarray(pytest.importorskip("PIL.Image").open(io.BytesIO(encoded)))
    assert np.array_equal(part, picture[30:80, 3999:4100])
    assert show(picture[:, :2000], asked).parts == ()


def test_a_thumbnail_is_small_whatever_it_is_of():
    noise = np.random.default_rng(1).integers(0, 256, (1000, 1500, 3), np.uint8)
    assert len(thumbnail(noise)) < 5000
    assert thumbnail(noise[:1, :1, 0]).startswith("data:image/jpeg;base64,")


def test_without_pillow_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r"Pillow.*not installed\nhint: pip install 'procvision\[cli\]'"):
        overlay.draw(np.zeros((5, 5), np.uint8), [])


def test_a_label_has_one_colour_and_text_that_can_be_read_on_it():
    assert colour_of("open") == COLOURS["open"]
    assert colour_of("scratch") == colour_of("scratch")
    assert colour_of("\ud800") in COLOURS.values()
    for red in range(0, 256, 15):
        for green in range(0, 256, 15):
            colour = f"#{red:02x}{green:02x}80"
            assert contrast(text_on(colour), colour) >= 4.5, colour
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48
    assert text_on("#000000") == "#ffffff"
    assert text_on("#ffffff") == "#000000"


def test_tags_lie_over_no_box_and_no_tag_where_there_is_room():
    boxes = [Frame(100 + 30 * i, 100, 20, 20) for i in range(4)]
    tags = place_tags(boxes, [(60.0, 14.0)] * 4, 400, 300)
    for index, tag in enumerate(tags):
        assert tag.x >= 0
        assert tag.x + tag.width <= 400
        assert not any(tag.overlap(box) for box in boxes)
        assert not any(tag.overlap(other) for other in tags[:index])


def test_tags_stay_inside_a_picture_that_is_full():
    [tag] = place_tags([Frame(0, 0, 50, 50)], [(30.0, 10.0)], 50, 50)
    assert 0 <= tag.x <= 20
    assert 0 <= tag.y <= 40


def drawn_in(folder, monkeypatch):
    """Let fonts lie in that folder alone."""
    monkeypatch.setattr(fonts, "folders", lambda: [folder])


@pytest.mark.parametrize("label", ["дефект", "ελιά", "größer", "划痕", "欠陥", "결함"])
def test_a_label_is_drawn_by_a_font_that_has_its_letters(label):
    font = fonts.font_for(label, 20)
    if font is None:
        pytest.skip(f"no font of this machine has {label}: apt-get install fonts-dejavu fonts-noto-cjk")
    assert len({bytes(font.getmask(letter)) for letter in label}) == len(set(label))
    assert overlay.undrawable([Defect(1, 1, 2, 2, label, 0.5)]) == ()


def test_without_such_a_font_a_label_is_a_number_with_a_word(tmp_path, monkeypatch):
    """Not the boxes that a font draws for what it lacks, all alike."""
    drawn_in(tmp_path, monkeypatch)
    (tmp_path / "damaged.ttf").write_bytes(b"no font")
    labels = ("划痕", "open", "欠陥", "划痕")
    defects = [Defect(20 + 60 * at, 80, 20, 10, label, 0.9) for at, label in enumerate(labels)]
    assert overlay.undrawable(defects) == ("划痕", "欠陥")
    plain = [
        attrs.evolve(defect, label=text)
        for defect, text in zip(
            defects, ("label 1 (no font)", "open", "label 2 (no font)", "label 1 (no font)"), strict=True
        )
    ]
    monkeypatch.setattr(overlay, "colour_of", lambda _: "#d55e00")
    picture = np.zeros((200, 300), np.uint8)
    assert np.array_equal(overlay.draw(picture, defects), overlay.draw(picture, plain))


def test_of_the_fonts_in_a_folder_the_one_with_the_letters_is_taken(tmp_path, monkeypatch):
    dejavu = fonts.font_for("дефект", 20)
    if dejavu is None:
        pytest.skip("no font of this machine has Cyrillic letters: apt-get install fonts-dejavu")
    drawn_in(tmp_path, monkeypatch)
    assert fonts.font_for("дефект", 20) is None
    (tmp_path / "deep" / "er").mkdir(parents=True)
    shutil.copy(dejavu.path, tmp_path / "deep" / "er" / "some.ttf")
    drawn_in(tmp_path / "deep", monkeypatch)
    assert fonts.font_for("дефект", 20).getname() == dejavu.getname()
    assert fonts.font_for("open", 20).getname() != dejavu.getname()
