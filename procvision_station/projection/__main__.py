"""`python -m procvision_station.projection FOLDER [PARENT]`: fills a station's projection until SIGTERM or Ctrl-C.

Beside it, it keeps the pictures' policy: what is too old, or too much for the disk, it has deleted.

Where `PARENT` is given, it ends with this process, too. At its end it reads the journals to their ends once more.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from procvision_station.ballast import Ballast
from procvision_station.companions import PROJECTION_IS_NICER, end_with, give_way
from procvision_station.configuration.files import DATA, JOURNALS, PICTURES
from procvision_station.configuration.reading import read_projection
from procvision_station.projection.database import Database, ProjectionError
from procvision_station.projection.kept_pictures import KeptPictures
from procvision_station.projection.projector import Projector
from procvision_station.retention import Retention


def main() -> int:
    """Fill the projection of the station that is named on the command line."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if len(sys.argv) > 2:
        end_with(int(sys.argv[2]), stop)
    give_way(PROJECTION_IS_NICER)
    folder = Path(sys.argv[1])
    policy, settings = read_projection(folder)
    data = folder / DATA
    database = Database(settings.database, data, writes=True)
    try:
        projector = Projector(database, data / JOURNALS, _notice, Ballast(data).share)
        kept = KeptPictures(Database(settings.database, data))
        retention = Retention(policy, data, data / PICTURES, kept, projector, database)
        threading.Thread(target=retention.run, args=(stop, _notice), name="procvision-retention", daemon=True).start()
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
