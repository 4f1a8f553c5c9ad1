"""Kept pictures: files named by their content, written behind the line by two threads.

While one waits for the disk, the other encodes: of 2 megapixels 8 ms are the processor's, and as much are two syncs.
"""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from procvision_runner import Picture
from procvision_sdk.private_files import make_private_folder, sync_folder, write_private
from procvision_station import png
from procvision_station.configuration.model import PicturesSection
from procvision_station.line.messages import Verdict

WRITERS = 2
MAX_RECENT = 4096
"""Names of files that are remembered: two minutes at 30 a second. No state from before the oldest one deletes."""
Told = Callable[[Mapping[str, Any], Callable[[], None] | None], None]
PNG_COMPRESSION = 1
"""Of what `png` doesn't encode, such as 16 bits: a sensor's noise makes higher levels slow, and saves little."""

JPEG_QUALITY = 90
"""What is lost of a good product's picture, no person sees."""


@frozen
class _Waiting:
    key: str
    step: int
    picture: Picture
    lossy: bool
    told: Told
    spare: bool


@define
class PictureCounts:
    """What became of the pictures that a line was to keep. Any thread may count."""

    kept: int = 0
    """On the disk."""
    lost: int = 0
    """They waited, and could not be written."""
    left_out: int = 0
    """They did not even wait, since too many did."""
    missed_at: float = float("-inf")
    """When one was lost or left out last, by the monotonic clock."""
    _lock: threading.Lock = field(factory=threading.Lock, init=False, repr=False)

    def count(self, *, kept: int = 0, lost: int = 0, left_out: int = 0) -> None:
        """Add so many."""
        with self._lock:
            self.kept += kept
            self.lost += lost
            self.left_out += left_out
            if lost or left_out:
                self.missed_at = time.monotonic()

    def plain(self) -> dict[str, int]:
        """Return the numbers, as a record has them."""
        return {"kept": self.kept, "lost": self.lost, "left_out": self.left_out}


def is_kept(policy: PicturesSection, verdict: Verdict, key: str) -> bool:
    """Whether the policy keeps a product's pictures: of a share, the key decides, so that a retry decides alike."""
    share = {Verdict.OK: policy.keep_ok, Verdict.NG: policy.keep_ng, Verdict.ERROR: policy.keep_error}[verdict]
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]) < share * 2**32


def encoded(picture: Picture, *, lossy: bool = False) -> tuple[bytes, str]:
    """Return a picture as a file's bytes, and the file's suffix. Raises ValueError for one that lies elsewhere.

    A picture that came encoded stays as it came. `lossy` makes a JPEG, where it has eight bits.
    """
    if picture.data is not None:
        return picture.data, ".jpg" if picture.encoding == "jpeg" else f".{picture.encoding}"
    if picture.pixels is None:
        raise ValueError("its pixels lie where the station can't read them")
    from procvision_tools.extras import need

    pixels = picture.pixels[:, :, ::-1] if picture.color_space == "BGR" else picture.pixels
    if not lossy and png.is_encodable(pixels):
        return png.encode(pixels), ".png"
    image = need("PIL.Image", "Pillow", "keeping pictures", "station").fromarray(pixels.copy(order="C"))
    out = io.BytesIO()
    if lossy and image.mode in ("L", "RGB"):
        image.save(out, "JPEG", quality=JPEG_QUALITY)
        return out.getvalue(), ".jpg"
    image.save(out, "PNG", compress_level=PNG_COMPRESSION)
    return out.getvalue(), ".png"


def encoder_warning() -> tuple[str, str] | None:
    """Return why encoding pictures is slow here, and a hint; None where it is not."""
    if png.is_fast():
        return None
    text = f"isal is not installed: a picture that is kept takes {png.SLOWER:g} times the processor's time"
    return text, 'pip install isal; where there is no wheel of it, ok_as = "jpeg" or a smaller keep_ok'


def lost(key: str, step: int, reason: str) -> dict[str, Any]:
    """Return the event of a picture that was to be kept, and isn't."""
    return {"event": "picture_lost", "key": key, "step": step, "reason": reason}


def never_written(contents: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, int]]:
    """Yield key and step of pictures that records say are kept, and of which no event tells: the station was killed."""
    kept: dict[tuple[Any, Any], None] = {}
    settled: set[tuple[Any, Any]] = set()
    for content in contents:
        if content.get("event") in ("picture", "picture_lost"):
            settled.add((content.get("key"), content.get("step")))
        elif "event" not in content:
            for answer in content.get("steps", ()):
                if answer.get("picture") == "kept":
                    kept[content.get("key"), answer.get("step")] = None
    yield from (each for each in kept if each not in settled)


