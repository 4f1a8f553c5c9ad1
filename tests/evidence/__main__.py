"""`python -m tests.evidence WHAT`: prints JSON. The exit status is 0 if the ledger has what was told, once, whole."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tests.evidence.damage import DAMAGES, DamagedDatabase
from tests.evidence.disk import FullDisk
from tests.evidence.held import HeldStation
from tests.evidence.kills import Kills
from tests.evidence.outage import Outage
from tests.evidence.power import PowerCuts

SUPPORT = str(Path(__file__).parents[2] / "plugins" / "procvision-postgres" / "tests" / "support")


EVIDENCE, DATABASES = ("behind", "first"), ("sqlite", "postgresql")


@click.group()
def main() -> None:
    """What a station's ledger is held to, in the long form."""


@main.command()
@click.option("--kills", "total", default=1000, show_default=True)
@click.option("--batch", default=100, show_default=True, help="Kills of one station.")
@click.option("--seed", type=int, default=lambda: int(time.time()), help="Of victims and moments.")
@click.option("--evidence", type=click.Choice(EVIDENCE), help="Left out, both take turns.")
@click.option("--database", type=click.Choice(DATABASES), help="Left out, both take turns.")
def kills(total: int, batch: int, seed: int, evidence: str | None, database: str | None) -> None:
    """Kill the station's processes at random moments."""
    wrong = False
    for place in range(-(-total // batch)):
        of, url = evidence or EVIDENCE[place % 2], database or DATABASES[place % 4 // 2]
        report = _batch(seed + place, min(batch, total - place * batch), of, url, page=place % 4 == 0)
        wrong = _shown(report) or wrong
    sys.exit(wrong)


def _batch(seed: int, count: int, evidence: str, database: str, *, page: bool) -> dict[str, Any]:
    settings = {"seed": seed, "evidence": evidence, "database": database, "page": page}
    with _folder() as folder, _server(database) as server:
        url = server.url if server is not None else "sqlite"
        station = HeldStation(folder, evidence=evidence, database=url, page=page, ok_days=0.0002)

        def restart() -> None:
            server.kill()
            server.start()

        return {**settings, **Kills(station, seed, restart if server is not None else None).run(count)}


@main.command()
@click.option("--seconds", default=20.0, show_default=True, help="Of a station under strace.")
@click.option("--fates", default=2, show_default=True, help="Of what was not synced, at each place of the trace.")
@click.option("--seed", default=1, show_default=True)
@click.option("--evidence", type=click.Choice(EVIDENCE), help="Left out, one after the other.")
def power(seconds: float, fates: int, seed: int, evidence: str | None) -> None:
    """Cut the power after each write, sync and rename of a whole station, with either kind of evidence."""
    wrong = False
    for of in [evidence] if evidence is not None else EVIDENCE:
        with _folder() as folder:
            station = HeldStation(folder, evidence=of, every_s=0.3, deadline_ms=8000, ok_days=0.00003, scenes=40)
            report = {"evidence": of, **PowerCuts(station, seed).run(seconds, fates)}
        wrong = _shown(report) or wrong
    sys.exit(wrong)


@main.command()
@click.option("--rounds", default=3, show_default=True, help="So often it fills, and is emptied.")
@click.option("--seconds", default=8.0, show_default=True, help="So long it is full in each.")
@click.option("--evidence", type=click.Choice(EVIDENCE), default="behind", show_default=True)
def disk(rounds: int, seconds: float, evidence: str) -> None:
    """Fill the station's file system, a tmpfs of its own, to its last byte, and empty it again. It takes root."""
    with _folder() as folder, _small_disk(folder.parent / "disk") as place:
        station = HeldStation(
            place / "line",
            evidence=evidence,
            telling=folder.parent,
            every_s=0.2,
            keep_ok=1.0,
            free_mb=44,
            scenes=700,
            padding=50_000,
        )
        sys.exit(_shown({"evidence": evidence, **FullDisk(station).run(rounds, seconds)}))


@main.command()
@click.option("--rounds", default=len(DAMAGES), show_default=True, help="Each kind of damage takes its turn.")
@click.option("--first", default=0, show_default=True, help="Which kind begins.")
@click.option("--seconds", default=60.0, show_default=True, help="Of load before the first one.")
def damage(rounds: int, first: int, seconds: float) -> None:
    """Remove, replace, cut and overwrite the projection's SQLite file while the station runs."""
    with _folder() as folder:
        station = HeldStation(folder, every_s=0.1, ok_days=0.00015, scenes=2000)
        sys.exit(_shown(DamagedDatabase(station).run(rounds, seconds, first)))


@main.command()
@click.option("--seconds", default=150.0, show_default=True, help="So long it is away, and then frozen.")
@click.option("--crashes", default=20, show_default=True)
def database(seconds: float, crashes: int) -> None:
    """Crash, stop and freeze the PostgreSQL of a projection under load."""
    with _folder() as folder, _server("postgresql") as server:
        station = HeldStation(folder, database=server.url, every_s=0.1)
        sys.exit(_shown(Outage(station, server).run(seconds, crashes)))


def _shown(report: dict[str, Any]) -> bool:
    """Print a report; whether something was wrong."""
    click.echo(json.dumps({"load": os.getloadavg()[0], **report}))
    return bool(report["wrong"])


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="procvision-evidence-") as name:
        yield Path(name) / "line"


@contextlib.contextmanager
def _small_disk(place: Path, size: str = "80m") -> Iterator[Path]:
    """A file system of so many bytes."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@contextlib.contextmanager
def _server(database: str) -> Iterator[Any]:
    """A PostgreSQL of its own, where one is asked for."""
    if database != "postgresql":
        yield None
        return
    sys.path.append(SUPPORT)
    from postgres_server import PostgresServer

    with PostgresServer() as server:
        yield server


if __name__ == "__main__":
    main()
