"""From trigger to verdict in a station's line, beside a bare Supervisor and one sync.

The arms take turns, product by product, with the same picture and an algorithm that costs nothing. The bare arm makes a
session, inspects, and writes and syncs as many bytes as a record has: what a program would do that keeps evidence.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import click
import msgspec

from benchmarks.ours import PLUGIN
from benchmarks.pictures import picture
from benchmarks.station.week import token_of
from procvision_runner import Picture, Supervisor
from procvision_station.configuration.reading import read_station
from procvision_station.kinds import BUILT_IN, Fired, Kinds
from procvision_station.station import run_station

WIDTH, HEIGHT = 1920, 1080
RECORD_BYTES = 900
"""A record of one step with its header."""
PAUSE_S = 0.01
STATION = """\
[station]
name = "benchmark"
[pictures]
keep_ok = {keep}
keep_ng = 0
keep_error = 0
free_mb = 0
[lines.main]
recipe = "bench"
deadline_ms = 2000
[lines.main.trigger]
kind = "asked"
[lines.main.cameras.top]
kind = "asked"
[[lines.main.outputs]]
kind = "asked"
"""
RECIPE = 'product = "A"\n[[steps]]\ncamera = "top"\nalgorithm = "bench"\n'

asked: SimpleQueue[bool] = SimpleQueue()
told: SimpleQueue[tuple[float, str]] = SimpleQueue()
PICTURE = Picture.of(picture(WIDTH, HEIGHT, "RGB"), color_space="RGB")


class NoOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the parts below."""


class Asked:
    """Trigger, camera and output of the line, driven by the loop below."""

    options = NoOptions

    def __init__(self, options: NoOptions, folder: Path) -> None:
        """Do nothing."""

    def wait(self, stop: threading.Event) -> Fired | None:
        """Wait until the loop asks."""
        return Fired() if asked.get() and not stop.is_set() else None

    def grab(self, fired: Fired) -> Picture:
        """Give the one picture."""
        return PICTURE

    def tell(self, verdict: Any) -> None:
        """Note when the verdict came."""
        told.put((time.perf_counter(), f"{verdict.verdict} {verdict.reason}".strip()))

    def close(self) -> None:
        """Do nothing."""


def through_the_line() -> float:
    """Seconds of one product."""
    began = time.perf_counter()
    asked.put(True)
    ended, verdict = told.get(timeout=10)
    assert verdict == "OK", verdict
    return ended - began


def bare(host: Supervisor, descriptor: int, record: bytes) -> tuple[float, float]:
    """Seconds of one product, and of its sync alone."""
    began = time.perf_counter()
    session = host.session({"product_key": "a"})
    assert host.execute(PICTURE, pid="A", session=session, final=True).verdict == "OK"
    inspected = time.perf_counter()
    os.write(descriptor, record)
    os.fdatasync(descriptor)
    ended = time.perf_counter()
    return ended - began, ended - inspected


@click.command()
@click.option("--products", default=2000, help="Of each arm.")
@click.option("--keep", default=0.0, help="The share whose pictures are kept.")
def latency(products: int, keep: float) -> None:
    """Print the percentiles of both arms and of their difference, in milliseconds."""
    kinds = _prepared()
    with tempfile.TemporaryDirectory(prefix="procvision-bench-") as name:
        folder = _station_in(Path(name), keep)
        station = read_station(folder, kinds)
        running = threading.Thread(target=run_station, args=(station, print, kinds))
        running.start()
        descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        arms: dict[str, list[float]] = {"line": [], "bare": [], "sync": []}
        with Supervisor("bench") as host:
            for number in range(products + 100):
                ours = through_the_line()
                time.sleep(PAUSE_S)
                whole, sync = bare(host, descriptor, bytes(RECORD_BYTES))
                time.sleep(PAUSE_S)
                if number >= 100:
                    for arm, seconds in (("line", ours), ("bare", whole), ("sync", sync)):
                        arms[arm].append(seconds * 1000)
        asked.put(False)
        running.join()
        os.close(descriptor)
    report = {arm: _percentiles(values) for arm, values in arms.items()}
    report["line - bare"] = _percentiles([ours - other for ours, other in zip(arms["line"], arms["bare"], strict=True)])
    print(json.dumps({"load": os.getloadavg(), "products": products, "keep": keep, "milliseconds": report}, indent=2))


@click.command()
@click.option("--blocks", default=8, show_default=True, help="Of each arm; they take turns.")
@click.option("--products", default=200, show_default=True, help="Of a block.")
@click.option("--stalled", default=50, show_default=True)
@click.option("--busy", default=20, show_default=True, help="And one that exports everything.")
def browsers(blocks: int, products: int, stalled: int, busy: int) -> None:
    """What browsers of the page, stalled and busy, do to a line's way from trigger to verdict."""
    from procvision_station.companions import commands, companions, free_port

    kinds, port = _prepared(), free_port()
    with tempfile.TemporaryDirectory(prefix="procvision-bench-") as name:
        folder = _station_in(Path(name), 0.0, f"[web]\nport = {port}\n")
        station = read_station(folder, kinds)
        token = token_of(folder)
        running = threading.Thread(target=run_station, args=(station, print, kinds))
        running.start()
        arms: dict[str, list[list[float]]] = {"quiet": [], "beside browsers": []}
        with companions(commands(station), lambda text: print(text, file=sys.stderr)):
            _block(products)
            for _ in range(blocks):
                arms["quiet"].append(_block(products))
                with _browsers(port, token, stalled, busy):
                    arms["beside browsers"].append(_block(products))
        asked.put(False)
        running.join()
    report: dict[str, Any] = {"load": os.getloadavg(), "blocks": blocks, "products": products}
    medians = {}
    for arm, found in arms.items():
        p99 = [_percentiles(block)["p99"] for block in found]
        medians[arm] = statistics.median(p99)
        whole = _percentiles([value for block in found for value in block])
        report[arm] = {**whole, "p99 of the blocks": p99, "their spread": round(max(p99) - min(p99), 3)}
    report["difference of the median p99"] = round(medians["beside browsers"] - medians["quiet"], 3)
    print(json.dumps(report, indent=2))


def _block(products: int) -> list[float]:
    found = []
    for _ in range(products):
        found.append(through_the_line() * 1000)
        time.sleep(PAUSE_S)
    return found


@contextlib.contextmanager
def _browsers(port: int, token: str, stalled: int, busy: int) -> Iterator[None]:
    """Browsers that are at work within the block."""
    command = [sys.executable, "-m", "benchmarks.station.browsers", "127.0.0.1", str(port), token]
    command += [str(stalled), str(busy)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield
            assert process.poll() is None, "the browsers ended"
        finally:
            process.kill()


def _prepared() -> Kinds:
    sys.path.append(str(PLUGIN))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PLUGIN), os.environ.get("PYTHONPATH", "")]))
    return Kinds({sort: {**known, "asked": f"{__name__}:Asked"} for sort, known in BUILT_IN.items()})


def _station_in(folder: Path, keep: float, more: str = "") -> Path:
    (folder / "recipes").mkdir()
    (folder / "recipes" / "bench.toml").write_text(RECIPE)
    (folder / "station.toml").write_text(more + STATION.format(keep=keep))
    return folder


def _percentiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100)
    return {"p50": round(cuts[49], 3), "p90": round(cuts[89], 3), "p99": round(cuts[98], 3)}
