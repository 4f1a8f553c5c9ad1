"""What a reader does with the files that it can't use: told with a count, or refused by name; never lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from procvision_tools.datasets import DatasetError, Truth, open_dataset

Image = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")

SIZE = (60, 40)


def picture(path: Path, size=SIZE, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0]), 90, np.uint8)).save(path, **options)
    return path


def text(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(folder: Path, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        open_dataset(folder)


def turned(orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


# --- DeepPCB ----------------------------------------------------------------------------------------------------


def pair(folder: Path, number: str, suffix: str = ".jpg", line: str | None = "10 10 19 19 1\n") -> None:
    picture(folder / f"{number}_test{suffix}")
    picture(folder / f"{number}_temp{suffix}")
    if line is not None:
        text(folder / f"{number}.txt", line)


@pytest.mark.parametrize("suffix", [".JPG", ".png", ".PNG", ".jpeg"])
def test_deeppcb_pairs_of_every_suffix_count(suffix, tmp_path):
    pair(tmp_path / "g", "1")
    pair(tmp_path / "g", "2", suffix)
    dataset = open_dataset(tmp_path)
    assert [sample.truths for sample in dataset.samples] == [(Truth(10, 10, 10, 10, "open"),)] * 2
    assert dataset.notes == ()


def test_deeppcb_pairs_behind_links_count(tmp_path):
    pair(tmp_path / "data" / "g", "1")
    pair(tmp_path / "far" / "gl", "2")
    (tmp_path / "data" / "h").symlink_to(tmp_path / "far" / "gl")
    assert [sample.name for sample in open_dataset(tmp_path / "data").samples] == ["g/1", "h/2"]


def test_deeppcb_files_of_other_kinds_are_counted(tmp_path):
    pair(tmp_path / "g", "1")
    pair(tmp_path / "g", "2", ".bmp")
    picture(tmp_path / "g" / "3_temp.jpg")
    text(tmp_path / "g" / "readme.txt", "by the makers")
    text(tmp_path / "test.txt", "g/1.jpg g_not/1.txt\n")
    picture(tmp_path / ".Trash" / "9_test.jpg")
    dataset = open_dataset(tmp_path)
    assert len(dataset.samples) == 1
    assert sorted(dataset.notes) == [
        "1 file was left out, a reference without its product: g/3_temp.jpg",
        "1 file was left out, hidden: a name begins with a dot: .Trash/9_test.jpg",
        "1 file was left out, of a picture that is not read: g/2.txt",
        "2 files were left out, JPEG and PNG are read: g/2_temp.bmp, g/2_test.bmp",
        "2 files were left out, no truth, and of no picture: g/readme.txt, test.txt",
    ]


@pytest.mark.parametrize("place", ["g", "g_not"])
@pytest.mark.parametrize("content", ["10 10 19 19 1\n", "\n1,2,30,30,2\n", ""])
def test_deeppcb_truth_of_no_picture_is_refused(place, content, tmp_path):
    pair(tmp_path / "g", "1")
    text(tmp_path / place / "2.txt", content)
    refused(tmp_path, r"2\.txt has no picture: there is no 2_test\.jpg")


def test_deeppcb_id_of_two_files_is_refused_with_both(tmp_path):
    pair(tmp_path / "g", "1")
    picture(tmp_path / "g" / "1_test.png")
    refused(tmp_path, r"two files have the id 1: .*1_test\.jpg and .*1_test\.png")
    (tmp_path / "g" / "1_test.png").unlink()
    text(tmp_path / "g_not" / "1.txt", "1 1 5 5 1\n")
    refused(tmp_path, r"1_test\.jpg has two truths: .*g/1\.txt and .*g_not/1\.txt")


@pytest.mark.parametrize("line", ["-50 -50 -40 -40 2", "900 900 950 950 3", "10 41 20 90 1", "59 10 70 20 1"])
def test_a_box_off_its_picture_is_refused_with_its_place_and_the_size(line, tmp_path):
    pair(tmp_path / "g", "1", line=f"10 10 19 19 1\n{line}\n")
    refused(tmp_path, r"g/1\.txt:2: the box .* lies off .*1_test\.jpg, which has 60 x 40 pixels")


def test_a_box_over_the_edge_is_taken_as_it_is_and_told(tmp_path):
    pair(tmp_path / "g", "1", line="50 30 66 45 1\n")
    dataset = open_dataset(tmp_path)
    assert dataset.samples[0].truths == (Truth(50, 30, 17, 16, "open"),)
    assert dataset.notes == (f"1 box reaches beyond the picture: {tmp_path}/g/1.txt:1",)


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_a_truth_that_is_no_regular_file_is_never_waited_for(kind, tmp_path):
    pair(tmp_path / "g", "1", line=None)
    path = tmp_path / "g" / "1.txt"
    os.mkfifo(path) if kind == "fifo" else path.symlink_to("/dev/zero")
    refused(tmp_path, r"1_test\.jpg has no truth")


# --- YOLO -------------------------------------------------------------------------------------------------------


@pytest.fixture
def yolo(tmp_path):
    picture(tmp_path / "images" / "val" / "a.png")
    text(tmp_path / "labels" / "val" / "a.txt", "0 0.5 0.5 0.5 0.5\n")
    text(tmp_path / "classes.txt", "dent\nscratch\n")
    return tmp_path


BOX = Truth(15, 10, 30, 20, "dent")


def near(truth: Truth) -> Truth:
    return Truth(*(round(number, 6) for number in (truth.x, truth.y, truth.width, truth.height)), truth.label)


@pytest.mark.parametrize("line", [
    "0 0.5 0.5 0.5 0.5",
    "0 0.5 0.5 0.5 0.5 0.93",
    "0.0 0.5 0.5 0.5 0.5",
    "0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75",
    "0 0.5 0.25 0.75 0.5 0.5 0.75 0.25 0.5",
    "0 0.25 0.25 0.5 0.25 0.75 0.25 0.75 0.75 0.4 0.75 0.25 0.4",
    "\ufeff0 0.5 0.5 0.5 0.5\r\n\r\n",
])  # fmt: skip
def test_yolo_lines_are_read_by_the_number_of_their_words(line, yolo):
    text(yolo / "labels" / "val" / "a.txt", line)
    assert [near(truth) for truth in open_dataset(yolo).samples[0].truths] == [BOX]


@pytest.mark.parametrize("words", [1, 2, 3, 4, 7, 8, 10, 12])
def test_yolo_line_of_another_number_of_words_is_none(words, yolo):
    text(yolo / "labels" / "val" / "a.txt", "0 0.5 0.5 0.5 0.5\n" + " ".join(["0", *["0.5"] * (words - 1)]))
    refused(yolo, rf"a\.txt:2 is .*, {words} words: expected was `class x y width height`, or the class and an even")


def test_yolo_key_points_are_no_corners_where_the_data_set_says_so(yolo):
    pytest.importorskip("yaml", reason="PyYAML reads data.yaml")
    (yolo / "classes.txt").unlink()
    text(yolo / "data.yaml", "names: [dent]\nkpt_shape: [2, 3]\n")
    text(yolo / "labels" / "val" / "a.txt", "0 0.5 0.5 0.5 0.5 0.1 0.1 2 0.9 0.9 2\n")
    assert [near(truth) for truth in open_dataset(yolo).samples[0].truths] == [BOX]


def test_yolo_texts_without_pictures_are_refused_and_pictures_without_texts_counted(yolo):
    picture(yolo / "images" / "val" / "image_1.png")
    dataset = open_dataset(yolo)
    assert [sample.defective for sample in dataset.samples] == [True, False]
    assert dataset.notes == ("1 picture has no text in labels/: good products, by this layout's rule",)
    text(yolo / "labels" / "val" / "labels_1.txt", "")
    refused(yolo, r"labels/val/labels_1\.txt has no picture: there is no images/val/labels_1")


def test_yolo_texts_may_lie_beside_their_pictures_but_not_in_both_places(yolo):
    (yolo / "labels" / "val" / "a.txt").rename(yolo / "images" / "val" / "a.txt")
    assert [near(truth) for truth in open_dataset(yolo).samples[0].truths] == [BOX]
    text(yolo / "labels" / "val" / "a.txt", "")
    refused(yolo, r"two files have the id images/val/a: .*a\.txt and .*a\.txt")


def test_yolo_two_pictures_of_one_text_are_refused(yolo):
    picture(yolo / "images" / "val" / "a.jpg")
    refused(yolo, r"two files have the id images/val/a: .*a\.jpg and .*a\.png")


def test_yolo_upper_case_links_and_other_formats(yolo, tmp_path_factory):
    far = tmp_path_factory.mktemp("far")
    picture(far / "img" / "b.JPEG", format="JPEG")
    text(far / "lab" / "b.TXT", "1 0.5 0.5 0.5 0.5\n")
    (yolo / "images" / "more").symlink_to(far / "img")
    (yolo / "labels" / "more").symlink_to(far / "lab")
    picture(yolo / "images" / "val" / "c.bmp")
    text(yolo / "labels" / "val" / "c.txt", "1 0.5 0.5 0.5 0.5\n")
    picture(yolo / "images" / "val" / ".Trash-1000" / "files" / "old.png")
    dataset = open_dataset(yolo)
    assert [(sample.name, sample.truths[0].label) for sample in dataset.samples] == [
        ("images/more/b.JPEG", "scratch"), ("images/val/a.png", "dent"),
    ]  # fmt: skip
    assert dataset.groups == ("more", "val")
    assert dataset.notes == (
        "1 file was left out, hidden: a name begins with a dot: images/val/.Trash-1000/files/old.png",
        "1 file was left out, JPEG and PNG are read: images/val/c.bmp",
        "1 file was left out, of a picture that is not read: labels/val/c.txt",
    )


def test_yolo_line_that_stands_twice_counts_once_and_is_told(yolo):
    text(yolo / "labels" / "val" / "a.txt", "0 0.5 0.5 0.5 0.5\n" * 3 + "1 0.5 0.5 0.5 0.5\n")
    dataset = open_dataset(yolo)
    assert len(dataset.samples[0].truths) == 2
    assert dataset.notes == ("lines that stand there twice count once: 2",)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("a\n\nb\n", r"classes\.txt:2 is empty"),
        ("a\na\n", "the classes 0 and 1 are both called a"),
        ("\ufeffa\nb\n".encode("utf-16-le"), r"classes\.txt is no UTF-8 text"),
    ],
)
def test_yolo_names_that_are_not_clear_are_refused(names, words, yolo):
    text(yolo / "classes.txt", names)
    refused(yolo, words)


@pytest.mark.parametrize("place", ["obj.names", "labels/classes.txt", "labels/val/classes.txt"])
def test_yolo_names_lie_where_tools_write_them_and_must_agree(place, yolo):
    (yolo / "classes.txt").rename(yolo / place)
    assert open_dataset(yolo).labels == ("dent",)
    text(yolo / "classes.txt", "scratch\ndent\n")
    refused(yolo, "name the classes differently")


def test_exif_turned_pictures_are_told_and_a_box_off_them_too(yolo):
    picture(yolo / "images" / "val" / "b.jpg", exif=turned(6))
    picture(yolo / "images" / "val" / "c.jpg", exif=turned(1))
    text(yolo / "labels" / "val" / "b.txt", "0 0.5 0.5 0.2 0.2\n")
    assert open_dataset(yolo).notes[-1] == (
        "1 picture has an EXIF orientation, which is not applied: truths must be in the pixels as the camera saw them:"
        " images/val/b.jpg (6)"
    )


@pytest.mark.parametrize("kind", ["fifo", "dangling text", "dangling folder"])
def test_yolo_text_that_cannot_be_read_makes_no_good_product(kind, yolo):
    path = yolo / "labels" / "val" / "a.txt"
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "dangling text":
        path.symlink_to("gone")
    else:
        path.parent.rmdir()
        path.parent.symlink_to("gone")
    refused(yolo, r"labels/val(/a\.txt)? can't be read: it is (no regular file|a link that leads nowhere)")


# --- MVTec-AD ---------------------------------------------------------------------------------------------------


def mask(path: Path, box=(10, 10, 20, 15), size=SIZE, level=255, mode="L", **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    marked = np.zeros((size[1], size[0]), np.uint8)
    if box:
        x, y, width, height = box
        marked[y : y + height, x : x + width] = level
    Image.fromarray(marked).convert(mode).save(path, **options)
    return path


@pytest.fixture
def mvtec(tmp_path):
    pytest.importorskip("cv2", reason="OpenCV finds a mask's pieces")
    picture(tmp_path / "test" / "good" / "000.png")
    picture(tmp_path / "test" / "crack" / "000.png")
    mask(tmp_path / "ground_truth" / "crack" / "000_mask.png")
    return tmp_path


CRACK = Truth(10, 10, 20, 15, "crack")


@pytest.mark.parametrize("name", ["Good", "GOOD", "ok", "OK", "normal", "Normal"])
def test_mvtec_good_products_are_known_by_their_folders_usual_names(name, mvtec):
    (mvtec / "test" / "good").rename(mvtec / "test" / name)
    assert [sample.defective for sample in open_dataset(mvtec).samples] == (
        [False, True] if name < "c" else [True, False]
    )


def test_mvtec_folder_that_may_be_the_good_one_is_asked_about(mvtec):
    (mvtec / "test" / "good").rename(mvtec / "test" / "fine")
    refused(mvtec, r"test holds crack, fine: which folder holds the good products\?\nhint: .*no masks of fine")


@pytest.mark.parametrize(
    ("size", "box"), [((30, 20), (5, 5, 10, 7)), ((60, 41), (5, 5, 10, 7)), ((40, 60), (5, 5, 9, 9))]
)
def test_mvtec_mask_in_another_frame_is_refused_with_both_sizes(size, box, mvtec):
    mask(mvtec / "ground_truth" / "crack" / "000_mask.png", box, size)
    refused(mvtec, rf"000_mask\.png has {size[0]} x {size[1]} pixels, its picture .*crack/000\.png 60 x 40")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("000_mask.PNG", {"format": "PNG"}),
        ("000.png", {}),
        ("000_mask.bmp", {}),
        ("000_mask.tif", {}),
        ("000_mask.jpg", {"quality": 100}),
        ("000/0.png", {}),
        ("000_mask.png", {"mode": "RGB"}),
        ("000_mask.png", {"mode": "1"}),
        ("000_mask.png", {"mode": "P"}),
    ],
)
def test_mvtec_masks_of_many_writers_mark_the_same(name, options, mvtec):
    (mvtec / "ground_truth" / "crack" / "000_mask.png").unlink()
    mask(mvtec / "ground_truth" / "crack" / name, **options)
    dataset = open_dataset(mvtec)
    assert [sample.truths for sample in dataset.samples] == [(CRACK,), ()]
    assert dataset.notes == ()


def test_mvtec_several_masks_of_a_picture_are_several_truths(mvtec):
    (mvtec / "ground_truth" / "crack" / "000_mask.png").unlink()
    mask(mvtec / "ground_truth" / "crack" / "000" / "0.png")
    mask(mvtec / "ground_truth" / "crack" / "000" / "1.png", (40, 20, 5, 5), level=250)
    assert set(open_dataset(mvtec).samples[0].truths) == {CRACK, Truth(40, 20, 5, 5, "crack")}


def test_mvtec_nested_linked_and_other_files(mvtec, tmp_path_factory):
    far = tmp_path_factory.mktemp("far")
    picture(far / "000.png")
    (mvtec / "test" / "dent").symlink_to(far)
    picture(mvtec / "test" / "crack" / "line2" / "900.png")
    mask(mvtec / "ground_truth" / "crack" / "line2" / "900_mask.png", (5, 5, 4, 4))
    picture(mvtec / "test" / "crack" / "001.tiff")
    mask(mvtec / "ground_truth" / "crack" / "001_mask.png")
    picture(mvtec / "train" / "good" / "0.png")
    text(mvtec / "license.txt", "free")
    dataset = open_dataset(mvtec)
    assert [(sample.name, len(sample.truths)) for sample in dataset.samples] == [
        ("test/crack/000.png", 1), ("test/crack/line2/900.png", 1), ("test/dent/000.png", 0), ("test/good/000.png", 0),
    ]  # fmt: skip
    assert dataset.notes == (
        "1 defective pictures have no mask: no box says where the defect is",
        "1 file was left out, JPEG and PNG are read: test/crack/001.tiff",
        "1 file was left out, of a picture that is not read: ground_truth/crack/001_mask.png",
        "1 file was left out, train/ is what an algorithm learns from: train/good/0.png",
        "1 file was left out, no picture: license.txt",
    )


def test_mvtec_masks_that_contradict_are_refused(mvtec):
    mask(mvtec / "ground_truth" / "good" / "000_mask.png", None)
    assert open_dataset(mvtec).samples[1].truths == ()
    mask(mvtec / "ground_truth" / "good" / "000_mask.png")
    refused(mvtec, "marks defects, and .*good/000.png lies among the good ones")
    mask(mvtec / "ground_truth" / "good" / "000_mask.png", None)
    mask(mvtec / "ground_truth" / "crack" / "007_mask.png")
    refused(mvtec, r"007_mask\.png marks the defects of a picture that is not there")
    (mvtec / "ground_truth" / "crack" / "007_mask.png").unlink()
    mask(mvtec / "ground_truth" / "crack" / "000.png")
    refused(mvtec, "two masks")
    (mvtec / "ground_truth" / "crack" / "000.png").unlink()
    mask(mvtec / "ground_truth" / "crack" / "000_mask.png", level=1)
    refused(mvtec, r"marks nothing, .*\nhint: a mask's pixels are above 127, the highest here is 1")
    whole = mask(mvtec / "ground_truth" / "crack" / "000_mask.png").read_bytes()
    text(mvtec / "ground_truth" / "crack" / "000_mask.png", whole[:-30])
    refused(mvtec, r"000_mask\.png: .*damaged")


def test_mvtec_mask_that_cannot_be_read_is_named(mvtec):
    path = mvtec / "ground_truth" / "crack" / "000_mask.png"
    path.unlink()
    path.symlink_to("gone")
    refused(mvtec, r"000_mask\.png can't be read: it is a link that leads nowhere")


# --- COCO -------------------------------------------------------------------------------------------------------


def coco(folder: Path, images=None, annotations=None, categories=None, file="annotations.json", **more) -> Path:
    told = {
        "images": [{"id": 1, "file_name": "a.png"}] if images is None else images,
        "annotations": [annotation()] if annotations is None else annotations,
        "categories": [{"id": 7, "name": "dent"}] if categories is None else categories,
        **more,
    }
    return text(folder / file, json.dumps(told))


def annotation(number=1, image=1, box=(10, 10, 20, 15), **more):
    return {"id": number, "image_id": image, "category_id": 7, "bbox": list(box), **more}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]}, "id 1: a.png and b.png"),
        ({"images": [{"id": "x", "file_name": "a.png"}, {"id": "x", "file_name": "b.png"}], "annotations": []},
         "id 'x': a.png and b.png"),
        ({"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "a.png"}]}, "1 and 2 are both a.png"),
        ({"categories": [{"id": 7, "name": "dent"}, {"id": 7, "name": "hole"}]}, "id 7: dent and hole"),
        ({"categories": [{"id": 7, "name": "dent"}, {"id": 8, "name": "dent"}]}, "7 and 8 are both called dent"),
        ({"annotations": [annotation(), annotation(1, 1, (1, 1, 4, 4))]}, r"annotations\[0\] and annotations\[1\]"),
        ({"images": [{"id": 1, "file_name": "a.png", "width": 120, "height": 80}]}, "120 x 80 there, .* 60 x 40 pix"),
        ({"images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 60}]}, "40 x 60 there, .* 60 x 40 pixels"),
        ({"annotations": [annotation(), annotation(2, 1, (900, 900, 30, 30))]}, r"annotations\[1\]: the box .* off"),
        ({"annotations": [annotation(1, 1, (float("nan"), 1, 2, 3))]}, r"annotations\[0\]\.bbox\[0\] is nan"),
        ({"annotations": [annotation(area=float("inf"))]}, r"annotations\[0\]\.area is inf"),
        ({"annotations": [annotation(1, 1, (1, 1, 1e999, 3))]}, r"annotations\[0\]\.bbox\[2\] is inf"),
        ({"annotations": [{"id": 1, "image_id": 1, "category_id": 7}]}, r"field `bbox` - at `\$\.annotations\[0\]`"),
        ({"images": [{"id": 1, "file_name": "../a.png"}]}, r"'\.\./a\.png', which leads out of"),
        ({"images": [{"id": 1, "file_name": "x/../../a.png"}]}, "leads out of"),
        ({"images": [{"id": 1, "file_name": "..\\a.png"}]}, "leads out of"),
        ({"images": [{"id": 1, "file_name": "/etc/a.png"}]}, "leads out of"),
    ],
)  # fmt: skip
def test_coco_file_that_contradicts_itself_or_its_pictures_is_refused_with_the_place(changes, words, tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "set" / "a.png")
    picture(tmp_path / "set" / "images" / "b.png")
    coco(tmp_path / "set", **changes)
    refused(tmp_path / "set", rf"annotations\.json.*{words}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"images": [], "annotations": []}', "missing required field `categories`"),
        (b'{"images": [], "annotations": [], "categories": [',  r"not in COCO's form: .*line 1 column"),
        (b'{"images": [],\n "annotations": [],\n "categories": [}', r"line 3 column"),
        ('{"images": [], "annotations": [], "categories": []}'.encode("utf-16"), "is UTF-16, JSON is UTF-8"),
        (b'{"images": [], "annotations": [], "categories": [{"id": 1, "name": "\xe4"}]}', "utf-8"),
        (b'{"images": [], "annotations": ' + b"[" * 100_000, "not in COCO's form"),
    ],
)  # fmt: skip
def test_coco_file_that_is_none_is_said_to_be_so_with_the_reason(content, words, tmp_path):
    picture(tmp_path / "a.png")
    text(tmp_path / "annotations.json", content)
    refused(tmp_path, rf"annotations\.json(.|\n)*{words}")


BOXES = '[{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "bbox": [5, 6, 7, 8]}]'


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("annotations", '{"images": [], "annotations": [1], "categories": [], "annotations": []}'),
        ("bbox", f'{{"images": [], "categories": [], "annotations": {BOXES}}}'),
        ("id", '{"images": [{"id": 1, "id": 2, "file_name": "a.png"}], "annotations": [], "categories": []}'),
    ],
)
def test_coco_key_of_two_values_is_refused(key, content, tmp_path):
    """A reader keeps one of them, and the other's truths are gone."""
    picture(tmp_path / "a.png")
    if key == "annotations":
        content = content.replace("[1]", json.dumps([annotation()]))
    text(tmp_path / "annotations.json", content)
    refused(tmp_path, f"the key '{key}' stands twice in one object")


