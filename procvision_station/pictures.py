"""Kept pictures: files named by their content, written behind the line by one thread."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Full, Queue
from typing import Any

from attrs import frozen

from procvision_runner import Picture
from procvision_sdk.private_files import make_private_folder, write_private
from procvision_station.configuration.model import PicturesSection
from procvision_station.line.messages import Verdict

PNG_COMPRESSION = 1
"""A picture of a sensor has noise in it: higher levels take many times as long and save little."""


@frozen
class _Waiting:
    key: str
    step: int
    picture: Picture
    told: Callable[[Mapping[str, Any]], None]


def is_kept(policy: PicturesSection, verdict: Verdict, key: str) -> bool:
    """Whether the policy keeps a product's pictures: of a share, the key decides, so that a retry decides alike."""
    share = {Verdict.OK: policy.keep_ok, Verdict.NG: policy.keep_ng, Verdict.ERROR: policy.keep_error}[verdict]
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]) < share * 2**32


def encoded(picture: Picture) -> tuple[bytes, str]:
    """Return a picture as a file's bytes, and the file's suffix. Raises ValueError for one that lies elsewhere."""
    if picture.data is not None:
        return picture.data, ".jpg" if picture.encoding == "jpeg" else f".{picture.encoding}"
    if picture.pixels is None:
        raise ValueError("its pixels lie where the station can't read them")
    from procvision_tools.extras import need

    pixels = picture.pixels[:, :, ::-1] if picture.color_space == "BGR" else picture.pixels
    image = need("PIL.Image", "Pillow", "keeping pictures", "station").fromarray(pixels.copy(order="C"))
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=PNG_COMPRESSION)
    return out.getvalue(), ".png"


def lost(key: str, step: int, reason: str) -> dict[str, Any]:
    """Return the event of a picture that was to be kept, and isn't."""
    return {"event": "picture_lost", "key": key, "step": step, "reason": reason}


class PictureStore:
    """Writes pictures on a thread of its own. Any thread may call."""

    def __init__(self, folder: Path, room: int) -> None:
        from procvision_tools.extras import need

        need("PIL.Image", "Pillow", "keeping pictures", "station")
        self.folder = folder
        self._queue: Queue[_Waiting | None] = Queue(room)
        self._thread = threading.Thread(target=self._run, name="procvision-pictures", daemon=True)
        self._thread.start()

    def keep(self, key: str, step: int, picture: Picture, told: Callable[[Mapping[str, Any]], None]) -> bool:
        """Take a picture in; False where too many wait. `told` gets an event when it is on the disk, or is lost."""
        try:
            self._queue.put_nowait(_Waiting(key, step, picture, told))
        except Full:
            return False
        return True

    def stop(self) -> None:
        """Write what waits, and end."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (waiting := self._queue.get()) is not None:
            where = {"key": waiting.key, "step": waiting.step}
            try:
                name, size = self._write(waiting.picture)
            except Exception as error:  # noqa: BLE001 - whatever goes wrong with a picture, the line goes on
                waiting.told(lost(waiting.key, waiting.step, f"{type(error).__name__}: {error}"))
            else:
                waiting.told({"event": "picture", **where, "file": name, "bytes": size})

    def _write(self, picture: Picture) -> tuple[str, int]:
        """Return the file's name below the folder, and its size in bytes, once it survives a power cut."""
        data, suffix = encoded(picture)
        digest = hashlib.sha256(data).hexdigest()
        below = self.folder / digest[:2]
        path = below / f"{digest[2:]}{suffix}"
        if not path.exists():
            new = not below.is_dir()
            make_private_folder(below)
            write_private(path, data)
            for folder in (below, self.folder) if new else (below,):
                _sync_folder(folder)
        return f"{digest[:2]}/{path.name}", len(data)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
