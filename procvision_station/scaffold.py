"""Makes a station's folder that runs as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.private_files import write_private
from procvision_station.configuration.files import RECIPES, STATION_FILE

SEED = 7
REFERENCE = "golden/board.png"
_STATION = """\
# What each key means: the reference page "A station's files". `procvision station check` holds this file to it.

[station]
name = "{name}"
time_zone = "UTC"

[pictures]            # which pictures are kept, as shares of the products
keep_ok = 0.05
keep_ng = 1.0
keep_error = 1.0

{web}
[lines.main]
recipe = "board"
deadline_ms = 2000    # from trigger to verdict: what is late is ERROR

[lines.main.trigger]
kind = "interval"
every_s = {every_s:g}
{count}
[lines.main.cameras.top]
kind = "simulated"
seed = {seed}
defect_every = 5

[[lines.main.outputs]]
kind = "json-lines"
path = {told}
"""
_TOLD, _TOLD_BESIDE_PAGE = '"-"            # stdout', '"told.jsonl"   # beside this file; "-" is stdout'
"""With a page, the terminal is left to what people read: its address, and what is wrong."""
_WEB = """\
[web]                 # the page and the REST interface, of this machine alone
port = {port}
"""
_NO_WEB = """\
# [web]               # the page; of this machine alone, as long as no host is named
# port = 8700
"""
_RECIPE = """\
# A product, and the steps of its inspection.

product = "board"

[[steps]]
camera = "top"
algorithm = "pcb-compare"
reference = "{reference}"

[steps.parameters]
min_score = 0.5
"""


class FolderTakenError(ProcVisionError):
    """There is a station already, or the folder can't be made."""


def make_station(
    folder: Path, count: int | None = None, *, port: int | None = None, every_s: float = 0.5
) -> Iterator[Path]:
    """Write the files of a station and yield them, with a page on `port`. Raises FolderTakenError where one is."""
    from procvision_testing.boards import make_board
    from procvision_tools.report.pictures import write_png

    if (folder / STATION_FILE).exists():
        raise FolderTakenError(f"{folder / STATION_FILE} is there already\nhint: another folder; nothing was changed")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-._")[:64] or "station"
    text = _STATION.format(
        name=name,
        seed=SEED,
        every_s=every_s,
        count=f"count = {count}\n" if count is not None else "",
        told=_TOLD if port is None else _TOLD_BESIDE_PAGE,
        web=_NO_WEB if port is None else _WEB.format(port=port),
    )
    try:
        for below in (folder / RECIPES, (folder / REFERENCE).parent):
            below.mkdir(parents=True, exist_ok=True)
        write_png(folder / REFERENCE, make_board(seed=SEED).picture)
        yield folder / REFERENCE
        write_private(folder / RECIPES / "board.toml", _RECIPE.format(reference=REFERENCE))
        yield folder / RECIPES / "board.toml"
        # Last: a folder with this file is a whole station.
        write_private(folder / STATION_FILE, text)
        yield folder / STATION_FILE
    except OSError as error:
        raise FolderTakenError(f"{error.filename or folder} can't be written: {error.strerror or error}") from error