@pytest.mark.parametrize("name", ["labels/val/b.json", "labels/val/b.XML", "images/val/b.json", "labels/val/b.npy"])
def test_yolo_truths_of_another_tool_are_refused_where_a_picture_has_no_text(name, yolo):
    """It would count as a good product. Beside a text they are left out and said."""
    picture(yolo / "images" / "val" / "b.png")
    other = text(yolo / name, "{}")
    refused(yolo, rf"{name.replace('.', '[.]')} has the name of .*images/val/b\.png, which has no text")
    text(yolo / "labels" / "val" / "b.txt", "")
    assert f"1 file was left out, no picture: {other.relative_to(yolo)}" in open_dataset(yolo).notes


@pytest.mark.parametrize("folder", ["__MACOSX", "images/@eaDir", "$RECYCLE.BIN/S-1-5", "images/val/lost+found"])
def test_folders_of_a_system_hold_no_pictures(folder, yolo):
    """They are left out, and said."""
    picture(yolo / folder / "images" / "val" / "x.png")
    dataset = open_dataset(yolo)
    assert [sample.image.name for sample in dataset.samples] == ["a.png"]
    assert (
        f"1 file was left out, in a folder that a system makes for itself: {folder}/images/val/x.png" in dataset.notes
    )


def test_coco_byte_order_mark_is_skipped_and_told(tmp_path):
    picture(tmp_path / "a.png")
    path = coco(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    dataset = open_dataset(tmp_path)
    assert dataset.samples[0].truths == (Truth(10, 10, 20, 15, "dent"),)
    assert dataset.notes == ("annotations.json begins with a byte order mark, which JSON has none of: it was skipped",)


def test_coco_pictures_that_are_not_named_or_not_read_are_counted(tmp_path):
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "images" / "b.bmp")
    picture(tmp_path / "images" / "extra.png")
    coco(tmp_path, [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.bmp"}], [annotation(), annotation(2, 2)])
    dataset = open_dataset(tmp_path)
    assert [sample.name for sample in dataset.samples] == ["a.png"]
    assert dataset.notes == (
        "1 file was left out, JPEG and PNG are read: images/b.bmp",
        "1 file was left out, annotations.json doesn't name them: images/extra.png",
    )


def test_coco_name_of_two_pictures_is_refused_and_a_backslash_is_a_folder(tmp_path):
    picture(tmp_path / "images" / "val" / "a.png")
    coco(tmp_path, [{"id": 1, "file_name": "val\\a.png"}])
    assert open_dataset(tmp_path).samples[0].image == tmp_path / "images" / "val" / "a.png"
    picture(tmp_path / "val" / "a.png")
    refused(tmp_path, "there are two: .*val/a.png and .*images/val/a.png")


def test_coco_fifo_beside_the_file_is_never_waited_for(tmp_path):
    picture(tmp_path / "a.png")
    coco(tmp_path)
    os.mkfifo(tmp_path / "b.json")
    assert open_dataset(tmp_path).notes == ("1 file was left out, no regular file: b.json",)
    refused(tmp_path / "b.json", r"b\.json can't be read: it is no regular file")


def test_a_file_is_of_the_layout_that_has_one_or_of_none(tmp_path):
    """Its folder may be of another."""
    pair(tmp_path / "g", "1")
    refused(tmp_path / "g" / "1.txt", "none of the known layouts")
    with pytest.raises(DatasetError, match=r"1\.txt is a file: deeppcb is a folder's layout"):
        open_dataset(tmp_path / "g" / "1.txt", "deeppcb")


@pytest.mark.parametrize("layout", ["coco", "yolo", "deeppcb", "mvtec"])
def test_a_folder_that_may_not_be_read_is_named(layout, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(DatasetError, match="locked can't be read"):
        open_dataset(tmp_path, layout)
