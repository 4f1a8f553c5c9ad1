"""Pictures go by the policy: the oldest, the least telling first, recorded before, and never one that is shared."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest

pytest.importorskip("sqlalchemy", reason="a projection needs SQLAlchemy")

from procvision_runner import Picture
from procvision_station import pictures as pictures_module
from procvision_station import retention
from procvision_station.ballast import BALLAST_BYTES, Ballast
from procvision_station.configuration.model import PicturesSection
from procvision_station.control import Answer, DeletePictures
from procvision_station.journal.layout import Kind
from procvision_station.journal.writer import open_journal
from procvision_station.pictures import PictureStore
from procvision_station.projection.database import Database, ProjectionError
from procvision_station.projection.kept_pictures import KeptPictures
from procvision_station.projection.projector import Projector
from procvision_station.retention import DAY_MS, MEGABYTE, Ask, asks

POLICY = PicturesSection(keep_ok=1, keep_ng=1, keep_error=1, free_mb=100, ok_days=7, ng_days=30)
NOW = 100 * DAY_MS


def test_age_comes_before_room_and_good_pictures_before_bad_ones() -> None:
    by_age = [Ask("OK", 93 * DAY_MS, "older than 7 days"), Ask("NG", 70 * DAY_MS, "older than 30 days")]
    assert list(asks(POLICY, 100 * MEGABYTE, NOW)) == by_age
    by_room = [Ask(each, None, "less than 100 MB were free") for each in ("OK", "ERROR", "NG", "overruled")]
    assert list(asks(POLICY, 100 * MEGABYTE - 1, NOW)) == by_age + by_room


@pytest.fixture
def kept(tmp_path: Path):
    """Pictures of products of every class on two lines; some files are shared."""
    products = {
        # key: line, told, file, at_ms, remark
        "ok-1": ("main", "OK", "a", 1, None),
        "ok-2": ("main", "OK", "b", 2, None),
        "ok-3": ("side", "OK", "b", 3, None),
        "ok-4": ("main", "OK", "shared", 4, None),
        "ng-1": ("side", "NG", "shared", 5, None),
        "ng-2": ("main", "NG", "c", 6, None),
        "ok-5": ("main", "OK", "d", 7, "pinned"),
        "ok-6": ("main", "OK", "e", 8, "overruled"),
        "error": ("main", "ERROR", "f", 9, None),
        "ok-7": ("main", "OK", "g", 10, None),
    }
    for line in ("main", "side"):
        with open_journal(tmp_path / "journal" / line) as journal:
            for key, (of, told, file, at_ms, remark) in products.items():
                if of == line:
                    moment = f"1970-01-01T00:00:00.{at_ms:03d}+00:00"
                    journal.append(Kind.PRODUCT, {"key": key, "told": told, "found": told, "triggered_at": moment})
                    journal.append(Kind.EVENT, {"event": "picture", "key": key, "step": 0, "file": file, "bytes": 1})
                    if remark is not None:
                        journal.append(Kind.EVENT, {"event": remark, "key": key, "verdict": "NG"})
            journal.sync()
            time.sleep(0.002)
    database = Database("sqlite", tmp_path, writes=True)
    projector = Projector(database, tmp_path / "journal")
    projector.catch_up()
    yield KeptPictures(database), projector, tmp_path / "journal"
    database.close()


def test_a_file_goes_with_the_last_class_that_has_it(kept) -> None:
    pictures, projector, journals = kept
    assert set(pictures.oldest("OK", None, 10)) == {"a", "b", "g"}
    assert pictures.oldest("ERROR", None, 10) == ["f"]
    assert set(pictures.oldest("NG", None, 10)) == {"c", "shared"}
    assert pictures.oldest("overruled", None, 10) == ["e"]
    assert pictures.oldest("OK", 3, 10) == ["a"]  # b is shared with a younger one
    assert pictures.lines_of(["b", "shared"]) == {"main": ["b", "shared"], "side": ["b", "shared"]}
    with open_journal(journals / "main") as journal:
        journal.append(Kind.EVENT, {"event": "pictures_deleted", "files": ["a", "b"], "why": "room"})
        journal.sync()
    projector.catch_up()
    assert set(pictures.oldest("OK", None, 10)) == {"b", "g"}  # the other line has not said so
    (record,) = pictures.last_deletions(10)
    assert pictures.deleted_by(*record) == ["a"]


def test_nothing_goes_by_a_projection_that_is_another_one_or_half_computed_anew(
    kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may not know yet what was pinned."""
    *_, journals = kept
    database = Database("sqlite", tmp_path, writes=True)
    projector = Projector(database, tmp_path / "journal")
    reader = Database("sqlite", tmp_path)
    sent: list[DeletePictures] = []
    monkeypatch.setattr(retention, "send", lambda _, command: (sent.append(command), Answer(content={"deleted": 1}))[1])
    policy = PicturesSection(keep_ok=1, keep_ng=1, keep_error=1, free_mb=1_000_000_000)
    looking = retention.Retention(policy, tmp_path, tmp_path, KeptPictures(reader), projector, database)
    assert looking.step() == 0  # it was not read to its end
    projector.catch_up()
    assert looking.step() == 1
    assert sent.pop().lines == {"main": ["a", "b", "g"], "side": ["b"]}
    # What a power cut left goes first, as long as it is there.
    (tmp_path / "c").touch()
    with open_journal(journals / "main") as journal:
        journal.append(Kind.EVENT, {"event": "pictures_deleted", "files": ["a", "c"], "why": "room"})
        journal.sync()
    projector.catch_up()
    for _ in range(2):
        assert looking.step() == 1
        assert sent.pop().lines == {"main": ["c"]}
    (tmp_path / "c").unlink()
    assert looking.step() == 1
    assert sent.pop().lines == {"main": ["b", "g"], "side": ["b"]}
    shutil.copy(database.path, tmp_path / "copied")
    (tmp_path / "copied").replace(database.path)
    assert looking.step() == 0  # another file, and the projector has not looked yet
    while projector.caught_up is not None:
        projector.step()
    assert looking.step() == 0
    # It is removed while it is asked.
    projector.catch_up()
    lines_of = KeptPictures.lines_of

    def meanwhile(self, files):
        projector._remove("a test does so")
        return lines_of(self, files)

    monkeypatch.setattr(KeptPictures, "lines_of", meanwhile)
    with pytest.raises(ProjectionError):
        looking.step()
    assert not sent
    reader.close()
    database.close()


