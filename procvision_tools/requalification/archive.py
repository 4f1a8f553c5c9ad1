"""What was seen before: products by reference, never pixels, each with what is known of it.

An archive is a data set that `procvision evaluate` reads, a folder or a URL with pictures, or what a plugin reads: an
entry point of the group `procvision.archives` is a module with `recognise(path)` and `read(path, algorithm)`.
In a folder of pictures the names of the folders below it say what is known: `ok`, `good`, `normal` hold good products,
`ng`, `bad`, `defective` defective ones. Of all others nothing is known.
"""

from __future__ import annotations

import hashlib
import posixpath
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

import attrs
import msgspec

from procvision_sdk.errors import ProcVisionError
from procvision_tools.datasets import LAYOUTS, Dataset, open_dataset
from procvision_tools.names import shown
from procvision_tools.requalification.urls import file_stamp, filesystem, is_url, stamp_of
from procvision_tools.sources.folder_files import FolderFiles, is_picture, left_out
from procvision_tools.sources.picture_files import UnreadFileError

ARCHIVE_GROUP = "procvision.archives"
GOOD_FOLDERS = frozenset({"ok", "good", "normal"})
DEFECTIVE_FOLDERS = frozenset({"ng", "bad", "defective"})
SHARDS = 100
"""An archive is cut into about so many shards, but"""
SMALLEST_SHARD, LARGEST_SHARD = 8, 256
"""a shard has between so many products, in steps of powers of two: another few pictures don't change the cut."""

UNREAD = "picture not read"
"""How `Said.failure` tells of a picture that was gone, changed, or behind a place that didn't answer."""

Truth = Literal["unknown", "good", "defective"]


class ArchiveError(ProcVisionError):
    """An archive can't be read. The text ends with a hint."""


class Stored(msgspec.Struct, frozen=True):
    """A picture's file: its path or URL, and what changes when its content does: size and time, or its ETag."""

    place: str
    stamp: str


class Shot(msgspec.Struct, frozen=True, omit_defaults=True):
    """A picture and the step that judges it."""

    picture: Stored
    step: int | None = None
    """Of the manifest; None for all its steps, one after the other."""
    reference: Stored | None = None
    user_params: dict[str, Any] = {}
    """As they were recorded."""


class Rect(msgspec.Struct, frozen=True):
    """A labelled rectangle in pixels."""

    x: float
    y: float
    width: float
    height: float
    label: str
    score: float = 1.0


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a version said of a product."""

    verdict: Literal["OK", "NG", "ERROR", "UNSTABLE"]
    failure: str = ""
    """What kind of ERROR it is, or why it is unstable."""
    message: str = ""
    killed: bool = False
    """Whether the picture ended the host, and a new one, too."""
    defect_rects: tuple[Rect, ...] = ()
    values: dict[str, float] = {}
    """Published numbers, by name."""
    took_ms: float | None = None
    """Of `execute`, as the caller sees it."""


class Product(msgspec.Struct, frozen=True, omit_defaults=True):
    """One product of an archive."""

    name: str
    shots: tuple[Shot, ...]
    pid: str | None = None
    truth: Truth = "unknown"
    truths: tuple[Rect, ...] = ()
    """Where its defects are, as far as known."""
    parts: dict[str, str] = {}
    """`recipe`, `group`, `day`, as far as known."""
    recorded: Said | None = None
    """What the archive says of it."""


@attrs.frozen(kw_only=True)
class Archive:
    """Products in the order of their names."""

    place: str
    kind: str
    products: tuple[Product, ...]
    notes: tuple[str, ...] = ()
    recorded: str = ""
    """Whose verdicts it has recorded, for people; "" for none."""

    def sampled(self, count: int) -> Archive:
        """Return so many products, the same ones each time: those whose names have the lowest hashes."""
        if count >= len(self.products):
            return self
        lowest = sorted(self.products, key=lambda product: _hash(product.name))[:count]
        note = f"a sample of {count} of {len(self.products)} products"
        kept = {product.name for product in lowest}
        products = tuple(product for product in self.products if product.name in kept)
        return attrs.evolve(self, products=products, notes=(*self.notes, note))

    def shards(self) -> list[tuple[Product, ...]]:
        """Cut into shards. The names decide where: a product more changes one shard, not all that follow."""
        wanted = max(1, len(self.products) // SHARDS)
        size = min(LARGEST_SHARD, max(SMALLEST_SHARD, 1 << (wanted - 1).bit_length()))
        found: list[tuple[Product, ...]] = []
        current: list[Product] = []
        for product in self.products:
            current.append(product)
            if len(current) >= 2 * size or int.from_bytes(_hash(product.name)[:4]) % size == 0:
                found.append(tuple(current))
                current = []
        return [*found, tuple(current)] if current else found


class Reader(Protocol):
    """What an entry point of `procvision.archives` names."""

    def recognise(self, path: Path, /) -> bool:
        """Return whether a folder is such an archive; cheap."""

    def read(self, path: Path, algorithm: str, /) -> Archive:
        """Read the products that an algorithm has judged. Raises ProcVisionError."""


def check_place(place: str) -> None:
    """Raise ArchiveError for a path that does not exist. No text is none: it would be the current folder."""
    if not place.strip():
        raise ArchiveError("the archive has no name\nhint: a folder, a data set, a station, or a URL; . is here")
    if is_url(place):
        return
    hint = "hint: a folder, a data set, a station, or a URL"
    try:
        mode = Path(place).stat().st_mode
    except FileNotFoundError:
        raise ArchiveError(f"{shown(place)} does not exist\n{hint}") from None
    except OSError as error:
        raise ArchiveError(f"{shown(place)[:200]} can't be read: {error.strerror}\n{hint}") from error
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise ArchiveError(f"{shown(place)} is a device or a pipe\n{hint}")


def open_archive(place: str, algorithm: str, layout: str | None = None) -> Archive:
    """Read an archive, a path or a URL; ``algorithm`` is whose products are looked for where there are several's.

    Raises ArchiveError, DatasetError, and MissingExtraError for a URL without fsspec.
    """
    if is_url(place):
        archive = _pictures_by_url(place)
    else:
        check_place(place)
        path = Path(place)
        try:
            archive = _local(path, algorithm, layout)
        except OSError as error:
            raise ArchiveError(f"{shown(error.filename or path)} can't be read: {error.strerror or error}") from error
    if not archive.products:
        told = "".join(f"\n{note}" for note in archive.notes)
        raise ArchiveError(f"{place} holds no product{told}\nhint: is it the right place?")
    return attrs.evolve(archive, products=tuple(sorted(archive.products, key=lambda product: product.name)))


def _local(path: Path, algorithm: str, layout: str | None) -> Archive:
    if layout is None:
        for reader in _readers():
            if reader.recognise(path):
                return reader.read(path, algorithm)
        if path.is_dir() and not _recognised_as_data_set(path):
            return _pictures(path)
    return _of_data_set(open_dataset(path, layout))


def _readers() -> list[Reader]:
    from importlib_metadata import entry_points

    found = []
    for point in sorted(entry_points(group=ARCHIVE_GROUP), key=lambda point: point.name):
        try:
            found.append(point.load())
        except Exception as error:
            text = (
                f"the archives' reader {point.name}, {point.value}, can't be imported: {type(error).__name__}: {error}"
            )
            raise ArchiveError(f"{text}\nhint: reinstall its distribution") from error
    return found


def _recognised_as_data_set(path: Path) -> bool:
    import importlib

    files = FolderFiles(path)
    return any(importlib.import_module(module).recognise(files) for module in LAYOUTS.values())


def stored(path: Path) -> Stored:
    """Return a file's reference. Raises OSError."""
    return Stored(str(path.absolute()), file_stamp(path))


