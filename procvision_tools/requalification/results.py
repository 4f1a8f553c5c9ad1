"""Results of shards, on the disk: made once, found again by what they were made of.

    OUT/comparison.json       what is compared: another ProcVision, version, archive or option is refused
    OUT/results/KEY.parquet   what both versions said of the shard's products
    OUT/times/KEY.parquet     how long it took them
    OUT/passing/KEY.parquet   in place of the first, where a picture could not be read: made again by the next command

KEY is a hash of everything that a result depends on: both versions' identities, the settings, and each product's name,
pictures (by size and time, or ETag), steps and parameters. A file is written under another name and renamed, so what
has its name is whole. Nothing of the truth is in it: it may become known later.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.private_files import make_private_folder, touch_private, write_private
from procvision_sdk.regular_files import read_regular
from procvision_tools.extras import need
from procvision_tools.requalification.archive import UNREAD, Product, Said

FORM = 1
"""Of what is kept: another one's results aren't taken."""
MAX_BYTES = 1 << 30
COMPARISON_FILE = "comparison.json"
MAX_COMPARISON_BYTES = 1 << 20
_SHOWN = 80
"""So many characters of a value stand in an error."""
LOCK_NAME = ".lock"
_BELOW = ("results", "times", "passing")


class ResultsError(ProcVisionError):
    """A folder of results can't be used. The text ends with a hint."""


class Row(msgspec.Struct, frozen=True):
    """What was said of one product; ``old`` is None where the archive has it."""

    name: str
    new: Said
    old: Said | None = None


def key_of(products: Sequence[Product], settings: Mapping[str, Any]) -> str:
    """Return the key of a shard's result."""
    inputs = [(product.name, product.pid, product.shots) for product in products]
    data = msgspec.json.encode({"form": FORM, "settings": settings, "products": inputs}, order="deterministic")
    return hashlib.sha256(data).hexdigest()


