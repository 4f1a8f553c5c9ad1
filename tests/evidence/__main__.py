"""`python -m tests.evidence WHAT`: prints JSON. The exit status is 0 if the ledger has what was told, once, whole."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.evidence.held import HeldStation
from tests.evidence.kills import Kills

SUPPORT = str(Path(__file__).parents[2] / "plugins" / "procvision-postgres" / "tests" / "support")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=100, help="kills of one station")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of victims and moments")
    parser.add_argument("--evidence", choices=("behind", "first", "both"), default="both", help="both take turns")
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both", help="both take turns")
    options = parser.parse_args()
    wrong = False
    for place in range(-(-options.kills // options.batch)):
        evidence = ("behind", "first")[place % 2] if options.evidence == "both" else options.evidence
        database = ("sqlite", "postgresql")[place % 4 // 2] if options.database == "both" else options.database
        kills = min(options.batch, options.kills - place * options.batch)
        report = _batch(options.seed + place, kills, evidence, database, page=place % 4 == 0)
        print(json.dumps(report), flush=True)
        wrong = wrong or bool(report["wrong"])
    sys.exit(wrong)


def _batch(seed: int, kills: int, evidence: str, database: str, *, page: bool) -> dict[str, Any]:
    settings = {"seed": seed, "evidence": evidence, "database": database, "page": page, "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory(prefix="procvision-evidence-") as folder, _server(database) as server:
        url = server.url if server is not None else "sqlite"
        station = HeldStation(Path(folder) / "line", evidence=evidence, database=url, page=page)

        def restart() -> None:
            server.kill()
            server.start()

        return {**settings, **Kills(station, seed, restart if server is not None else None).run(kills)}


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
