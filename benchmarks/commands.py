"""`python -m benchmarks.commands`: what the commands cost a user, beside a bare loop around the algorithm.

    DEEPPCB_DIR=... python -m benchmarks.commands [--rounds N] [--pictures N] [--only NAME] [--json FILE]

The bare loop is a program without hosts: it loads pcb-compare, reads and decodes each pair, and calls `pre_execute` and
`execute`. Cases run one after the other in each round; ratios are taken within a round, of the processor time of all
processes of a case (user and system), which other work on the machine changes far less than the clock. What a speed-up
by workers is on idle cores is told by the clock of the same round; `two of them at once` says what this machine's cores
give at most. The bare loop has OpenCV's threads as they are by default; with one, as a worker's host has, it costs a
quarter less where cores are idle: the other thread waits by spinning.

`engine` inspects with an algorithm that takes 20 ms of the processor, by bare hosts (a supervisor in a loop) and by
`evaluate`: what the second adds is told in percent of those 20 ms.
"""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import attrs
import click

from benchmarks.ours import environment
from procvision_tools.engines.protocol import THREAD_VARIABLES

ALGORITHM = "pcb-compare"
BUSY_STEP, BUSY_S = 6, 0.02
"""Of the benchmarks' algorithm: so much of the processor's time."""
AT_MOST = {"evaluate --jobs 1": 1.15}
"""Of the bare loop's processor time."""


@attrs.frozen
class Took:
    """What a case took, its start and end included."""

    cpu_s: float
    wall_s: float
    load: float
    """Processes that were ready to run, of the last minute."""


def took(command: Sequence[str], env: Mapping[str, str] | None = None) -> Took:
    """Run a command. Exits with what it said where it fails; 1 is a verdict."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env, text=True, check=False)
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode > 1:
        raise click.ClickException(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(cpu_s, wall_s, os.getloadavg()[0])


def bare(folder: Path) -> None:
    """The loop: nothing but the algorithm and its pictures."""
    from procvision_pcb.algorithm import PcbCompare
    from procvision_sdk.images.decode import decode
    from procvision_sdk.images.meta import ImageMeta
    from procvision_sdk.images.reading import bind_image_reader
    from procvision_sdk.session import Session

    pictures: dict[str, Any] = {}
    algorithm = PcbCompare()
    algorithm.setup()
    steps = algorithm.get_info()["steps"]
    params = {one["key"]: one["default"] for one in steps[0]["params"] if "default" in one}
    with bind_image_reader(lambda name, _: pictures[name]):
        for number, image in enumerate(sorted(folder.glob("**/*_test.jpg"))):
            session = Session(str(number))
            for part, call in (("temp", algorithm.pre_execute), ("test", algorithm.execute)):
                data = image.with_name(image.name.replace("_test", f"_{part}")).read_bytes()
                meta = ImageMeta(width=640, height=640, color_space="RGB", encoding="jpeg")
                pictures["one"] = decode(data, meta)
                call(1, "unnamed", session, params, "one", {})


def bare_hosts(folder: Path) -> None:
    """A supervisor and its host in a loop, for the algorithm that is busy."""
    from procvision_runner import Supervisor
    from procvision_tools.sources.picture_files import load

    with Supervisor("bench") as station:
        for image in sorted(folder.glob("**/*_test.jpg")):
            session = station.session()
            station.pre_execute(
                load(image.with_name(image.name.replace("_test", "_temp"))).picture(),
                pid="A",
                step_index=BUSY_STEP,
                session=session,
            )
            station.execute(load(image).picture(), pid="A", step_index=BUSY_STEP, session=session, final=True)


def cases(folder: Path, one: Path) -> dict[str, tuple[list[str], str | None]]:
    """Each case's command, and what it is divided by."""
    program = str(Path(sys.executable).with_name("procvision"))
    image = next(iter(sorted(one.glob("**/*_test.jpg"))))
    reference = image.with_name(image.name.replace("_test", "_temp"))
    here = [sys.executable, "-m", "benchmarks.commands"]
    on_one_thread = ["env", *(f"{name}=1" for name in THREAD_VARIABLES)]
    loop = shlex.join([*on_one_thread, *here, "--bare", str(folder)])
    evaluate = [program, "evaluate", ALGORITHM, str(folder), "--jobs"]
    requalify = [program, "requalify", ALGORITHM, str(folder), "--against", ALGORITHM, "--isolation", "basic", "--jobs"]
    busy = [program, "evaluate", "bench", str(folder), "--step", str(BUSY_STEP), "--jobs"]
    return {
        "bare, one picture": ([*here, "--bare", str(one)], None),
        "run": ([program, "run", ALGORITHM, "--reference", str(reference), str(image)], "bare, one picture"),
        "bare loop": ([*here, "--bare", str(folder)], None),
        "bare loop, one thread": ([*on_one_thread, *here, "--bare", str(folder)], "bare loop"),
        "two of them at once": (["sh", "-c", f"{loop} & {loop}; wait"], "bare loop, one thread"),
        "evaluate --jobs 1": ([*evaluate, "1"], "bare loop"),
        "evaluate --jobs 2": ([*evaluate, "2"], "evaluate --jobs 1"),
        "requalify --jobs 1": ([*requalify, "1"], None),
        "requalify --jobs 2": ([*requalify, "2"], "requalify --jobs 1"),
        "bare hosts, 20 ms": ([*here, "--bare-hosts", str(folder)], None),
        "engine, 20 ms": ([*busy, "1"], "bare hosts, 20 ms"),
    }


