"""What people said and drew is the truth of a data set, which `procvision evaluate` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from procvision_station.dataset import COCO_FILE, Box, Labelled, Overruling, coco, overruling_of, write_dataset
from procvision_station.exporting import ExportError
from procvision_station.journal.layout import Kind
from procvision_station.journal.writer import open_journal
from procvision_testing.boards import make_board
from procvision_tools.datasets import open_dataset
from procvision_tools.report.pictures import write_png

FOUND = {"label": "open", "x": 5, "y": 6, "width": 7, "height": 8, "score": 0.9}
DRAWN = {"step": 0, "label": "scratch", "x": 100, "y": 90.5, "width": 30, "height": 20}
SAID: dict[str, list[dict[str, Any]]] = {
    "told-ok": [],
    "told-ng": [],
    "false-alarm": [{"verdict": "OK", "why": "dust"}],
    "escape": [{"verdict": "NG", "why": "seen", "defects": [DRAWN]}],
    "ng-as-it-was": [{"verdict": "NG", "why": "yes"}],
    "ng-nowhere": [{"verdict": "NG", "why": "as a whole", "defects": []}],
    "changed-mind": [{"verdict": "NG", "why": "a", "defects": [DRAWN]}, {"verdict": "OK", "why": "no"}],
    "error": [],
    "error-ok": [{"verdict": "OK", "why": "looked at"}],
}
BOXES = {"told-ok": [], "told-ng": ["open"], "false-alarm": [], "escape": ["scratch"], "ng-as-it-was": ["open"],
         "ng-nowhere": ["somewhere"], "changed-mind": [], "error-ok": []}  # fmt: skip


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("line-3")
    (folder / "pictures" / "ab").mkdir(parents=True)
    write_png(folder / "pictures" / "ab" / "board.png", make_board(seed=3).picture)
    with open_journal(folder / "journal" / "main") as journal:
        for key, overrules in SAID.items():
            told = "ERROR" if key.startswith("error") else "OK" if key in ("told-ok", "escape") else "NG"
            step = {"step": 0, "verdict": told, "defect_rects": [FOUND] if told == "NG" else []}
            journal.append(Kind.PRODUCT, {"key": key, "told": told, "steps": [step]})
            journal.append(Kind.EVENT, {"event": "picture", "key": key, "step": 0, "file": "ab/board.png"})
            for each in overrules:
                journal.append(Kind.EVENT, {"event": "overruled", "key": key, "user": "u-1", **each})
        journal.append(Kind.PRODUCT, {"key": "not-kept", "told": "NG", "steps": [{"step": 0, "defect_rects": [FOUND]}]})
        journal.sync()
    return folder


@pytest.mark.parametrize("only_overruled", [False, True])
def test_people_are_right_and_evaluate_reads_it(station: Path, tmp_path: Path, only_overruled: bool) -> None:
    target = tmp_path / "boards"
    journals = {"main": station / "journal" / "main"}
    document = write_dataset(journals, station / "pictures", target, only_overruled=only_overruled)
    names = {each["id"]: each["name"] for each in document["categories"]}
    found = {
        image["key"]: [
            names[each["category_id"]] for each in document["annotations"] if each["image_id"] == image["id"]
        ]
        for image in document["images"]
    }
    assert found == {key: boxes for key, boxes in BOXES.items() if SAID[key] or not only_overruled}
    assert json.loads((target / COCO_FILE).read_bytes()) == document
    samples = open_dataset(target).samples
    assert len(samples) == len(found)
    bad = {image["file_name"] for image in document["images"] if image["verdict"] == "NG"}
    assert {sample.name for sample in samples if sample.defective} == bad  # also where nobody said where
    drawn = [truth for sample in samples for truth in sample.truths if truth.label == "scratch"]
    assert [(truth.x, truth.y, truth.width, truth.height) for truth in drawn] == [(100, 90.5, 30, 20)]
    with pytest.raises(ExportError, match="not empty"):
        write_dataset(journals, station / "pictures", target)


def test_what_is_no_overrule_or_no_box_says_nothing() -> None:
    assert overruling_of({"verdict": "ERROR"}) is None
    assert overruling_of({}) is None
    broken = [{"label": "x"}, 7, {**DRAWN, "x": "1"}, {**DRAWN, "label": None}]
    assert overruling_of({"verdict": "NG", "defects": broken}) == Overruling(
        "NG", {0: [Box("defect", 100, 90.5, 30, 20)]}
    )
    assert coco([Labelled("a.png", "main", "k", 0, "ERROR", [])], Path())["images"] == []
