"""A station's ledger as an archive: what was said, what a person said of it, and which pictures are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from procvision_station import archive
from procvision_station.journal.layout import Kind
from procvision_station.journal.writer import open_journal

STEP = {"camera": "top", "algorithm": "weld==1", "step": 2, "reference": None, "parameters": {"level": 3}}


def answer(step: int = 0, **changes: Any) -> dict[str, Any]:
    told = {
        "step": step, "algorithm": "weld==1", "version": "1", "manifest_step": 2, "parameters": {"level": 4},
        "verdict": "OK", "message": "", "error_code": None, "answered_ms": 5.0,
        "debug": {"width": 2.5, "latency_ms": 1},
    }  # fmt: skip
    return told | changes


def station(folder: Path, *records: tuple[Kind, dict[str, Any]]) -> Path:
    (folder / "data" / "pictures" / "ab").mkdir(parents=True)
    (folder / "station.toml").write_text("")
    (folder / "data" / "pictures" / "ab" / "cd.png").write_bytes(b"any")
    with open_journal(folder / "data" / "journal" / "main") as journal:
        for kind, content in records:
            journal.append(kind, content)
        journal.sync()
    return folder


def product(key: str, *answers: dict[str, Any]) -> tuple[Kind, dict[str, Any]]:
    return Kind.PRODUCT, {"key": key, "product": "A-17", "recipe": "r", "triggered_at": "2026-03-04T23:59:59+00:00",
                          "steps": list(answers)}  # fmt: skip


def event(name: str, **content: Any) -> tuple[Kind, dict[str, Any]]:
    return Kind.EVENT, {"event": name, **content}


def kept(key: str, step: int = 0, file: str = "ab/cd.png") -> tuple[Kind, dict[str, Any]]:
    return event("picture", key=key, step=step, file=file)


def test_products_come_with_what_was_said_and_overruled(tmp_path: Path) -> None:
    rect = {"x": 1, "y": 2, "width": 3, "height": 4, "label": "dent", "score": 0.5}
    place = station(
        tmp_path, event("started", steps=[STEP]), product("a", answer()),
        product("b", answer(verdict="NG", defect_rects=[rect])), kept("a"), kept("b"),
        event("overruled", key="b", verdict="OK"),
    )  # fmt: skip
    assert archive.recognise(place)
    found = archive.read(place, "weld")
    assert found.recorded == "weld 1"
    assert [(each.name, each.truth, each.parts) for each in found.products] == [
        ("main/a", "unknown", {"recipe": "r", "day": "2026-03-04"}),
        ("main/b", "good", {"recipe": "r", "day": "2026-03-04"}),
    ]  # fmt: skip
    (shot,) = found.products[0].shots
    assert (shot.step, shot.user_params, found.products[0].pid) == (2, {"level": 4}, "A-17")
    said = found.products[1].recorded
    assert said is not None
    assert (said.verdict, said.values, [rect.label for rect in said.defect_rects]) == ("NG", {"width": 2.5}, ["dent"])


def test_the_journals_folder_alone_is_read_too(tmp_path: Path) -> None:
    place = station(tmp_path, event("started", steps=[STEP]), product("a", answer()), kept("a"))
    journal = place / "data" / "journal" / "main"
    assert archive.recognise(journal)
    assert [each.name for each in archive.read(journal, "weld").products] == ["main/a"]
    assert not archive.recognise(place / "data" / "pictures")


def test_products_without_their_pictures_are_counted(tmp_path: Path) -> None:
    place = station(
        tmp_path, event("started", steps=[STEP, {**STEP, "algorithm": "other"}]), product("a", answer()), kept("a"),
        product("b", answer()), product("c", answer()), kept("c", file="ab/gone.png"),
    )  # fmt: skip
    found = archive.read(place, "weld")
    assert [each.name for each in found.products] == ["main/a"]
    assert found.notes == ("2 products were left out: a picture was not kept, or is gone",)
    assert archive.read(place, "nobody").products == ()


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([answer(verdict="ERROR", error_code="4711")], "ERROR"),
        ([{"step": 0, "verdict": "ERROR", "message": "no answer in time"}], "UNSTABLE"),
        ([], "UNSTABLE"),
    ],
)
def test_an_error_without_an_answer_is_unstable(tmp_path: Path, answers: list[dict[str, Any]], verdict: str) -> None:
    place = station(tmp_path, event("started", steps=[STEP]), product("a", *answers), kept("a"))
    said = archive.read(place, "weld").products[0].recorded
    assert said is not None
    assert said.verdict == verdict