def chosen(all_cases: Mapping[str, tuple[list[str], str | None]], only: str | None) -> list[str]:
    """The cases whose name begins with a text, each after what it is divided by."""
    names: list[str] = []
    for name, (_, reference) in all_cases.items():
        if only is None or name.startswith(only):
            names += [each for each in (reference, name) if each is not None and each not in names]
    return names


def linked(source: Path, goal: Path, pictures: int) -> Path:
    """A data set of the first pairs."""
    images = sorted(source.glob("**/*_test.jpg"))[:pictures]
    if len(images) < pictures:
        raise click.ClickException(f"{source} has {len(images)} pairs, {pictures} are wanted")
    for image in images:
        folder = goal / image.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        stem = image.name.removesuffix("_test.jpg")
        for name in (image.name, f"{stem}_temp.jpg", f"{stem}.txt"):
            shutil.copy(image.with_name(name), folder)
    return goal


def row(name: str, reference: str | None, rounds: Sequence[Mapping[str, Took]], pictures: int) -> dict[str, Any]:
    """Medians over the rounds, and of the ratios within each."""
    mine = [each[name] for each in rounds]
    told: dict[str, Any] = {
        "case": name,
        "cpu_ms": round(median(one.cpu_s for one in mine) * 1e3, 1),
        "wall_ms": round(median(one.wall_s for one in mine) * 1e3, 1),
        "least_wall_ms": round(min(one.wall_s for one in mine) * 1e3, 1),
        "load": round(median(one.load for one in mine), 1),
    }
    if reference is not None:
        pairs = [(each[name], each[reference]) for each in rounds]
        told["reference"] = reference
        told["cpu_ratio"] = round(median(a.cpu_s / b.cpu_s for a, b in pairs), 3)
        told["wall_ratio"] = round(median(a.wall_s / b.wall_s for a, b in pairs), 3)
        told["at_most"] = AT_MOST.get(name)
        if name.startswith("engine"):
            told["added_percent"] = round(median((a.cpu_s - b.cpu_s) / pictures / BUSY_S for a, b in pairs) * 100, 1)
    return told


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--pictures", default=100, show_default=True, help="Pairs of the data set; it has 1000.")
@click.option("--only", metavar="NAME", help="The cases whose names begin so, with their references.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the figures to this file.")
@click.option("--bare", "bare_folder", type=click.Path(path_type=Path), hidden=True)
@click.option("--bare-hosts", "hosts_folder", type=click.Path(path_type=Path), hidden=True)
def main(
    rounds: int,
    pictures: int,
    only: str | None,
    json_file: Path | None,
    bare_folder: Path | None,
    hosts_folder: Path | None,
) -> None:
    """Measure the commands in alternating rounds."""
    if bare_folder is not None:
        return bare(bare_folder)
    if hosts_folder is not None:
        return bare_hosts(hosts_folder)
    if "DEEPPCB_DIR" not in os.environ:
        raise click.ClickException("DEEPPCB_DIR is not set: let it name the folder that holds pairs/")
    found: list[dict[str, Took]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        source = Path(os.environ["DEEPPCB_DIR"])
        every = cases(linked(source, folder / "all", pictures), linked(source, folder / "one", 1))
        names = chosen(every, only)
        for number in range(rounds + 1):
            one = {name: took(every[name][0], environment()) for name in names}
            if number:  # the first is for caches and bytecode
                found.append(one)
                click.echo(f"round {number}: " + ", ".join(f"{n} {t.cpu_s:.2f} s" for n, t in one.items()), err=True)
    rows = [row(name, every[name][1], found, pictures) for name in names]
    if json_file is not None:
        json_file.write_text(
            json.dumps({"pictures": pictures, "rounds": rounds, "rows": rows}, indent=1) + "\n", "utf-8"
        )
    for told in rows:
        click.echo("  ".join(f"{key} {value}" for key, value in told.items() if value is not None))
    return None


if __name__ == "__main__":
    main()
