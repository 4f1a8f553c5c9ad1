"""A station's ledger as an archive for `procvision requalify`: products whose pictures were kept, and what was said.

The entry point `station` of the group `procvision.archives` names this module. What a person overruled is the truth.
A product of which a step was ERROR without an answer, such as one that was late, counts as unstable.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import define, field

from procvision_station.exporting import records
from procvision_station.journal.reading import segments
from procvision_tools.names import shown
from procvision_tools.requalification.archive import Archive, Product, Rect, Said, Shot, Stored, Truth, stored

DATA = "data"
NOT_MEASURED = frozenset({"latency_ms", "truncated"})
"""What the host puts into each answer's `debug` itself."""
_TRUTH: Mapping[str, Truth] = {"OK": "good", "NG": "defective"}


def recognise(path: Path) -> bool:
    """Whether it is a station's folder, or the folder of a line's journal in it."""
    if not path.is_dir():
        return False
    return (path / "station.toml").is_file() or bool(segments([entry.name for entry in path.iterdir()]))


def read(path: Path, algorithm: str) -> Archive:
    """Read the products that an algorithm has judged and whose pictures are there. Raises ProcVisionError, OSError."""
    station = (path / "station.toml").is_file()
    journals = sorted((path / DATA / "journal").iterdir()) if station else [path]
    pictures = (path / DATA if station else path.parents[1]) / "pictures"
    read_lines = [_Line(folder.name, pictures, algorithm) for folder in journals if folder.is_dir()]
    products = [product for line, folder in zip(read_lines, journals, strict=True) for product in line.read(folder)]
    left_out = sum((line.left_out for line in read_lines), Counter[str]())
    versions = sorted({version for line in read_lines for version in line.versions})
    return Archive(
        place=shown(path),
        kind="station",
        products=tuple(products),
        notes=tuple(f"{count} products were left out: {why}" for why, count in sorted(left_out.items())),
        recorded=f"{algorithm} {', '.join(versions)}".strip() if products else "",
    )


@define
class _Line:
    """One line's journal, read from its start."""

    name: str
    pictures: Path
    algorithm: str
    left_out: Counter[str] = field(factory=Counter)
    versions: set[str] = field(factory=set)
    _recipe: Mapping[int, Mapping[str, Any]] = field(factory=dict)
    """The steps of the run that is being read, by their place."""
    _products: dict[str, tuple[Mapping[str, Any], Mapping[int, Mapping[str, Any]]]] = field(factory=dict)
    _files: dict[tuple[str, int], str] = field(factory=dict)
    _overruled: dict[str, str] = field(factory=dict)

    def read(self, folder: Path) -> Iterator[Product]:
        for record in records(self.name, folder):
            if record["kind"] == "product":
                self._products[str(record.get("key"))] = record, self._recipe
            elif record["kind"] == "event":
                self._event(record)
        for key, (told, recipe) in self._products.items():
            product = self._product(key, told, recipe)
            if product is not None:
                yield product

    def _event(self, record: Mapping[str, Any]) -> None:
        match record.get("event"):
            case "started":
                self._recipe = dict(enumerate(record.get("steps", ())))
            case "picture":
                self._files[str(record.get("key")), int(record.get("step", 0))] = str(record.get("file"))
            case "overruled":
                self._overruled[str(record.get("key"))] = str(record.get("verdict"))

    def _product(self, key: str, record: Mapping[str, Any], recipe: Mapping[int, Mapping[str, Any]]) -> Product | None:
        answers = {int(answer["step"]): answer for answer in record.get("steps", ())}
        places = [at for at, step in sorted(recipe.items()) if _name(step.get("algorithm")) == self.algorithm]
        if not places:
            return None
        shots = []
        for at in places:
            file = self._files.get((key, at))
            reference = recipe[at].get("reference")
            needed = [None if file is None else self.pictures / file, None if reference is None else Path(reference)]
            there = [None if path is None or not path.is_file() else stored(path) for path in needed]
            if there[0] is None:
                self.left_out["a picture was not kept, or is gone"] += 1
                return None
            if reference is not None and there[1] is None:
                self.left_out["the step's reference is gone"] += 1
                return None
            shots.append(_shot(there[0], there[1], answers.get(at, {}), recipe[at]))
        own = [answers[at] for at in places if at in answers]
        self.versions.update(str(answer["version"]) for answer in own if answer.get("version"))
        return Product(
            name=f"{self.name}/{key}",
            shots=tuple(shots),
            pid=str(record.get("product") or "") or None,
            truth=_TRUTH.get(self._overruled.get(key, ""), "unknown"),
            parts={"recipe": str(record.get("recipe", "")), "day": str(record.get("triggered_at", ""))[:10]},
            recorded=_said(own, whole=len(own) == len(places)),
        )


def _shot(picture: Stored, reference: Stored | None, answer: Mapping[str, Any], step: Mapping[str, Any]) -> Shot:
    given = answer.get("parameters", step.get("parameters", {}))
    number = answer.get("manifest_step", step.get("step", 1))
    return Shot(picture, step=int(number), reference=reference, user_params=dict(given))


def _name(algorithm: object) -> str:
    return str(algorithm).partition("==")[0].partition("@")[0]


def _said(answers: list[Mapping[str, Any]], *, whole: bool) -> Said:
    verdicts = [answer.get("verdict") for answer in answers]
    if not whole or not all(verdict in ("OK", "NG") for verdict in verdicts):
        code = next((answer.get("error_code") for answer in answers if answer.get("verdict") == "ERROR"), None)
        if code is not None:
            return Said("ERROR", failure=f"answered ERROR {code}")
        return Said("UNSTABLE", failure="recorded without an answer")
    values = {
        name: float(value)
        for answer in answers
        for name, value in dict(answer.get("debug") or {}).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        and name not in NOT_MEASURED
    }  # fmt: skip
    verdict: Literal["OK", "NG"] = "NG" if "NG" in verdicts else "OK"
    rects = tuple(_rect(rect) for answer in answers for rect in answer.get("defect_rects") or ())
    took = [answer["answered_ms"] for answer in answers if isinstance(answer.get("answered_ms"), (int, float))]
    return Said(verdict, defect_rects=rects, values=values, took_ms=sum(took) if len(took) == len(answers) else None)


def _rect(rect: Mapping[str, Any]) -> Rect:
    x, y, width, height = (float(rect[side]) for side in ("x", "y", "width", "height"))
    return Rect(x, y, width, height, str(rect.get("label", "")), float(rect.get("score", 1.0)))
