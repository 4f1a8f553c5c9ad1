"""How much of its disk a station will need, and what its retention then means in days.

What a line wrote lately says most: its rate, its verdicts, the sizes of its pictures. Where there is nothing yet, the
trigger's interval is the rate, and the recipe's reference, with a sensor's noise added and encoded as a kept picture
is, the size. The ledger is never deleted: a month of it is set aside first.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from attrs import frozen

from procvision_runner import Picture
from procvision_station.ballast import BALLAST_BYTES, BALLAST_FILE
from procvision_station.configuration.model import PicturesSection
from procvision_station.configuration.reading import LineConfiguration, StationConfiguration
from procvision_station.configuration.recipes import Recipe
from procvision_station.journal.disk import FolderDisk
from procvision_station.journal.reading import ReadRecord, last_records
from procvision_station.pictures import encoded
from procvision_station.retention import MEGABYTE

DAY_S = 86_400
LEDGER_DAYS = 30.0
"""So much of the ledger is set aside."""
YEAR_DAYS = 365
"""A ledger that fills the disk sooner is warned of."""
LOOKED_AT = 5000
"""The last records of a line: an hour of a product a second."""
ENOUGH = 50
"""Products, or pictures, whose mean is believed."""
ASSUMED_SHARES: Mapping[str, float] = {"OK": 0.95, "NG": 0.05, "ERROR": 0.0}
"""Of a line that has told nothing yet."""
RECORD_BYTES, STEP_BYTES = 900, 800
"""Of a product and of each of its steps, in the journal and in SQLite together: measured over a week of products."""
SENSOR_NOISE = 2.0
"""Standard deviation, in grey levels: noise is what a lossless picture's size comes of."""
CLASSES = ("NG", "ERROR", "OK")
"""In the order in which they get their room."""


@frozen
class LineLoad:
    """What a line writes."""

    name: str
    per_second: float | None
    """Products; None where nobody knows."""
    shares: Mapping[str, float]
    """Of the verdicts."""
    picture_bytes: Mapping[str, float]
    """Of a product's pictures, by verdict, if they are kept; empty where nobody knows."""
    record_bytes: float
    """Of a product, in the ledger."""


@frozen
class Stay:
    """How long the kept pictures of a verdict stay, of which there are some."""

    verdict: str
    bytes_per_day: float
    asked_days: float | None
    """None for as long as there is room."""
    days: float | None
    """For which there is room, with the others that go by room alone; None where all that was asked for fits."""


@frozen
class DiskNeed:
    """What a station needs, held against what is free."""

    free_bytes: int
    room_bytes: float
    """For pictures: what is free and what pictures have now, without `free_mb`, ballast and ledger."""
    ledger_per_day: float
    stays: tuple[Stay, ...]
    unknown: tuple[str, ...]
    """What is not known, in words: it is left out."""


def disk_need(station: StationConfiguration, per_second: float | None = None) -> DiskNeed:
    """Compute a station's need. `per_second` is for lines whose trigger and journal say no rate. Raises OSError."""
    loads = [_load(station, line, per_second) for line in station.lines.values()]
    place = next(each for each in (station.pictures_folder, *station.pictures_folder.parents) if each.is_dir())
    status = os.statvfs(place)
    free = status.f_bavail * status.f_frsize
    kept = 0
    for path in station.pictures_folder.glob("??/*"):
        with contextlib.suppress(OSError):  # it goes meanwhile
            kept += path.stat().st_size
    with contextlib.suppress(OSError):
        free += (station.data_folder / BALLAST_FILE).stat().st_size
    return held_against(station.file.pictures, loads, free, kept)


def held_against(policy: PicturesSection, loads: list[LineLoad], free_bytes: int, kept_bytes: int) -> DiskNeed:
    """Hold what lines write to the room there is. The classes that go last are given their room first."""
    per_day = dict.fromkeys(CLASSES, 0.0)
    ledger, unknown = 0.0, []
    shares = {"OK": policy.keep_ok, "NG": policy.keep_ng, "ERROR": policy.keep_error}
    for load_of in loads:
        if load_of.per_second is None:
            unknown.append(f"how often a product comes to {load_of.name}")
            continue
        a_day = load_of.per_second * DAY_S
        ledger += a_day * load_of.record_bytes
        if not load_of.picture_bytes:
            unknown.append(f"how big a picture of {load_of.name} is")
        for verdict, size in load_of.picture_bytes.items():
            per_day[verdict] += a_day * load_of.shares[verdict] * shares[verdict] * size
    days = {"OK": policy.ok_days, "NG": policy.ng_days, "ERROR": policy.error_days}
    room = free_bytes + kept_bytes - policy.free_mb * MEGABYTE - BALLAST_BYTES - LEDGER_DAYS * ledger
    stays, left = [], max(0.0, room)
    for verdict in CLASSES:
        a_day, asked = per_day[verdict], days[verdict]
        if a_day and asked is not None:
            stays.append(Stay(verdict, a_day, asked, left / a_day if a_day * asked > left else None))
            left -= min(left, a_day * asked)
    for_ever = [verdict for verdict in CLASSES if per_day[verdict] and days[verdict] is None]
    together = sum(per_day[verdict] for verdict in for_ever)
    stays += [Stay(verdict, per_day[verdict], None, left / together) for verdict in for_ever]
    return DiskNeed(free_bytes, room, ledger, tuple(stays), tuple(unknown))


