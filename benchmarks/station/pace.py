"""A line at a pace, with pictures of two megapixels that are all kept: what a product costs, queues, and memory.

The cost is processor time over all processes: it says whether a machine keeps up, also where others work on it. Each
picture has noise of its own, so that no file is shared and none compresses better than a sensor's.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from queue import Empty
from typing import Any

import click
import numpy as np
import psutil

from benchmarks.ours import PLUGIN
from benchmarks.station import latency
from benchmarks.station.latency import RECIPE, STATION, asked, told
from procvision_runner import Picture
from procvision_station.companions import commands, companions
from procvision_station.configuration.reading import read_station
from procvision_station.kinds import BUILT_IN, Fired, Kinds
from procvision_station.running import LineRunner
from procvision_station.station import run_station

WIDTH, HEIGHT = 1920, 1080
SAMPLE_S = 1.0


class Noisy(latency.Asked):
    """Gives a picture with other noise each time."""

    def __init__(self, options: latency.NoOptions, folder: Path) -> None:
        super().__init__(options, folder)
        self._noise = np.random.default_rng(1).normal(128, 3, (2 * HEIGHT, 2 * WIDTH)).astype(np.uint8)
        self._draw = np.random.default_rng(2)

    def grab(self, fired: Fired) -> Picture:
        """Cut a picture out of a sheet of noise."""
        y, x = self._draw.integers(0, HEIGHT), self._draw.integers(0, WIDTH)
        return Picture.of(self._noise[y : y + HEIGHT, x : x + WIDTH].copy())


def processor_s(tree: psutil.Process) -> float:
    """Processor time of a process and all below it."""
    total = 0.0
    for each in [tree, *tree.children(recursive=True)]:
        try:
            times = each.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def slope(points: list[tuple[float, float]]) -> tuple[float, float]:
    """The least-squares slope per hour and its standard error."""
    x, y = np.array(points).T
    (gradient, _), covariance = np.polyfit(x / 3600, y, 1, cov=True)
    return round(float(gradient), 2), round(float(np.sqrt(covariance[0, 0])), 2)


@click.command()
@click.option("--per-second", default=30.0, show_default=True)
@click.option("--seconds", default=60.0, show_default=True)
@click.option("--warm-up", default=5.0, show_default=True, help="Seconds that count for nothing.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the station lies; left out, a temporary one.")
def pace(per_second: float, seconds: float, warm_up: float, folder: Path | None) -> None:
    """A line at a pace, with pictures of 2 megapixels, all kept: cost of a product, queue and memory over time."""
    sys.path.append(str(PLUGIN))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PLUGIN), os.environ.get("PYTHONPATH", "")]))
    here = {"trigger": "Asked", "output": "Asked", "camera": "Noisy"}
    homes = {
        sort: {**known, "asked": f"{Noisy.__module__ if sort == 'camera' else latency.__name__}:{here[sort]}"}
        for sort, known in BUILT_IN.items()
    }
    kinds = Kinds(homes)
    with tempfile.TemporaryDirectory(prefix="procvision-pace-", dir=folder) as name:
        home = Path(name)
        (home / "recipes").mkdir()
        (home / "recipes" / "bench.toml").write_text(RECIPE)
        text = STATION.format(keep=1).replace("keep_ng = 0", "keep_ng = 1").replace("keep_error = 0", "keep_error = 1")
        (home / "station.toml").write_text(text)
        station = read_station(home, kinds)
        made: dict[str, LineRunner] = {}

        def run() -> None:
            made.update(run_station(station, print, kinds))

        with companions(commands(station), print):
            running = threading.Thread(target=run)
            running.start()
            report = _driven(per_second, seconds, warm_up, home)
            asked.put(False)
            running.join()
        report["recorded"] = dict(made["main"].verdicts)
        report["pictures"] = _pictures(home)
    print(json.dumps({"load": os.getloadavg(), "per_second": per_second, **report}, indent=2))


def _driven(per_second: float, seconds: float, warm_up: float, home: Path) -> dict[str, Any]:
    """Ask at the pace, and look at the processes each second."""
    own = psutil.Process()
    asked.put(True)
    told.get(timeout=60)
    answered, fired = 1, 1
    samples: list[dict[str, float]] = []
    began = time.monotonic()
    counted_from = (0.0, 0)
    while (now := time.monotonic() - began) < warm_up + seconds:
        while fired < now * per_second:
            asked.put(True)
            fired += 1
        answered += _drained()
        if not samples or now - samples[-1]["at"] >= SAMPLE_S:
            if now >= warm_up and counted_from == (0.0, 0):
                counted_from = (processor_s(own), answered)
            events = sum(path.stat().st_size for path in (home / "data" / "journal").rglob("*.seg"))
            samples.append(
                {"at": now, "waiting": fired - answered, "rss_mb": own.memory_info().rss / 1e6, "journal": events}
            )
        time.sleep(0.002)
    cost = (processor_s(own) - counted_from[0]) / max(1, answered - counted_from[1])
    after = [each for each in samples if each["at"] >= warm_up]
    waiting = [each["waiting"] for each in after]
    third = len(waiting) // 3 or 1
    points = [(each["at"], each["rss_mb"]) for each in after]
    gradient, error = slope(points) if len(points) > 3 else (0.0, 0.0)
    return {
        "fired": fired,
        "answered": answered,
        "processor_ms_a_product": round(cost * 1000, 2),
        "cores_at_this_pace": round(cost * per_second, 2),
        "waiting": {"first third": statistics.mean(waiting[:third]), "last third": statistics.mean(waiting[-third:])},
        "rss_mb": {"first": points[0][1], "last": points[-1][1], "slope an hour": gradient, "its error": error},
    }


def _drained() -> int:
    count = 0
    try:
        while True:
            told.get_nowait()
            count += 1
    except Empty:
        return count


def _pictures(home: Path) -> dict[str, int]:
    """What became of the pictures, by the journal."""
    from procvision_station.exporting import records

    found = {"kept": 0, "lost": 0, "left out": 0}
    for each in records("main", home / "data" / "journal" / "main"):
        if each.get("event") in ("picture", "picture_lost"):
            found["kept" if each["event"] == "picture" else "lost"] += 1
        elif each["kind"] == "product":
            found["left out"] += sum(step.get("picture") == "too many wait" for step in each["steps"])
    return found