class Results:
    """A folder of results. One command at a time has it, until `close`."""

    def __init__(self, folder: Path) -> None:
        need("pyarrow", "pyarrow", "a requalification", "requalify")
        self.folder = folder
        try:
            for below in _BELOW:
                make_private_folder(folder / below)
            touch_private(folder / LOCK_NAME)
            self._lock = (folder / LOCK_NAME).open("rb")
        except OSError as error:
            raise ResultsError(f"{error.filename or folder} can't be made: {error.strerror or error}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise ResultsError(f"another command has {folder}\nhint: again when it has ended") from error
        self._clear()

    def claim(self, compared: Mapping[str, Any]) -> None:
        """Note what the folder's results are of. Raises ResultsError, with what differs, where that is something else.

        Results are found by what they were made of, so none of another comparison would be taken. But its report would
        be written over, and of what another ProcVision has made nobody could say which one's it is.
        """
        path = self.folder / COMPARISON_FILE
        wanted = msgspec.json.format(msgspec.json.encode(compared, order="deterministic")) + b"\n"
        hint = "hint: another --out, or the command as it was"
        made = any((self.folder / "results").glob("*.parquet"))
        try:
            noted = msgspec.json.decode(read_regular(path, MAX_COMPARISON_BYTES), type=dict[str, Any])
        except FileNotFoundError:
            if made:
                raise ResultsError(f"{self.folder} has results of an older ProcVision\nhint: another --out") from None
            self._note(path, wanted)
            return
        except (OSError, msgspec.DecodeError) as error:
            raise ResultsError(f"{path} can't be read: {error}\nhint: another --out") from error
        told = [
            f"{name} was {before}, and is {now}" if max(len(before), len(now)) <= _SHOWN else f"{name} is another one"
            for name, before, now in _differences(noted, msgspec.json.decode(wanted))
        ]
        if told and not made:  # a command that ended before its first result
            self._note(path, wanted)
        elif told:
            raise ResultsError("\n".join([f"{self.folder} has the results of another comparison", *told, hint]))

    def _note(self, path: Path, wanted: bytes) -> None:
        try:
            write_private(path, wanted)
        except OSError as error:
            raise ResultsError(f"{path} can't be written: {error.strerror or error}\nhint: another --out") from error

    def close(self) -> None:
        """Let others have the folder."""
        self._clear()
        self._lock.close()

    def __contains__(self, key: str) -> bool:
        return self._place("results", key).is_file() and self._place("times", key).is_file()

    def write(self, key: str, rows: Sequence[Row]) -> None:
        """Write a shard's results: the times first, since the results' name says that both are there.

        They are kept for other commands unless a picture could not be read, which may go well the next time.
        """
        kept = all(said is None or said.failure != UNREAD for row in rows for said in (row.old, row.new))
        sides: dict[str, list[Said | None]] = {"old": [row.old for row in rows], "new": [row.new for row in rows]}
        names = [row.name for row in rows]
        times: dict[str, list[Any]] = {"name": names}
        results: dict[str, list[Any]] = {"name": names}
        for side, all_said in sides.items():
            times[f"{side}_ms"] = [None if said is None else said.took_ms for said in all_said]
            for column in ("verdict", "failure", "message", "killed"):
                results[f"{side}_{column}"] = [None if said is None else getattr(said, column) for said in all_said]
            for column in ("defect_rects", "values"):
                results[f"{side}_{column}"] = [
                    None if said is None else msgspec.json.encode(getattr(said, column)).decode() for said in all_said
                ]
        try:
            write_private(self._place("times", key), _parquet(times))
            write_private(self._place("results" if kept else "passing", key), _parquet(results))
        except OSError as error:
            text = f"{self.folder} can't be written: {error.strerror or error}"
            raise ResultsError(f"{text}\nhint: what was made is kept: the same command goes on there") from error

    def read(self, key: str) -> Iterator[Row]:
        """Give a shard's rows. Raises ResultsError."""
        parquet = need("pyarrow.parquet", "pyarrow", "a requalification", "requalify")
        path = self._place("results" if key in self else "passing", key)
        try:
            columns = parquet.read_table(io.BytesIO(read_regular(path, MAX_BYTES))).to_pydict()
            took = parquet.read_table(io.BytesIO(read_regular(self._place("times", key), MAX_BYTES))).to_pydict()
            for at, name in enumerate(columns["name"]):
                new = _said(columns, took, "new", at)
                assert new is not None
                yield Row(name, new, _said(columns, took, "old", at))
        except (OSError, ValueError, KeyError, AssertionError, msgspec.DecodeError) as error:
            raise ResultsError(f"{path} can't be read: {error}\nhint: take it away; it is made again") from error

    def _clear(self) -> None:
        """Take away what a killed command was writing, and results that were for one command."""
        parts = [path for below in _BELOW for path in (self.folder / below).glob(".*.part")]
        for path in (*parts, *(self.folder / "passing").glob("*.parquet")):
            with contextlib.suppress(OSError):
                path.unlink()

    def _place(self, below: str, key: str) -> Path:
        return self.folder / below / f"{key}.parquet"


def _differences(noted: Any, wanted: Any, name: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield the name of each value that differs, and both as JSON."""
    if isinstance(noted, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys((*noted, *wanted)):
            yield from _differences(noted.get(key), wanted.get(key), f"{name}.{key}" if name else key)
    elif noted != wanted:
        yield name, msgspec.json.encode(noted).decode(), msgspec.json.encode(wanted).decode()


def _said(columns: Mapping[str, Any], took: Mapping[str, Any], side: str, at: int) -> Said | None:
    if columns[f"{side}_verdict"][at] is None:
        return None
    kept = {column: columns[f"{side}_{column}"][at] for column in ("verdict", "failure", "message", "killed")}
    for column in ("defect_rects", "values"):
        kept[column] = msgspec.json.decode(columns[f"{side}_{column}"][at])
    return msgspec.convert({**kept, "took_ms": took[f"{side}_ms"][at]}, Said)


def _parquet(columns: Mapping[str, list[Any]]) -> bytes:
    pyarrow = need("pyarrow", "pyarrow", "a requalification", "requalify")
    parquet = need("pyarrow.parquet", "pyarrow", "a requalification", "requalify")
    types = {"name": pyarrow.string(), "killed": pyarrow.bool_(), "ms": pyarrow.float64()}
    schema = pyarrow.schema(
        [(name, types.get(name.rpartition("_")[2], pyarrow.string())) for name in columns]
    )  # fmt: skip
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(dict(columns), schema=schema), out)
    return out.getvalue()
