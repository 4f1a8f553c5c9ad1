"""Pictures by their content, and small ones of them. A name is 64 hexadecimal digits and a suffix, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Annotated

import msgspec
from attrs import field, frozen
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation

from procvision_station.projection.answers import StepRow
from procvision_station.web.accounts import Role
from procvision_station.web.api.asking import Key, LineName
from procvision_station.web.doors import needs
from procvision_station.web.problems import RequestRefusedError

THUMBNAIL_PX = 192
"""Twice what is shown, for screens with two pixels in one."""
MAX_THUMBNAILS = 2000
"""Kept in memory: some 10 MB."""
MAX_PICTURE_BYTES = 256 * 1024 * 1024
_KINDS = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg"}
_LINE, _KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"), re.compile(r"[A-Za-z0-9-]{1,100}")
_NAME = re.compile(r"([0-9a-f]{64})\.(png|jpg|jpeg)")
_FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}
"""What is named by its content never changes."""

PictureId = FromPath[Annotated[str, msgspec.Meta(max_length=80)]]
StepNumber = FromPath[Annotated[int, msgspec.Meta(ge=0, le=1000)]]


@frozen
class Pictures:
    """The folder of pictures, read."""

    folder: Path
    live: Path
    """Where the line's process puts the last picture of each step."""
    _thumbnails: OrderedDict[str, bytes] = field(factory=OrderedDict, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _one: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(1), init=False)
    """One picture is made small at a time: it takes a core that a line may need."""

    def read(self, name: str) -> tuple[bytes, str]:
        """Return a picture's bytes and their media type. Raises RequestRefusedError."""
        found = _NAME.fullmatch(name)
        if found is None:
            raise RequestRefusedError(404, "picture", where=name[:80])
        path = self.folder / name[:2] / name[2:]
        return _read(path, name), _KINDS[found[2]]

    def read_live(self, line: str, key: str, step: int) -> tuple[bytes, str] | None:
        """Return a picture that was just taken, and its media type; None where it is not there any more."""
        for path in self._live_paths(line, key, step):
            with contextlib.suppress(RequestRefusedError):
                return _read(path, key), _KINDS[path.suffix[1:]]
        return None

    def _live_paths(self, line: str, key: str, step: int) -> list[Path]:
        if not _LINE.fullmatch(line) or not _KEY.fullmatch(key):
            return []
        return [self.live / line / f"{key}-{step}.{suffix}" for suffix in ("jpg", "png")]

    def address(self, line: str, key: str, step: StepRow) -> str | None:
        """Return where a step's picture is asked for: the kept one, or the one just taken; None where there is none."""
        picture = step.picture
        if picture is not None and picture.file is not None and picture.state == "there":
            return f"/api/pictures/{picture.file.replace('/', '')}"
        if any(path.exists() for path in self._live_paths(line, key, step.step)):
            return f"/api/lines/{line}/live/{key}/{step.step}"
        return None

    async def thumbnail(self, name: str) -> bytes:
        """Return a small JPEG of a picture. Raises RequestRefusedError."""
        with self._lock:
            known = self._thumbnails.get(name)
            if known is not None:
                self._thumbnails.move_to_end(name)
                return known
        async with self._one:
            made = await asyncio.to_thread(self._made, name)
        with self._lock:
            self._thumbnails[name] = made
            while len(self._thumbnails) > MAX_THUMBNAILS:
                self._thumbnails.popitem(last=False)
        return made

    def _made(self, name: str) -> bytes:
        from PIL import Image

        data, _ = self.read(name)
        try:
            with Image.open(io.BytesIO(data)) as image:
                image.draft("RGB", (2 * THUMBNAIL_PX, 2 * THUMBNAIL_PX))  # of a JPEG a small one is decoded
                small = image.reduce(max(1, min(image.size) // (2 * THUMBNAIL_PX)))
                small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
                out = io.BytesIO()
                small.convert("RGB").save(out, "JPEG", quality=80)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise RequestRefusedError(404, "picture_broken", where=name) from error
        return out.getvalue()


PicturesHere = NamedDependency[SkipValidation[Pictures]]


@get("/pictures/{name:str}", opt=needs(Role.VIEWER), tags=["pictures"], sync_to_thread=True)
def picture(name: PictureId, pictures: PicturesHere) -> Response[bytes]:
    """Return a kept picture. Its name is the `file` of a product's step without the slash."""
    data, kind = pictures.read(name)
    return Response(data, media_type=kind, headers=_FOREVER)


@get("/pictures/{name:str}/thumbnail", opt=needs(Role.VIEWER), tags=["pictures"], media_type="image/jpeg")
async def thumbnail(name: PictureId, pictures: PicturesHere) -> Response[bytes]:
    """Return a kept picture, small, as JPEG."""
    return Response(await pictures.thumbnail(name), media_type="image/jpeg", headers=_FOREVER)


@get("/lines/{line:str}/live/{key:str}/{step:int}", opt=needs(Role.VIEWER), tags=["live"], sync_to_thread=True,
     media_type="image/jpeg")  # fmt: skip
def live_picture(line: LineName, key: Key, step: StepNumber, pictures: PicturesHere) -> Response[bytes]:
    """Return the picture of a line's last product, as JPEG, also where it is not kept."""
    found = pictures.read_live(line, key, step)
    if found is None:
        raise RequestRefusedError(404, "picture", where=key)
    return Response(found[0], media_type=found[1], headers={"Cache-Control": "private, max-age=60"})


ROUTES = (picture, thumbnail, live_picture)


def _read(path: Path, name: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(MAX_PICTURE_BYTES)
    except OSError as error:
        raise RequestRefusedError(404, "picture", where=name[:80]) from error
