"""Each layout of a data set, as it lies on a disk, and what is refused of a damaged one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from procvision_tools.datasets import LAYOUTS, DatasetError, Truth, open_dataset

Image = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")


def picture(path: Path, size=(40, 20), fill=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0]), fill, np.uint8)).save(path)
    return path


def text(path: Path, content: str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, "utf-8")


# --- DeepPCB ----------------------------------------------------------------------------------------------------


@pytest.fixture
def deeppcb(tmp_path):
    for group, number in (("g1", "001"), ("g2", "002")):
        picture(tmp_path / group / f"{number}_test.jpg", size=(640, 640))
        picture(tmp_path / group / f"{number}_temp.jpg", size=(640, 640))
        text(tmp_path / group / f"{number}.txt", "1 2 3 4 1\n")
    return tmp_path


def test_deeppcb_corners_are_inside_and_types_have_names(deeppcb):
    text(deeppcb / "g1" / "001.txt", "466 441 493 470 3\n10,20,10,20,6\n\n")
    dataset = open_dataset(deeppcb)
    first, second = dataset.samples
    assert dataset.layout == "deeppcb"
    assert dataset.min_iou == 0.33
    assert dataset.groups == ("g1", "g2")
    assert first.truths == (Truth(466, 441, 28, 30, "mousebite"), Truth(10, 20, 1, 1, "pin-hole"))
    assert first.reference == deeppcb / "g1" / "001_temp.jpg"
    assert (second.name, second.group, second.defective) == ("g2/002", "g2", True)


def test_deeppcb_texts_are_found_where_the_published_data_has_them(deeppcb):
    text(deeppcb / "g1_not" / "001.txt", "1 2 3 4 2\n")
    (deeppcb / "g1" / "001.txt").unlink()
    assert open_dataset(deeppcb).samples[0].truths[0].label == "short"


def test_deeppcb_product_without_a_line_is_good(deeppcb):
    text(deeppcb / "g1" / "001.txt", "\n")
    assert open_dataset(deeppcb).samples[0].defective is False


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1 2 3 4", "five integers"),
        ("a b c d e", "five integers"),
        ("1 2 3 4 7", "type is 7, it is 1..6"),
        ("1 2 3 4 0", "type is 0"),
        ("5 2 3 4 1", "no area"),
    ],
)
def test_deeppcb_line_that_is_none_is_named_with_its_place(line, words, deeppcb):
    text(deeppcb / "g1" / "001.txt", f"1 2 3 4 1\n{line}\n")
    with pytest.raises(DatasetError, match=rf"001\.txt:2.*{words}"):
        open_dataset(deeppcb)


@pytest.mark.parametrize(("name", "words"), [("001_temp.jpg", "no reference"), ("001.txt", "no truth")])
def test_deeppcb_without_its_reference_or_text_is_refused(name, words, deeppcb):
    (deeppcb / "g1" / name).unlink()
    with pytest.raises(DatasetError, match=words):
        open_dataset(deeppcb)


# --- COCO -------------------------------------------------------------------------------------------------------


def coco(folder, *, file="annotations.json", images=(), annotations=(), categories=({"id": 7, "name": "scratch"},)):
    text(folder / file, json.dumps({
        "images": list(images), "annotations": list(annotations), "categories": list(categories),
    }))  # fmt: skip


def test_coco_boxes_are_pixels_and_categories_have_names(tmp_path):
    picture(tmp_path / "images" / "b.png")
    picture(tmp_path / "images" / "a.png")
    coco(
        tmp_path,
        images=[{"id": 2, "file_name": "b.png"}, {"id": 1, "file_name": "a.png"}],
        annotations=[
            {"id": 1, "image_id": 2, "category_id": 7, "bbox": [1.5, 2, 3, 4]},
            {"id": 2, "image_id": 2, "category_id": 7, "bbox": [0, 0, 30, 15], "iscrowd": 1},
        ],
    )
    dataset = open_dataset(tmp_path)
    good, bad = dataset.samples
    assert (dataset.layout, dataset.min_iou, dataset.labels) == ("coco", 0.5, ("scratch",))
    assert (good.name, good.defective, bad.defective) == ("a.png", False, True)
    assert bad.truths == (Truth(1.5, 2, 3, 4, "scratch"),)
    assert bad.crowds == (Truth(0, 0, 30, 15, "scratch"),)
    assert dataset.notes == ("annotations of crowds, where findings are neither right nor wrong: 1",)


def test_coco_pictures_are_found_in_the_folder_of_the_split(tmp_path):
    wanted = picture(tmp_path / "images" / "val" / "a.png")
    coco(tmp_path, file="annotations/instances_val.json", images=[{"id": 1, "file_name": "a.png"}])
    assert open_dataset(tmp_path).samples[0].image == wanted
    assert open_dataset(tmp_path / "annotations" / "instances_val.json").samples[0].image == wanted


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ({"image_id": 9, "category_id": 7, "bbox": [1, 2, 3, 4]}, "no image 9"),
        ({"image_id": 1, "category_id": 9, "bbox": [1, 2, 3, 4]}, "no category 9"),
        ({"image_id": 1, "category_id": 7, "bbox": [1, 2, 0, 4]}, "no area"),
        ({"image_id": 1, "category_id": 7, "bbox": [1, 2, 3]}, "not in COCO's form"),
    ],
)
def test_coco_annotation_that_points_nowhere_is_named(annotation, words, tmp_path):
    picture(tmp_path / "a.png")
    coco(tmp_path, images=[{"id": 1, "file_name": "a.png"}], annotations=[annotation])
    with pytest.raises(DatasetError, match=words):
        open_dataset(tmp_path)


def test_coco_picture_that_is_missing_is_named(tmp_path):
    coco(tmp_path, images=[{"id": 1, "file_name": "a.png"}])
    with pytest.raises(DatasetError, match=r"names the picture a\.png"):
        open_dataset(tmp_path)


def test_of_several_coco_files_one_must_be_named(tmp_path):
    picture(tmp_path / "a.png")
    coco(tmp_path, file="train.json", images=[{"id": 1, "file_name": "a.png"}])
    coco(tmp_path, file="val.json", images=[{"id": 1, "file_name": "a.png"}])
    with pytest.raises(DatasetError, match=r"train.json, val.json\nhint"):
        open_dataset(tmp_path)


# --- YOLO -------------------------------------------------------------------------------------------------------


@pytest.fixture
def yolo(tmp_path):
    picture(tmp_path / "images" / "train" / "a.png", size=(40, 20))
    picture(tmp_path / "images" / "val" / "b.png")
    text(tmp_path / "labels" / "train" / "a.txt", "1 0.5 0.5 0.25 0.5\n0 0.1 0.2 0.1 0.2 0.9\n")
    text(tmp_path / "classes.txt", "dent\nscratch\n")
    return tmp_path


def test_yolo_fractions_become_pixels_and_no_text_means_good(yolo):
    dataset = open_dataset(yolo)
    bad, good = dataset.samples
    assert dataset.layout == "yolo"
    assert dataset.groups == ("train", "val")
    assert bad.truths[0] == Truth(15, 5, 10, 10, "scratch")
    assert bad.truths[1].label == "dent"
    assert (good.name, good.defective) == ("images/val/b.png", False)


@pytest.mark.parametrize("names", ["[dent, scratch]", "{0: dent, 1: scratch}"])
def test_yolo_names_come_from_data_yaml_too(names, yolo):
    pytest.importorskip("yaml", reason="PyYAML reads data.yaml")
    (yolo / "classes.txt").unlink()
    text(yolo / "data.yaml", f"train: images/train\nnames: {names}\n")
    assert open_dataset(yolo).labels == ("dent", "scratch")


def test_yolo_splits_with_folders_of_their_own_are_groups(tmp_path):
    picture(tmp_path / "valid" / "images" / "a.png")
    text(tmp_path / "valid" / "labels" / "a.txt", "0 0.5 0.5 1 1\n")
    text(tmp_path / "classes.txt", "dent\n")
    (sample,) = open_dataset(tmp_path).samples
    assert (sample.group, sample.truths) == ("valid", (Truth(0, 0, 40, 20, "dent"),))


def test_yolo_with_a_test_split_is_not_taken_for_mvtec(tmp_path):
    picture(tmp_path / "test" / "images" / "a.png")
    text(tmp_path / "test" / "labels" / "a.txt", "0 0.5 0.5 1 1\n")
    text(tmp_path / "classes.txt", "dent\n")
    assert open_dataset(tmp_path).layout == "yolo"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("2 0.5 0.5 0.1 0.1", "class is 2, it is 0..1"),
        ("0 0.5 0.5 0.1", "expected was"),
        ("0 20 10 10 10", "fractions"),
        ("0 0.5 0.5 0 0.1", "fractions"),
        ("0 nan 0.5 0.1 0.1", "fractions"),
    ],
)
def test_yolo_line_that_is_none_is_named_with_its_place(line, words, yolo):
    text(yolo / "labels" / "train" / "a.txt", line)
    with pytest.raises(DatasetError, match=rf"a\.txt:1.*{words}"):
        open_dataset(yolo)


def test_yolo_without_names_is_refused(yolo):
    (yolo / "classes.txt").unlink()
    with pytest.raises(DatasetError, match=r"doesn't name its classes(.|\n)*hint: write their names"):
        open_dataset(yolo)


# --- MVTec-AD ---------------------------------------------------------------------------------------------------


@pytest.fixture
def mvtec(tmp_path):
    pytest.importorskip("cv2", reason="OpenCV reads the masks")
    picture(tmp_path / "train" / "good" / "000.png")
    picture(tmp_path / "test" / "good" / "000.png")
    picture(tmp_path / "test" / "crack" / "000.png")
    mask = np.zeros((20, 40), np.uint8)
    mask[2:5, 10:16] = 255
    mask[5, 16] = 255
    mask[15:17, 30:38] = 255
    path = tmp_path / "ground_truth" / "crack" / "000_mask.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(mask).save(path)
    return tmp_path


def test_mvtec_pieces_of_a_mask_are_truths_of_the_kind(mvtec):
    dataset = open_dataset(mvtec)
    bad, good = dataset.samples
    assert dataset.layout == "mvtec"
    assert (good.name, good.defective, good.truths) == ("test/good/000.png", False, ())
    assert bad.defective is True
    assert set(bad.truths) == {Truth(10, 2, 7, 4, "crack"), Truth(30, 15, 8, 2, "crack")}


def test_mvtec_products_beside_each_other_are_groups(mvtec, tmp_path):
    for product in ("bottle", "cable"):
        picture(tmp_path / "all" / product / "test" / "good" / "0.png")
    assert open_dataset(tmp_path / "all").groups == ("bottle", "cable")


def test_mvtec_defective_picture_without_a_mask_stays_defective_with_a_note(mvtec):
    picture(mvtec / "test" / "crack" / "001.png")
    dataset = open_dataset(mvtec)
    assert [sample.defective for sample in dataset.samples] == [True, True, False]
    assert "1 defective pictures have no mask" in dataset.notes[0]


def test_mvtec_empty_mask_of_a_defective_picture_is_refused(mvtec):
    picture(mvtec / "ground_truth" / "crack" / "000_mask.png")
    with pytest.raises(DatasetError, match="marks nothing"):
        open_dataset(mvtec)


# --- all --------------------------------------------------------------------------------------------------------


def test_a_folder_of_no_layout_is_refused_with_those_that_there_are(tmp_path):
    picture(tmp_path / "a.png")
    with pytest.raises(DatasetError, match="none of the known layouts: " + ", ".join(LAYOUTS)):
        open_dataset(tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_empty_folder_is_an_error_in_every_layout(layout, tmp_path):
    with pytest.raises(DatasetError):
        open_dataset(tmp_path, layout)


def test_a_folder_that_two_layouts_fit_needs_its_layout_said(yolo):
    coco(yolo, images=[{"id": 1, "file_name": "train/a.png"}])
    with pytest.raises(DatasetError, match=r"coco and yolo\nhint: --layout"):
        open_dataset(yolo)
    assert open_dataset(yolo, "coco").layout == "coco"
