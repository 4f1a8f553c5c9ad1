"""The last pictures of each line for the page, kept or not: JPEG files, the latest of a step and a few before it.

A thread of its own writes them while somebody looks at the page, with room for one picture a step: while it is busy, a
newer one takes its place. A line never waits for it, and what it can't write is left out.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from pathlib import Path

import numpy as np
from attrs import frozen

from procvision_runner import Picture
from procvision_sdk.images.view import high_bits
from procvision_sdk.private_files import make_private_folder

FEW = 3
"""A browser asks for a picture a moment after it heard of it."""
QUALITY = 90
WATCHED_S = 3.0
"""After the page last said that somebody looks: it says so every second."""
PAUSES = 3
"""After each picture, as many times as long as it took: a fast line's page takes a quarter of a core at most."""
NICER = 10
"""The thread waits for those of the line; Linux has a niceness for each thread."""


@frozen
class _Shown:
    line: str
    key: str
    step: int
    picture: Picture


class LivePictures:
    """Writes the latest pictures. Any thread may call."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._news = threading.Condition()
        self._waiting: dict[tuple[str, int], _Shown] = {}
        self._written: dict[tuple[str, int], deque[Path]] = {}
        self._watched_until = float("-inf")
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="procvision-live", daemon=True)
        self._thread.start()

    def show(self, line: str, key: str, step: int, picture: Picture) -> None:
        """Take a step's picture in place of one that waits."""
        with self._news:
            self._waiting[line, step] = _Shown(line, key, step, picture)
            self._news.notify()

    def watch(self) -> None:
        """Somebody looks at the page: write, for a while, what comes, and the last that came before."""
        with self._news:
            self._watched_until = time.monotonic() + WATCHED_S
            self._news.notify()

    def stop(self) -> None:
        """End."""
        with self._news:
            self._stopped = True
            self._news.notify()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICER)
        while True:
            with self._news:
                self._news.wait_for(self._has_work)
                if self._stopped:
                    return
                shown = self._waiting.pop(next(iter(self._waiting)))
            began = time.monotonic()
            with contextlib.suppress(Exception):  # a picture that can't be shown: the page says so
                self._write(shown)
            with self._news:
                self._news.wait_for(lambda: self._stopped, PAUSES * (time.monotonic() - began))

    def _has_work(self) -> bool:
        return self._stopped or bool(self._waiting and time.monotonic() < self._watched_until)

    def _write(self, shown: _Shown) -> None:
        data, suffix = encoded_for_a_browser(shown.picture)
        folder = self._folder / shown.line
        make_private_folder(folder)
        path = folder / f"{shown.key}-{shown.step}{suffix}"
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(data)  # nothing is lost with it: no sync
        part.chmod(0o600)
        part.replace(path)
        written = self._written.get((shown.line, shown.step))
        if written is None:
            # What an earlier run left of this step.
            left = [each for each in folder.iterdir() if each.stem.endswith(f"-{shown.step}") and each != path]
            written = self._written[shown.line, shown.step] = deque(left)
        written.append(path)
        while len(written) > FEW:
            written.popleft().unlink(missing_ok=True)


def encoded_for_a_browser(picture: Picture) -> tuple[bytes, str]:
    """Return a picture as JPEG, or as the JPEG or PNG that it is. Raises ValueError for one that lies elsewhere."""
    if picture.data is not None:
        return picture.data, ".jpg" if picture.encoding == "jpeg" else ".png"
    if picture.pixels is None:
        raise ValueError("its pixels lie where the station can't read them")
    from procvision_tools.extras import need

    simplejpeg = need("simplejpeg", "simplejpeg", "a picture on the page", "station")
    # As the algorithm sees them, of deeper ones the eight highest bits.
    pixels = high_bits(picture.pixels, picture.bits) if picture.bits else picture.pixels
    pixels = np.ascontiguousarray(pixels[:, :, None] if pixels.ndim == 2 else pixels)
    order = "GRAY" if picture.color_space == "MONO" else picture.color_space
    data: bytes = simplejpeg.encode_jpeg(pixels, QUALITY, order, "420")
    return data, ".jpg"
