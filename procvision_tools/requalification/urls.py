"""Pictures by path or URL: what stands behind `s3://`, `https://` or any other scheme that fsspec knows.

Each has a stamp, which changes when the picture does: its file's size and time, or the ETag of its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.regular_files import read_regular
from procvision_tools.extras import need
from procvision_tools.names import shown
from procvision_tools.sources.picture_files import MAX_FILE_BYTES, PictureFile, UnreadFileError, header_of

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class UrlError(ProcVisionError):
    """A URL's place can't be reached. The text ends with a hint."""


def is_url(place: str) -> bool:
    """Return whether a place is a URL, not a path."""
    return _SCHEME.match(place) is not None


def filesystem(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path in it. Raises MissingExtraError and UrlError."""
    fsspec = need("fsspec", "fsspec", "an archive by URL", "requalify")
    try:
        return fsspec.core.url_to_fs(url)  # type: ignore[no-any-return]
    except ImportError as error:
        scheme = url.partition("://")[0]
        raise UrlError(f"{url}: {error}\nhint: pip install what fsspec needs for {scheme}") from error
    except ValueError as error:
        raise UrlError(f"{url}: {error}\nhint: a scheme that fsspec knows, such as s3:// or https://") from error


def file_stamp(path: Path) -> str:
    """Return a file's stamp. Raises OSError."""
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def stamp_of(fs: Any, path: str, facts: Mapping[str, Any]) -> str:
    """Return the stamp of a file in fsspec's file system, of which a listing has told `facts`; "" where none is told.

    Raises UnreadFileError.
    """
    if facts.get("type") == "file" and not _told_stamp(facts):
        try:
            facts = {**facts, **fs.info(path)}
        except Exception as error:
            raise UnreadFileError(f"{path} can't be looked at: {type(error).__name__}: {error}") from error
    return _told_stamp(facts)


def _told_stamp(facts: Mapping[str, Any]) -> str:
    if facts.get("ETag"):
        return str(facts["ETag"])
    changed = next((facts[key] for key in ("mtime", "LastModified", "last_modified", "updated", "Last-Modified")
                    if facts.get(key)), None)  # fmt: skip
    return "" if changed is None else f"{facts.get('size')} {changed}"


def load_from(place: str, stamp: str) -> PictureFile:
    """Read a picture and its header, by path or URL.

    Raises UnreadFileError where it can't be read or has another stamp by now, PictureFileError where it has no whole
    header of a JPEG or PNG.
    """
    data, now = _read_by_url(place) if is_url(place) else _read_by_path(place)
    # The stamp was looked at last: what was written before the picture was read has changed it.
    if now != stamp:
        raise UnreadFileError(f"{shown(place)} was changed after the archive was listed")
    name = Path(place.rpartition("/")[2]) if is_url(place) else Path(place)
    return PictureFile(Path(place), data, header_of(name, data))


def _read_by_path(place: str) -> tuple[bytes, str]:
    try:
        return read_regular(place, MAX_FILE_BYTES), file_stamp(Path(place))
    except OSError as error:
        raise UnreadFileError(f"{shown(place)} can't be read: {error.strerror or error}") from error


def _read_by_url(place: str) -> tuple[bytes, str]:
    try:
        fs, path = filesystem(place)
        with fs.open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        # What the archive's listing told is kept here, too.
        fs.invalidate_cache()
        now = stamp_of(fs, path, fs.info(path))
    except ProcVisionError:
        raise
    except Exception as error:
        raise UnreadFileError(f"{place} can't be read: {type(error).__name__}: {error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise UnreadFileError(f"{place} can't be read: at most {MAX_FILE_BYTES} bytes are read, it has more")
    return data, now