def _of_data_set(dataset: Dataset) -> Archive:
    products = []
    for sample in dataset.samples:
        reference = None if sample.reference is None else stored(sample.reference)
        products.append(
            Product(
                name=sample.name,
                shots=(Shot(stored(sample.image), reference=reference),),
                truth="defective" if sample.defective else "good",
                truths=tuple(Rect(t.x, t.y, t.width, t.height, t.label) for t in sample.truths),
                parts={"group": sample.group} if dataset.groups else {},
            )
        )
    return Archive(place=shown(dataset.folder), kind=dataset.layout, products=tuple(products), notes=dataset.notes)


def _pictures(folder: Path) -> Archive:
    files = FolderFiles(folder)
    products = []
    for path in files.pictures():
        files.take(path)
        name = files.name(path)
        products.append(Product(name=name, shots=(Shot(stored(path)),), truth=_truth_of(name)))
    return Archive(place=shown(folder), kind="pictures", products=tuple(products), notes=files.notes())


def _pictures_by_url(url: str) -> Archive:
    fs, root = filesystem(url)
    try:
        # Not `find`: it leaves out folders that can't be listed, without a word.
        found: dict[str, Mapping[str, Any]] = {
            facts["name"]: facts
            for _, _, files in fs.walk(root, detail=True, on_error="raise")
            for facts in files.values()
            if facts.get("type") == "file"
        }
    except Exception as error:
        raise ArchiveError(f"{url} can't be listed: {type(error).__name__}: {error}\nhint: is it there?") from error
    products, others = [], []
    for path, facts in sorted(found.items()):
        name = posixpath.relpath(path, root)
        if any(part.startswith(".") for part in PurePosixPath(name).parts) or not is_picture(Path(name)):
            others.append(name)
            continue
        shot = Shot(Stored(fs.unstrip_protocol(path), _stamp(fs, path, facts)))
        products.append(Product(name=name, shots=(shot,), truth=_truth_of(name)))
    notes = (left_out("no picture", others),) if others else ()
    return Archive(place=url, kind="pictures", products=tuple(products), notes=notes)


def _stamp(fs: Any, path: str, facts: Mapping[str, Any]) -> str:
    """Return the ETag, else size and time. Raises ArchiveError where a place tells neither."""
    try:
        stamp = stamp_of(fs, path, facts)
    except UnreadFileError as error:
        raise ArchiveError(f"{error}\nhint: is it still there?") from error
    if not stamp:
        text = f"{path}: its place tells neither an ETag nor a time of change"
        raise ArchiveError(f"{text}\nhint: copy the pictures; without it nobody sees that one was changed")
    return stamp


def _truth_of(name: str) -> Truth:
    folders = [part.lower() for part in PurePosixPath(name).parts[:-1]]
    good, bad = (any(folder in names for folder in folders) for names in (GOOD_FOLDERS, DEFECTIVE_FOLDERS))
    return "unknown" if good == bad else "good" if good else "defective"


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()


def identity_of(products: Sequence[Product]) -> str:
    """Return a hash of what an archive holds: names, pictures, what is known of them."""
    return hashlib.sha256(msgspec.json.encode(products, order="deterministic")).hexdigest()


__all__ = [
    "ARCHIVE_GROUP",
    "UNREAD",
    "Archive",
    "ArchiveError",
    "Product",
    "Reader",
    "Rect",
    "Said",
    "Shot",
    "Stored",
    "check_place",
    "identity_of",
    "open_archive",
    "stored",
]
