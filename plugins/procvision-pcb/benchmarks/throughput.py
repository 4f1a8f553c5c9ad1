"""Pictures a second through the host, all on one core: `pre` with a new reference and `execute` for every picture.

    DEEPPCB_DIR=... python plugins/procvision-pcb/benchmarks/throughput.py [--core N] [--rounds N]

Each round is `procvision evaluate pcb-compare`, whose runner and host share the core. The rate counts from the first
picture to the last, decoding included; it falls with whatever else the core has to do meanwhile. The processor's time
doesn't: it is both processes', with their start and the report, for each picture.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Round:
    """One pass over the data set."""

    pictures_per_s: float
    cpu_ms: float
    f_score: float
    mean_average_precision: float


def measured(folder: str) -> Round:
    """Run the command once. Exits with its message where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("procvision")),
            *("evaluate", "pcb-compare", folder, "--param", "min_score=0", "--threshold", "0.5", "--json", "-"),
        ],
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode > 1:  # 1 is NG or a refusal among the pictures, which the figures count
        raise SystemExit(done.returncode)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = json.loads(done.stdout)["figures"]
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Round(
        figures["pictures_per_s"],
        cpu_s * 1e3 / figures["pictures"],
        figures["f_score"],
        figures["mean_average_precision"],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)), help="which core does all the work")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    if "DEEPPCB_DIR" not in os.environ:
        print("throughput: the environment variable DEEPPCB_DIR is not set", file=sys.stderr)
        print("hint: let it name the folder that holds pairs/", file=sys.stderr)
        return 64
    os.sched_setaffinity(0, {options.core})
    rounds = []
    print("round pictures/s  CPU ms a picture F-score    mAP")
    for number in range(1, options.rounds + 1):
        one = measured(os.environ["DEEPPCB_DIR"])
        print(
            f"{number:5} {one.pictures_per_s:10.1f} {one.cpu_ms:17.2f}"
            f" {one.f_score:7.4f} {one.mean_average_precision:6.4f}",
            flush=True,
        )
        rounds.append(one)
    rates = [one.pictures_per_s for one in rounds]
    print(f"pictures/s: best {max(rates):.1f}, median {median(rates):.1f}, worst {min(rates):.1f}")
    print(f"CPU ms a picture: best {min(one.cpu_ms for one in rounds):.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
