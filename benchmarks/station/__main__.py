"""`python -m benchmarks.station WHAT`: each prints JSON."""

from __future__ import annotations

import click

from benchmarks.station.latency import browsers, latency
from benchmarks.station.memory import memory
from benchmarks.station.pace import pace
from benchmarks.station.week import week


@click.group()
def main() -> None:
    """What a station's line costs, and whether its page stays quick."""


for command in (latency, browsers, pace, memory, week):
    main.add_command(command)

if __name__ == "__main__":
    main()
