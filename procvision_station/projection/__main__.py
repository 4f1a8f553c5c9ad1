"""`python -m procvision_station.projection FOLDER`: fills a station's projection until SIGTERM or Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from procvision_station.configuration.reading import read_station
from procvision_station.projection.database import Database
from procvision_station.projection.projector import Projector


def main() -> int:
    """Fill the projection of the station that is named on the command line."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    station = read_station(Path(sys.argv[1]))
    database = Database(station.file.projection.database, station.data_folder, writes=True)
    try:
        Projector(database, station.journals_folder, _notice).run(stop)
    finally:
        database.close()
    return 0


def _notice(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
