"""What a trainer is given of a folder, and what it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from procvision_sdk.training import TrainingError
from procvision_tools.training.pictures import pictures_of

Image = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")


def picture(path: Path, level: int, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 9), level, np.uint8)).save(path, **options)
    return path


def test_hidden_folders_teach_nothing_and_are_told(tmp_path):
    picture(tmp_path / "a.png", 1)
    picture(tmp_path / "more" / "b.PNG", 2, format="PNG")
    picture(tmp_path / ".ipynb_checkpoints" / "a-checkpoint.png", 3)
    picture(tmp_path / "more" / ".thumbs" / "deep" / "b.png", 4)
    picture(tmp_path / "c.bmp", 5)
    learnt = pictures_of(tmp_path)
    assert [one.name for one in learnt.pictures] == ["a.png", "more/b.PNG"]
    hidden, other = learnt.notes
    assert hidden.startswith(
        "2 files were left out, hidden: a name begins with a dot: .ipynb_checkpoints/a-checkpoint.png"
    )
    assert other == "1 file was left out, JPEG and PNG are read: c.bmp"


def test_copies_count_once_by_what_they_show(tmp_path):
    """Not by their bytes: compressed otherwise, with another text, in colour, under another name."""
    picture(tmp_path / "a.png", 7)
    picture(tmp_path / "b.png", 7, compress_level=0)
    Image.fromarray(np.full((8, 9, 3), 7, np.uint8)).save(tmp_path / "c.png")
    (tmp_path / "d.png").write_bytes((tmp_path / "a.png").read_bytes())
    picture(tmp_path / "e.png", 8)
    Image.fromarray(np.full((9, 8), 7, np.uint8)).save(tmp_path / "turned.png")
    learnt = pictures_of(tmp_path)
    assert [one.name for one in learnt.pictures] == ["a.png", "e.png", "turned.png"]
    assert learnt.notes == (
        "3 files were left out, they show, pixel by pixel, what another one shows: b.png, c.png, d.png",
    )


def test_a_folder_of_copies_teaches_nothing(tmp_path):
    for number in range(20):
        picture(tmp_path / f"{number}.png", 7)
    with pytest.raises(TrainingError, match=r"all 20 pictures in .* show the same\n19 files were left out.*; hint: "):
        pictures_of(tmp_path)


def test_a_damaged_picture_is_refused_before_anything_is_learnt(tmp_path):
    picture(tmp_path / "a.png", 7)
    whole = picture(tmp_path / "b.png", 8).read_bytes()
    (tmp_path / "b.png").write_bytes(whole[:-15])
    with pytest.raises(TrainingError, match=r"b\.png: this PNG is damaged.*; hint: "):
        pictures_of(tmp_path)


def test_bits_and_orientation_of_what_is_learnt(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    deep = (np.arange(72).reshape(8, 9) * 50).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    picture(tmp_path / "b.jpg", 100, exif=exif)
    learnt = pictures_of(tmp_path, bits=12)
    assert learnt.pictures[0].pixels()[:, :, 0].tolist() == (deep >> 4).tolist()
    assert learnt.notes == ("pictures with an EXIF orientation, which is not applied: 1",)


def test_a_folder_without_pictures_says_what_it_has(tmp_path):
    picture(tmp_path / "a.tiff", 3)
    with pytest.raises(
        TrainingError, match=r"no picture in .*\n1 file was left out, JPEG and PNG are read: a\.tiff; hint"
    ):
        pictures_of(tmp_path)