def stored(store: PictureStore, number: int, *, acknowledge: bool = True) -> str:
    """The file that a picture of one grey is kept as."""
    files, done = [], threading.Event()

    def told(event, on_disk) -> None:
        files.append(event["file"])
        if acknowledge:
            on_disk()
        done.set()

    assert store.keep(f"k-{number}", 0, Picture.of(np.full((9, 9, 3), number, np.uint8)), told)
    assert done.wait(10)
    return files[0]


def test_a_picture_that_another_product_came_to_share_stays(tmp_path: Path) -> None:
    store = PictureStore(tmp_path, 8)
    recorded: list[str] = []
    old, shared, owed = stored(store, 1), stored(store, 2), stored(store, 3, acknowledge=False)
    as_of = time.monotonic()
    assert stored(store, 2) == shared
    assert store.delete([old, shared, owed], as_of, recorded.extend) == 1
    assert recorded == [old]
    assert [(tmp_path / file).exists() for file in (old, shared, owed)] == [False, True, True]

    def refuse(_) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        store.delete([shared], time.monotonic(), refuse)
    assert (tmp_path / shared).exists()
    assert store.delete(["00/" + "0" * 62 + ".png"], time.monotonic(), recorded.extend) == 1  # gone already
    store.stop()


def test_what_is_no_longer_remembered_is_deleted_by_no_older_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A product may have come to share the file meanwhile. A picture that can't be written is no file's owner."""
    monkeypatch.setattr(pictures_module, "MAX_RECENT", 3)
    store = PictureStore(tmp_path, 8)
    first = stored(store, 0)
    before = time.monotonic()
    assert [stored(store, number) for number in range(1, 5)]
    assert store.delete([first], before, lambda _: None) == 0
    assert store.delete([first], time.monotonic(), lambda _: None) == 1
    (tmp_path / first).parent.rmdir()
    (tmp_path / first).parent.write_bytes(b"no folder")
    lost = SimpleQueue()
    store.keep("k", 0, Picture.of(np.zeros((9, 9, 3), np.uint8)), lambda event, _: lost.put(event))
    assert lost.get(timeout=10)["event"] == "picture_lost"
    (tmp_path / first).parent.unlink()
    assert stored(store, 0) == first
    assert store.delete([first], time.monotonic(), lambda _: None) == 1
    store.stop()


def test_one_picture_of_many_products_is_written_once_by_all_threads(tmp_path: Path) -> None:
    store = PictureStore(tmp_path, 200)
    told = SimpleQueue()
    picture = Picture.of(np.random.default_rng(1).integers(0, 255, (200, 300), np.uint8))
    assert all(store.keep(f"k-{number}", 0, picture, lambda *event: told.put(event)) for number in range(100))
    store.stop()
    events = [told.get() for _ in range(100)]
    assert {event["event"] for event, _ in events} == {"picture"}
    (file,) = {event["file"] for event, _ in events}
    assert [path.name for path in (tmp_path / file).parent.iterdir()] == [(tmp_path / file).name]
    for _, on_disk in events[:-1]:
        on_disk()
    assert store.delete([file], time.monotonic(), lambda _: None) == 0  # the last one's event is not on the disk
    events[-1][1]()
    assert store.delete([file], time.monotonic(), lambda _: None) == 1


def test_a_good_picture_is_kept_as_jpeg_where_the_policy_says_so(tmp_path: Path) -> None:
    store = PictureStore(tmp_path, 8)
    events: list[dict] = []
    for lossy in (True, False):
        store.keep(
            "k", 0, Picture.of(np.zeros((9, 9, 3), np.uint8)), lambda event, _: events.append(event), lossy=lossy
        )
    store.stop()
    events.sort(key=lambda event: event["file"][-4:])
    assert [event["file"][-4:] for event in events] == [".jpg", ".png"]
    assert (tmp_path / events[0]["file"]).read_bytes().startswith(b"\xff\xd8")


def test_a_ballast_gives_its_room_up_and_takes_it_again(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path, size=1_000_000)
    assert not ballast.give_up()
    assert ballast.take()
    assert (tmp_path / "ballast").stat().st_blocks * 512 >= 1_000_000
    assert ballast.give_up()
    assert (tmp_path / "ballast").stat().st_size == 0
    assert ballast.take()
    for _ in range(2):
        ballast.share()
        assert (tmp_path / "ballast").stat().st_size == 500_000
    assert ballast.take()
    free = os.statvfs(tmp_path)
    too_much = Ballast(tmp_path, size=free.f_bavail * free.f_frsize)
    assert not too_much.take()
    assert BALLAST_BYTES > 1_000_000
