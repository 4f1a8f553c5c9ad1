"""`python -m procvision_station.projection FOLDER [PARENT]`: fills a station's projection until SIGTERM or Ctrl-C.

Where `PARENT` is given, it ends with this process, too. At its end it reads the journals to their ends once more.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from procvision_station.companions import end_with
from procvision_station.configuration.reading import read_station
from procvision_station.projection.database import Database, ProjectionError
from procvision_station.projection.projector import Projector


def main() -> int:
    """Fill the projection of the station that is named on the command line."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if len(sys.argv) > 2:
        end_with(int(sys.argv[2]), stop)
    station = read_station(Path(sys.argv[1]))
    database = Database(station.file.projection.database, station.data_folder, writes=True)
    try:
        projector = Projector(database, station.journals_folder, _notice)
        projector.run(stop)
        with contextlib.suppress(SQLAlchemyError, OSError, ProjectionError):
            projector.catch_up()
    finally:
        database.close()
    return 0


def _notice(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