class PictureStore:
    """Writes pictures on threads of its own. Any thread may call."""

    def __init__(self, folder: Path, room: int) -> None:
        from procvision_tools.extras import need

        need("PIL.Image", "Pillow", "keeping pictures", "station")
        self.folder = folder
        self.room = room
        """So many pictures wait at most."""
        self._waiting: deque[_Waiting] = deque()
        self._news = threading.Condition()
        self._ending = False
        self._deleting = threading.Condition()
        """Held while files are deleted, and while it is settled whose a file is: a delete waits for the recorder."""
        self._writing: set[str] = set()
        self._names = threading.Lock()
        """Of the two below. Nothing is waited for while it is held: the recorder's thread takes it."""
        self._owed: Counter[str] = Counter()
        """Files, and how many of their products have no event on the disk yet."""
        self._recent: dict[str, float] = {}
        """When the event of a file's last product was on the disk, by the monotonic clock; the latest at the end."""
        self._forgotten_at = float("-inf")
        """The latest such time that is no longer kept."""
        self._lasting: set[Path] = set()
        """Folders whose names survive a power cut; there are 256."""
        self._threads = [
            threading.Thread(target=self._run, name=f"procvision-pictures-{number}", daemon=True)
            for number in range(WRITERS)
        ]
        for thread in self._threads:
            thread.start()

    def keep(
        self, key: str, step: int, picture: Picture, told: Told, *, lossy: bool = False, spare: bool = False
    ) -> bool:
        """Take a picture in; False where too many wait. `told` gets an event when it is on the disk, or is lost.

        It gets what to call when the event is, too. A `spare` picture that waits makes room for one that is none.
        """
        spared = None
        with self._news:
            if len(self._waiting) >= self.room:
                spared = None if spare else next((each for each in self._waiting if each.spare), None)
                if spared is None:
                    return False
                self._waiting.remove(spared)
            self._waiting.append(_Waiting(key, step, picture, lossy, told, spare))
            self._news.notify()
        if spared is not None:
            spared.told(
                lost(spared.key, spared.step, "too many waited, and one of a product that is not OK came"), None
            )
        return True

    @property
    def waiting(self) -> int:
        """How many wait to be written."""
        return len(self._waiting)

    def delete(self, files: Sequence[str], as_of: float, record: Callable[[Sequence[str]], None]) -> int:
        """Delete files that no product came to share after `as_of`; return how many. Any thread may call.

        `record` says so in the ledger before; what it raises keeps the files. Raises OSError.
        """
        with self._deleting:
            with self._names:
                if as_of < self._forgotten_at:
                    return 0  # whether a product came to share one since, nobody knows
                going = [file for file in files if not self._owed[file] and self._recent.get(file, 0.0) <= as_of]
            if going:
                record(going)
            for file in going:
                (self.folder / file).unlink(missing_ok=True)
        return len(going)

    def stop(self) -> None:
        """Write what waits, and end."""
        with self._news:
            self._ending = True
            self._news.notify_all()
        for thread in self._threads:
            thread.join()

    def _next(self) -> _Waiting | None:
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._ending)
            return self._waiting.popleft() if self._waiting else None

    def _run(self) -> None:
        while (waiting := self._next()) is not None:
            where = {"key": waiting.key, "step": waiting.step}
            try:
                name, size = self._write(waiting.picture, lossy=waiting.lossy)
            except Exception as error:  # noqa: BLE001 - whatever goes wrong with a picture, the line goes on
                waiting.told(lost(waiting.key, waiting.step, f"{type(error).__name__}: {error}"), None)
            else:
                waiting.told({"event": "picture", **where, "file": name, "bytes": size}, partial(self._recorded, name))

    def _recorded(self, name: str) -> None:
        """Note that the event of a product that has the file is on the disk."""
        with self._names:
            self._disown(name)
            self._recent.pop(name, None)
            self._recent[name] = time.monotonic()
            while len(self._recent) > MAX_RECENT:
                self._forgotten_at = self._recent.pop(next(iter(self._recent)))

    def _disown(self, name: str) -> None:
        self._owed[name] -= 1
        if self._owed[name] <= 0:
            del self._owed[name]

    def _write(self, picture: Picture, *, lossy: bool) -> tuple[str, int]:
        """Return the file's name below the folder, and its size in bytes, once it survives a power cut."""
        data, suffix = encoded(picture, lossy=lossy)
        digest = hashlib.sha256(data).hexdigest()
        name = f"{digest[:2]}/{digest[2:]}{suffix}"
        path = self.folder / name
        with self._deleting:
            self._deleting.wait_for(lambda: name not in self._writing)
            with self._names:
                known = name in self._recent
                self._owed[name] += 1  # from here on the file is this product's, too
            self._writing.add(name)
        try:
            # Nobody deletes it any more: it has an owner.
            if not (known and path.exists()):
                self._write_file(path, data)
        except BaseException:
            with self._names:
                self._disown(name)
            raise
        finally:
            with self._deleting:
                self._writing.discard(name)
                self._deleting.notify_all()
        return name, len(data)

    def _write_file(self, path: Path, data: bytes) -> None:
        if not path.parent.is_dir():
            make_private_folder(path.parent)
            self._lasting.discard(path.parent)
        if not path.exists():
            write_private(path, data)
        # Also of a file that was there: a process that was killed may have left it, and no sync.
        sync_folder(path.parent)
        if path.parent not in self._lasting:
            for folder in (self.folder, self.folder.parent):
                sync_folder(folder)
            self._lasting.add(path.parent)
