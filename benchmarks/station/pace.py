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
from collections import Counter
from pathlib import Path
from queue import Empty
from typing import Any

import click
import numpy as np
import psutil

from benchmarks.ours import PLUGIN
from benchmarks.station import latency
from benchmarks.station.latency import RECIPE, STATION, asked, told
from benchmarks.station.noise import Sheet
from procvision_runner import Picture
from procvision_station import png
from procvision_station.companions import commands, companions
from procvision_station.configuration.reading import read_station
from procvision_station.kinds import BUILT_IN, Fired, Kinds
from procvision_station.running import LineRunner
from procvision_station.station import run_station

SAMPLE_S = 1.0


class Noisy(latency.Asked):
    """Gives a picture with other noise each time."""

    def __init__(self, options: latency.NoOptions, folder: Path) -> None:
        super().__init__(options, folder)
        self._sheet = Sheet(*self.size)

    size = (1920, 1080)

    def grab(self, fired: Fired) -> Picture:
        """Cut a picture out of a sheet of noise."""
        return self._sheet.picture()


MARKS = {"host half or cell": "--algo", "projection": "procvision_station.projection", "page": "page"}
"""What stands in the command lines of the line's children."""


def seen(tree: psutil.Process) -> tuple[dict[str, float], dict[str, float]]:
    """Processor seconds and resident megabytes of a process and all below it, by what they are."""
    processor_s: dict[str, float] = {}
    memory: dict[str, float] = {}
    for each in [tree, *tree.children(recursive=True)]:
        try:
            words = each.cmdline()
            name = next((name for name, mark in MARKS.items() if mark in words), "other")
            name = "line" if each == tree else f"{name} {sum(other.startswith(name) for other in memory) + 1}"
            times = each.cpu_times()
            memory[name] = each.memory_info().rss / 1e6
        except psutil.Error:
            continue
        processor_s[name] = times.user + times.system
    return processor_s, memory


def slope(points: list[tuple[float, float]]) -> tuple[float, float]:
    """The least-squares slope per hour and its standard error."""
    x, y = np.array(points).T
    (gradient, _), covariance = np.polyfit(x / 3600, y, 1, cov=True)
    return round(float(gradient), 2), round(float(np.sqrt(covariance[0, 0])), 2)


@click.command()
@click.option("--per-second", default=30.0, show_default=True)
@click.option("--seconds", default=60.0, show_default=True)
@click.option("--warm-up", default=5.0, show_default=True, help="Seconds that count for nothing.")
@click.option("--size", default=(1920, 1080), show_default=True, type=(int, int), help="Of pictures: width, height.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the station lies; left out, a temporary one.")
def pace(per_second: float, seconds: float, warm_up: float, size: tuple[int, int], folder: Path | None) -> None:
    """A line at a pace, with pictures that are all kept: cost of a product, queues and memory over time."""
    Noisy.size = size
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
            report = _driven(per_second, seconds, warm_up)
            asked.put(False)
            running.join()
        report["recorded"] = dict(made["main"].verdicts)
        report["pictures"] = {"encoder": "isal" if png.is_fast() else "zlib", **_pictures(home)}
    print(json.dumps({"load": os.getloadavg(), "per_second": per_second, "size": size, **report}, indent=2))


def _driven(per_second: float, seconds: float, warm_up: float) -> dict[str, Any]:
    """Ask at the pace, and look at the processes each second."""
    own = psutil.Process()
    asked.put(True)
    told.get(timeout=60)
    answered, fired = 1, 1
    samples: list[tuple[float, int, dict[str, float]]] = []
    at_once: Counter[int] = Counter()
    began = time.monotonic()
    counted_from: tuple[dict[str, float], int] | None = None
    while (now := time.monotonic() - began) < warm_up + seconds:
        due = max(fired, int(now * per_second))
        at_once[due - fired] += 1
        while fired < due:
            asked.put(True)
            fired += 1
        answered += _drained()
        if not samples or now - samples[-1][0] >= SAMPLE_S:
            processor_s, memory = seen(own)
            if now >= warm_up and counted_from is None:
                counted_from = (processor_s, answered)
            samples.append((now, fired - answered, memory))
        time.sleep(0.002)
    assert counted_from is not None
    before, products = counted_from[0], max(1, answered - counted_from[1])
    cost = {name: (spent - before.get(name, 0.0)) / products for name, spent in seen(own)[0].items()}
    after = [each for each in samples if each[0] >= warm_up]
    waiting = [each[1] for each in after]
    third = len(waiting) // 3 or 1
    return {
        "fired": fired,
        "answered": answered,
        # More than one where this loop itself was late: a line takes `max_products` on their way, one more is an ERROR.
        "fired_at_once": {str(count): often for count, often in sorted(at_once.items()) if count > 1},
        "processor_ms_a_product": round(sum(cost.values()) * 1000, 2),
        "of them": {name: round(spent * 1000, 2) for name, spent in cost.items()},
        "cores_at_this_pace": round(sum(cost.values()) * per_second, 2),
        "waiting": {"first third": statistics.mean(waiting[:third]), "last third": statistics.mean(waiting[-third:])},
        "rss_mb": {name: _memory([(at, memory[name]) for at, _, memory in after if name in memory]) for name in cost},
    }


def _memory(points: list[tuple[float, float]]) -> dict[str, float]:
    """How a process' memory goes: also over the second half alone, where what fills at first is full."""
    found: dict[str, float] = {}
    for name, part in (("", points), (" of the second half", points[len(points) // 2 :])):
        if len(part) > 3:
            found[f"slope an hour{name}"], found[f"its error{name}"] = slope(part)
    return {"first": round(points[0][1], 1), "last": round(points[-1][1], 1), **found} if points else {}


def _drained() -> int:
    count = 0
    try:
        while True:
            told.get_nowait()
            count += 1
    except Empty:
        return count


def _pictures(home: Path) -> dict[str, Any]:
    """What became of the pictures, by the journal, and why products were ERROR."""
    from procvision_station.exporting import records

    errors: Counter[str] = Counter()
    found: dict[str, Any] = {"kept": 0, "lost": 0, "left out": 0, "errors": errors}
    for each in records("main", home / "data" / "journal" / "main"):
        if each.get("told") == "ERROR":
            errors[each["reason"]] += 1
        if each.get("event") in ("picture", "picture_lost"):
            found["kept" if each["event"] == "picture" else "lost"] += 1
        elif each["kind"] == "product":
            found["left out"] += sum(step.get("picture") == "too many wait" for step in each["steps"])
    return found
