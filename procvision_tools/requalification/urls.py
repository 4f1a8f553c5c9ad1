"""Pictures by path or URL: what stands behind `s3://`, `https://` or any other scheme that fsspec knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from procvision_sdk.errors import ProcVisionError
from procvision_tools.extras import need
from procvision_tools.sources.picture_files import MAX_FILE_BYTES, PictureFile, PictureFileError, header_of, load

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


def load_from(place: str) -> PictureFile:
    """Read a picture and its header, by path or URL. Raises PictureFileError as `load` does."""
    if not is_url(place):
        return load(Path(place))
    try:
        fs, path = filesystem(place)
        with fs.open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except ProcVisionError:
        raise
    except Exception as error:
        raise PictureFileError(f"{place} can't be read: {type(error).__name__}: {error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise PictureFileError(f"{place} can't be read: at most {MAX_FILE_BYTES} bytes are read, it has more")
    name = Path(place.rpartition("/")[2])
    return PictureFile(name, data, header_of(name, data))