def in_words(need: DiskNeed, policy: PicturesSection) -> Iterator[tuple[str, str, str]]:
    """Yield the report: `info`, `warning` or `error`, a text, and a hint."""
    pictures = sum(stay.bytes_per_day for stay in need.stays)
    a_day = f"kept pictures take {_size(pictures)} a day, the ledger {_size(need.ledger_per_day)}"
    yield "info", f"disk: {_size(need.free_bytes)} are free; {a_day}", ""
    for what in need.unknown:
        yield "warning", f"disk: nobody knows {what}: it is left out", "--per-second, a reference, or a first hour"
    if need.free_bytes < policy.free_mb * MEGABYTE:
        said = f"pictures.free_mb is {policy.free_mb} MB, and {need.free_bytes // MEGABYTE} MB are free"
        yield "error", f"disk: {said}: every kept picture would go at once", "another disk, or a smaller free_mb"
        return
    ledger_days = (need.free_bytes - BALLAST_BYTES) / need.ledger_per_day if need.ledger_per_day else YEAR_DAYS
    if ledger_days < YEAR_DAYS:
        said = f"the ledger, which is never deleted, fills it in {_days(ledger_days)} by itself"
        yield "warning", f"disk: {said}", "a bigger disk; closed segments are in a backup"
    for stay in need.stays:
        if stay.asked_days is not None and stay.days is not None:
            wanted = _size(stay.asked_days * stay.bytes_per_day)
            said = f"{stay.verdict} pictures of {_days(stay.asked_days)} take {wanted}"
            key = {"OK": "keep_ok, ok_as, ok_days", "NG": "ng_days", "ERROR": "keep_error, error_days"}[stay.verdict]
            yield "warning", f"disk: {said}, and there is room for {_days(stay.days)}", f"{key}, or a bigger disk"
    for_ever = [stay for stay in need.stays if stay.asked_days is None]
    if for_ever and for_ever[0].days is not None:
        names = " and ".join(stay.verdict for stay in for_ever)
        yield "info", f"disk: {names} pictures go by room alone: they fill it in {_days(for_ever[0].days)}", ""


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _days(days: float) -> str:
    return f"{days:.0f} days" if days >= 10 else f"{days:.1f} days"


# --- what a line writes ---------------------------------------------------------------------------------------


def _load(station: StationConfiguration, line: LineConfiguration, per_second: float | None) -> LineLoad:
    told: Counter[str] = Counter()
    of_key: dict[str, str] = {}
    sizes: dict[str, list[float]] = defaultdict(list)
    times = []
    for record in _last(station.journal_folder(line.name)):
        content = record.content()
        if "event" not in content and "steps" in content:
            of_key[content["key"]] = content["told"]
            told[content["told"]] += 1
            times.append(record.header.time_ns / 1e9)
        elif content.get("event") == "picture":
            sizes[of_key.get(content["key"], "")].append(float(content["bytes"]))
    every_s = getattr(line.trigger.options, "every_s", None)
    rate = 1 / every_s if every_s else None
    if rate is None and len(times) >= ENOUGH and times[-1] > times[0]:
        rate = (len(times) - 1) / (times[-1] - times[0])
    steps = len(line.recipe.steps)
    enough = told.total() >= ENOUGH
    return LineLoad(
        name=line.name,
        per_second=rate or per_second,
        shares={each: told[each] / told.total() for each in CLASSES} if enough else ASSUMED_SHARES,
        picture_bytes=_picture_bytes(station, line.recipe, sizes, steps),
        record_bytes=RECORD_BYTES + STEP_BYTES * steps,
    )


def _last(folder: Path) -> list[ReadRecord]:
    return last_records(FolderDisk(folder), LOOKED_AT) if folder.is_dir() else []


def _picture_bytes(
    station: StationConfiguration, recipe: Recipe, sizes: Mapping[str, list[float]], steps: int
) -> dict[str, float]:
    """Return the bytes of a product's pictures by its verdict: those that were written, or the references'."""
    found: dict[str, float] = {}
    estimated: dict[bool, float] = {}
    for verdict in CLASSES:
        lossy = verdict == "OK" and station.file.pictures.ok_as == "jpeg"
        of_it = sizes.get(verdict, [])
        if len(of_it) >= ENOUGH:
            found[verdict] = steps * sum(of_it) / len(of_it)
            continue
        if lossy not in estimated:
            estimated[lossy] = _of_references(recipe, lossy=lossy)
        if estimated[lossy]:
            found[verdict] = estimated[lossy]
    return found if len(found) == len(CLASSES) else {}


def _of_references(recipe: Recipe, *, lossy: bool) -> float:
    """Return the bytes that a product's pictures would have; 0 where the recipe has no reference."""
    each = [_noisy_size(step.reference, lossy=lossy) for step in recipe.steps if step.reference is not None]
    return len(recipe.steps) * sum(each) / len(each) if each else 0.0


def _noisy_size(path: Path, *, lossy: bool) -> int:
    """Return how many bytes a kept picture like a reference has. A reference may have no noise: it may be drawn."""
    from procvision_tools.extras import need

    image = need("PIL.Image", "Pillow", "keeping pictures", "station").open(path)
    pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"), np.float32)
    noisy = pixels + np.random.default_rng(0).normal(0, SENSOR_NOISE, pixels.shape)
    return len(encoded(Picture.of(noisy.clip(0, 255).astype(np.uint8)), lossy=lossy)[0])
