"""A station with real hosts: what was told is in the ledger, whatever hangs, fails or is killed."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

from procvision_runner import Picture
from procvision_station import pictures as pictures_module
from procvision_station.companions import commands, companions
from procvision_station.configuration.files import version_of
from procvision_station.configuration.reading import read_station
from procvision_station.control import (
    Action,
    ChangeRecipe,
    ChooseRecipe,
    ControlError,
    DeletePictures,
    Note,
    NotRunningError,
    Overrule,
    Pin,
    Status,
    send,
)
from procvision_station.exporting import records
from procvision_station.journal.audit import audit
from procvision_station.journal.disk import FolderDisk
from procvision_station.kinds import BUILT_IN, Fired, KindError, Kinds
from procvision_station.pictures import PictureStore
from procvision_station.projection.database import Database
from procvision_station.projection.projector import Projector
from procvision_station.projection.queries import ReadModel
from procvision_station.scaffold import make_station
from procvision_station.station import run_station
from procvision_testing.boards import make_board
from procvision_tools.sources.picture_files import load

CAMERA, EVERY = 'kind = "simulated"\nseed = 7\ndefect_every = 5', "every_s = 0.15"
TO_FILE = ('path = "-"            # stdout', 'path = "told.jsonl"')
COMMAND = [sys.executable, "-m", "procvision_tools", "station"]
RUN = [*COMMAND, "run", "--no-page"]


COMMANDS = (
    Status(),
    Overrule(user="u-1", line="main", key="k-1", verdict="NG", why="a scratch"),
    Note(user="u-1", line="main", key="k-1", text="äöü \x00"),
    Pin(user="u-1", line="main", key="k-1", pinned=True),
    Action(user="u-1", event="role_changed", content={"subject": "u-2", "role": "viewer", "user": "not me"}),
)
REFUSED = (
    (Note(user="u-1", line="maim", key="k", text="x"), "there is no line 'maim'"),
    (Note(user="", line="main", key="k", text="x"), "it is no command"),
    (Action(user="u-1", event="Sign In"), "it is no command"),
    (Note(user="u-1", line="main", key="k", text="x" * 2_000_000), "it is no command|gave no answer"),
)


class NoOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the peers below."""


class Peer:
    """A camera and an output that misbehave as their class says."""

    options = NoOptions

    def __init__(self, options, folder: Path) -> None:
        self.count = 0
        self.board = load(folder / "golden" / "board.png").picture()

    def close(self) -> None:
        pass


class HangingCamera(Peer):
    """Has no picture for its second product until long after its deadline."""

    def grab(self, fired: Fired) -> Picture:
        self.count += 1
        if self.count == 2:
            time.sleep(1.4)
        return self.board


class FailingCamera(Peer):
    """Each second picture is missing, or is none, or is an exception nobody thought of."""

    def grab(self, fired: Fired) -> Picture:
        self.count += 1
        if self.count % 4 == 2:
            raise KindError("the cable is out")
        if self.count % 4 == 0:
            raise ZeroDivisionError("a driver's own mistake")
        return self.board if self.count % 4 == 1 else "no picture"  # type: ignore[return-value]


class FailingOutput(Peer):
    """Takes nothing."""

    def tell(self, told) -> None:
        raise RuntimeError("nobody listens")


class HangingOutput(Peer):
    """Never comes back."""

    def tell(self, told) -> None:
        time.sleep(60)


def changed(folder: Path, *pairs: tuple[str, str], count: int = 6) -> Path:
    """A station that ends after so many products, with texts of its file replaced."""
    list(make_station(folder, count))
    path = folder / "station.toml"
    text = path.read_text()
    for old, new in (("every_s = 0.5", "every_s = 0.15"), *pairs):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return folder


def kinds_with(**peers: type) -> Kinds:
    """The kinds in the box, and these."""
    homes = {sort: dict(kinds) for sort, kinds in BUILT_IN.items()}
    for name, peer in peers.items():
        homes["output" if hasattr(peer, "tell") else "camera"][name] = f"{__name__}:{peer.__name__}"
    return Kinds(homes)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peers are found as a distribution's are: by the name of their module."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules[HangingCamera.__module__])


def run(folder: Path, kinds: Kinds | None = None) -> tuple[dict, list[str]]:
    kinds = kinds or Kinds.installed()
    notices: list[str] = []
    (runner,) = run_station(read_station(folder, kinds), notices.append, kinds).values()
    assert runner.unrecorded == 0
    return {str(verdict): count for verdict, count in runner.verdicts.items()}, notices


def ledger(folder: Path) -> list[dict]:
    journal = folder / "data" / "journal" / "main"
    assert audit(FolderDisk(journal)).first_break is None
    return list(records("main", journal))


def told(folder: Path) -> dict[str, str]:
    """What the journal says was told at last, by product; each has one record."""
    found = ledger(folder)
    keys = [each["key"] for each in found if each["kind"] == "product"]
    assert len(set(keys)) == len(keys)
    return {each["key"]: each["told"] for each in found if each["kind"] in ("product", "told")}


def test_a_new_station_runs_from_the_command_line_and_its_ledger_has_what_it_told(tmp_path: Path) -> None:
    folder = tmp_path / "line-3"
    for arguments in (["new", folder, "--count", "7"], ["check", folder]):
        subprocess.run([*COMMAND, *arguments], check=True, capture_output=True, timeout=60)
    done = subprocess.run([*RUN, folder], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 7
    assert {line["key"]: line["verdict"] for line in lines} == told(folder)
    assert [line["verdict"] for line in lines].count("NG") == 1
    (picture,) = {each["file"] for each in ledger(folder) if each.get("event") == "picture" and "000005" in each["key"]}
    assert (folder / "data" / "pictures" / picture).is_file()
    started = next(each for each in ledger(folder) if "event" in each)
    assert started["event"] == "started"
    assert [each["verdict"] for each in started["references"]] == ["OK"]
    shown = subprocess.run([*COMMAND, "audit", folder], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0
    head = shown.stdout.split("head ")[1].strip()
    again = [*COMMAND, "audit", folder, "--expect", head]
    assert subprocess.run(again, capture_output=True, timeout=60).returncode == 0
    with contextlib.closing(ReadModel(Database("sqlite", folder / "data"))) as model:
        assert {row.key: row.told for row in model.history().rows} == told(folder)
    exported = subprocess.run([*COMMAND, "export", folder], capture_output=True, text=True, timeout=60).stdout
    assert len(exported.splitlines()) == 8
    # A changed byte is found from the command line, and the journal is not written any more.
    segment = next((folder / "data" / "journal" / "main").glob("*.seg"))
    data = bytearray(segment.read_bytes())
    data[data.index(b"000003")] ^= 1
    segment.write_bytes(data)
    broken = subprocess.run([*COMMAND, "audit", folder], capture_output=True, text=True, timeout=60)
    assert broken.returncode == 1
    assert "BROKEN: 0000000000000001.seg: byte" in broken.stdout
    refused = subprocess.run([*RUN, folder], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "the journal is damaged" in refused.stderr


def test_a_camera_that_hangs_costs_its_product_and_no_other(tmp_path: Path) -> None:
    folder = changed(
        tmp_path, (CAMERA, 'kind = "hanging"'), ("_ms = 2000", "_ms = 1000"), (EVERY, "every_s = 1.6"), count=3
    )
    verdicts, _ = run(folder, kinds_with(hanging=HangingCamera))
    assert verdicts == {"OK": 2, "ERROR": 1}
    assert sorted(told(folder).values()) == ["ERROR", "OK", "OK"]
    (error,) = [each for each in ledger(folder) if each.get("told") == "ERROR"]
    assert error["reason"] == "no picture of step 1 at the deadline"


def test_a_camera_that_fails_in_any_way_is_an_error_with_a_record(tmp_path: Path) -> None:
    folder = changed(tmp_path, (CAMERA, 'kind = "failing"'), (EVERY, "every_s = 0.5"), count=8)
    verdicts, _ = run(folder, kinds_with(failing=FailingCamera))
    assert verdicts == {"OK": 2, "ERROR": 6}
    reasons = {each["reason"] for each in ledger(folder) if each.get("told") == "ERROR"}
    assert reasons == {
        "camera top: the cable is out",
        "camera top: ZeroDivisionError: a driver's own mistake",
        "camera top: the camera gave str, which is no Picture",
    }


def test_an_output_that_fails_or_hangs_keeps_nobody_else_from_being_told(tmp_path: Path) -> None:
    three = '[[lines.main.outputs]]\nkind = "failing"\n\n[[lines.main.outputs]]\nkind = "hanging"\n\n'
    folder = changed(tmp_path, TO_FILE, ("[[lines", f"{three}[[lines"), count=4)
    verdicts, notices = run(folder, kinds_with(failing=FailingOutput, hanging=HangingOutput))
    assert sum(verdicts.values()) == 4
    lines = [json.loads(line) for line in (folder / "told.jsonl").read_text().splitlines()]
    assert {line["key"]: line["verdict"] for line in lines} == told(folder)
    failed = [each for each in ledger(folder) if each.get("event") == "not_told"]
    assert len(failed) == 4
    assert "nobody listens" in failed[0]["reason"]
    assert len([each for each in notices if "was not told" in each]) == 4


def test_a_disk_that_is_full_for_a_while_makes_errors_that_are_recorded_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = changed(
        tmp_path, ("deadline_ms = 2000", "deadline_ms = 1000"), ("every_s = 0.15", "every_s = 0.4"), count=8
    )
    write, full = FolderDisk.write, threading.Event()

    def limited(self, name, offset, data):
        if full.is_set():
            raise OSError(28, "No space left on device")
        write(self, name, offset, data)

    monkeypatch.setattr(FolderDisk, "write", limited)

    def fill():
        journal = folder / "data" / "journal" / "main"
        while sum(path.stat().st_size for path in journal.glob("*.seg")) < 3000:  # some products are recorded
            time.sleep(0.01)
        full.set()
        time.sleep(2.5)
        full.clear()

    filling = threading.Thread(target=fill)
    filling.start()
    verdicts, _ = run(folder)
    filling.join()
    assert sum(verdicts.values()) == 8
    assert verdicts["ERROR"] >= 1
    found = ledger(folder)
    assert sorted(told(folder).values()).count("ERROR") == verdicts["ERROR"]
    late = [each for each in found if each["kind"] == "product" and each["told"] == "ERROR"]
    assert any(each["found"] in ("OK", "NG") for each in late)
    assert all("not on the disk at the deadline" in each["reason"] for each in late if each["found"] != "ERROR")


class FillingCamera(Peer):
    """From its second picture on, no picture can be written."""

    full = threading.Event()

    def grab(self, fired: Fired) -> Picture:
        self.count += 1
        (self.full.set if self.count > 1 else self.full.clear)()
        return self.board


def test_a_picture_that_its_verdict_waits_for_is_kept_or_lost_once_however_often_it_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ("keep_ok = 0.05", 'keep_ok = 1.0\nevidence = "first"')
    folder = changed(tmp_path, (CAMERA, 'kind = "filling"'), first, (EVERY, "every_s = 0.5"), count=3)
    write, tried = PictureStore._write_file, []

    def limited(self, path, data):
        tried.append(path)
        if FillingCamera.full.is_set():
            raise OSError(28, "No space left on device")
        write(self, path, data)

    monkeypatch.setattr(PictureStore, "_write_file", limited)
    monkeypatch.setattr(pictures_module, "MAX_RECENT", 0)  # all products have one picture
    verdicts, notices = run(folder, kinds_with(filling=FillingCamera))
    assert verdicts == {"OK": 1, "ERROR": 2}
    assert len(tried) > 3
    found = ledger(folder)
    lost = [each["reason"] for each in found if each.get("event") == "picture_lost"]
    assert lost == ["OSError: [Errno 28] No space left on device"] * 2
    kept = [each["steps"][0]["picture"] for each in found if each["kind"] == "product"]
    assert kept == ["kept", "lost", "lost"]
    assert found[-1]["pictures"] == {"kept": 1, "lost": 2, "left_out": 0}
    assert "main: 1 pictures are kept, 0 were left out, 2 were lost" in notices


def test_sigterm_ends_a_station_whole(tmp_path: Path) -> None:
    folder = changed(tmp_path, TO_FILE, count=100_000)
    with running(folder) as station:
        deadline = time.monotonic() + 60
        while not ((folder / "told.jsonl").exists() and (folder / "told.jsonl").stat().st_size > 500):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        before = time.monotonic()
        answers = [send(folder / "data", command) for command in COMMANDS]
        # What was asked before the pin, and the overrule, may not know of it.
        going = {"main": ["00/" + "0" * 62 + ".png"]}
        deleted = [
            send(folder / "data", DeletePictures(lines=going, why="age", as_of=as_of)).content["deleted"]
            for as_of in (before, time.monotonic())
        ]
        assert deleted == [0, 1]
        for command, why in REFUSED:
            with pytest.raises(ControlError, match=why):
                send(folder / "data", command)
        projections = [
            each for each in psutil.Process(station.pid).children() if "procvision_station.projection" in each.cmdline()
        ]
        assert len(projections) == 1
        projections[0].kill()
        station.terminate()
        assert station.wait(30) == 143
    with pytest.raises(NotRunningError):
        send(folder / "data", Status())
    assert answers[0].content["main"]["hosts"]["pcb-compare"]["state"] == "ready"
    asked = [each for each in ledger(folder) if "user" in each]
    assert [(each["event"], each["key"]) for each in asked] == [
        ("overruled", "k-1"),
        ("note", "k-1"),
        ("pinned", "k-1"),
    ]
    assert [answer.sequence for answer in answers[1:4]] == [each["sequence"] for each in asked]
    (action,) = records("_station", folder / "data" / "journal" / "_station")
    assert (action["event"], action["user"], action["role"]) == ("role_changed", "u-1", "viewer")
    lines = [json.loads(line) for line in (folder / "told.jsonl").read_text().splitlines()]
    assert {line["key"]: line["verdict"] for line in lines} == told(folder)
    assert ledger(folder)[-1]["event"] == "stopped"
    database = Database("sqlite", folder / "data", writes=True)
    Projector(database, folder / "data" / "journal").catch_up()  # its projector was killed
    with contextlib.closing(ReadModel(database)) as model:
        assert {row.key: row.told for row in model.history(limit=500).rows} == told(folder)


def test_a_recipe_is_changed_between_two_products_and_taken_back(tmp_path: Path) -> None:
    """By a user, with why; a wrong one, or one of an older version, changes nothing."""
    folder = changed(tmp_path, TO_FILE, count=100_000)
    path, data = folder / "recipes" / "board.toml", folder / "data"
    first = path.read_text()
    second = first.replace("min_score = 0.5", "min_score = 0.9")
    of_first, of_second = (version_of(text.encode()) for text in (first, second))

    def change(text: str, base: str | None, recipe: str = "board"):
        return send(data, ChangeRecipe(user="u-1", recipe=recipe, text=text, base=base, why="tighter"))

    def products(version: str) -> int:
        return sum(each.get("recipe_version") == version for each in ledger(folder) if each["kind"] == "product")

    with running(folder) as station:
        wait_until(lambda: (folder / "told.jsonl").exists() and (folder / "told.jsonl").stat().st_size)
        before = [each.cmdline() for each in psutil.Process(station.pid).children(recursive=True)]
        with pytest.raises(ControlError, match=r"recipes/board.toml:\d+:\d+: steps\[0\].parameters.min_score"):
            change(first.replace("min_score = 0.5", "min_score = 7"), of_first)
        with pytest.raises(ControlError, match="the change is one of version"):
            change(second, of_second)
        with pytest.raises(ControlError, match="its text is what it was"):
            change(first, of_first)
        assert path.read_text() == first
        assert change(second, of_first).content == {"version": of_second, "lines": ["main"]}
        assert path.read_text() == second
        wait_until(lambda: products(of_second) > 2)
        change(first, of_second)
        assert change(second, None, "other").content["lines"] == []
        send(data, ChooseRecipe(user="u-2", line="main", recipe="other"))
        with pytest.raises(ControlError, match=r"there is no recipes/nothing\.toml"):
            send(data, ChooseRecipe(user="u-2", line="main", recipe="nothing"))
        wait_until(lambda: (last := ledger(folder)[-1])["kind"] == "product" and last["recipe"] == "other")
        [each for each in psutil.Process(station.pid).children(recursive=True) if "pcb-compare" in each.cmdline()]
        after = [each.cmdline() for each in psutil.Process(station.pid).children(recursive=True)]
        station.terminate()
        assert station.wait(30) == 143
    assert sum("pcb-compare" in words for words in after) == sum("pcb-compare" in words for words in before)
    found = ledger(folder)
    events = [(each["recipe"], each["recipe_version"], each["user"]) for each in found if each.get("event") == "recipe"]
    assert events == [("board", of_second, "u-1"), ("board", of_first, "u-1"), ("other", of_second, "u-2")]
    ran = [each["recipe_version"] for each in found if each["kind"] == "product"]
    assert [version for version, _ in itertools.groupby(ran)] == [of_first, of_second, of_first, of_second]
    assert all(each["told"] in ("OK", "NG") for each in found if each["kind"] == "product")
    assert read_station(folder).lines["main"].recipe.name == "other"


@contextlib.contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A station's process, which a test that fails leaves behind nowhere."""
    with subprocess.Popen([*RUN, folder], stderr=subprocess.DEVNULL, start_new_session=True) as station:
        try:
            yield station
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(station.pid, signal.SIGKILL)


def wait_until(holds) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class NoisyCamera(Peer):
    """No two of its pictures are one file."""

    def __init__(self, options, folder: Path) -> None:
        self.count = 0
        self.pixels = make_board(seed=7).picture

    def grab(self, fired: Fired) -> Picture:
        self.count += 1
        noise = np.random.default_rng(self.count).integers(-2, 3, self.pixels.shape)
        return Picture.of((self.pixels + noise).clip(0, 255).astype(np.uint8))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a tmpfs can be mounted by root alone")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_disk_that_fills_loses_its_oldest_good_pictures_and_no_record(small_disk: Path) -> None:
    """By the policy, then at once by another's file: what was deleted is recorded before, and OK comes back."""
    folder = changed(
        small_disk / "line",
        (CAMERA, 'kind = "noisy"'),
        TO_FILE,
        ("keep_ok = 0.05", "keep_ok = 1.0\nfree_mb = 44"),
        ("every_s = 0.15", "every_s = 0.1"),
        count=100,
    )
    data, foreign = folder / "data", small_disk / "foreign"

    def fill() -> None:
        wait_until(lambda: any(each.get("event") == "pictures_deleted" for each in quietly(folder)))
        free = os.statvfs(small_disk)
        with contextlib.suppress(OSError):  # others write, too: then it is fuller still
            foreign.write_bytes(bytes(free.f_bavail * free.f_frsize - 20_000))

    filling = threading.Thread(target=fill)
    filling.start()
    kinds = kinds_with(noisy=NoisyCamera)
    station = read_station(folder, kinds)
    with companions(commands(station), lambda _: None):
        (runner,) = run_station(station, lambda _: None, kinds).values()
    filling.join()
    assert runner.unrecorded == 0
    assert runner.verdicts.total() == 100
    found = ledger(folder)
    deleted = [file for each in found if each.get("event") == "pictures_deleted" for file in each["files"]]
    there = {str(path.relative_to(data / "pictures")) for path in (data / "pictures").rglob("*.png")}
    written = {each["file"]: each["key"] for each in found if each.get("event") == "picture"}
    assert len(deleted) == len(set(deleted)) > 20
    assert there == written.keys() - set(deleted)
    by_age = list(written)
    assert set(deleted) == set(by_age[: len(deleted)])  # the oldest
    assert all(each["told"] in ("OK", "ERROR") for each in found if each["kind"] == "product")
    assert runner.verdicts["OK"] > 50


def quietly(folder: Path) -> list[dict]:
    """What a ledger that is being written has; nothing before it is there."""
    with contextlib.suppress(OSError, AssertionError):
        return ledger(folder)
    return []


class SlowCamera(Peer):
    """Somebody's signal comes while it takes its second picture."""

    def grab(self, fired: Fired) -> Picture:
        self.count += 1
        if self.count == 2:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            time.sleep(0.9)
        return self.board


def test_a_signal_in_the_middle_of_a_product_ends_the_station_after_it(tmp_path: Path) -> None:
    """An interrupted join of a thread takes it for ended: what the line then did was written by nobody."""
    folder = changed(
        tmp_path, (CAMERA, 'kind = "slow"'), ("keep_ok = 0.05", "keep_ok = 1.0"), (EVERY, "every_s = 0.4"), count=100
    )

    class SignalledError(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise SignalledError

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(SignalledError):
            run(folder, kinds_with(slow=SlowCamera))
    finally:
        signal.signal(signal.SIGUSR1, before)
    found = ledger(folder)
    assert found[-1]["event"] == "stopped"
    recorded = [each["key"] for each in found if each["kind"] == "product"]
    assert len(recorded) == sum(found[-1]["verdicts"].values()) >= 2
    assert [each["key"] for each in found if each.get("event") == "picture"] == recorded


CRASHING = """
import os
from procvision_sdk import BaseAlgorithm, Ng, Ok, read_image_from_shared_memory

class Crashing(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        said = int(read_image_from_shared_memory(shared_mem_id, image_meta)[0, 0, 0])
        if said == 7:
            os._exit(70)
        if said == 8:
            os.kill(os.getpid(), 11)
        return Ok() if said % 2 else Ng("even", [])
"""
CRASHING_MANIFEST = {
    "name": "crashing", "version": "1.0", "entry_point": "crashing:Crashing", "supported_pids": ["A"],
    "steps": [{"index": 1, "name": "look", "params": []}],
}  # fmt: skip
CRASHING_STATION = """
[station]
name = "storm"
[pictures]
keep_ok = 1.0
keep_ng = 1.0
keep_error = 1.0
free_mb = 0
queue = 2
[lines.main]
recipe = "board"
deadline_ms = 4000
max_products = 3
trigger = {kind = "storm"}
cameras = {top = {kind = "numbering"}}
outputs = [{kind = "json-lines", path = "told.jsonl"}]
"""


STORM, PACED = 30, 30
DEADLY = {35: 7, 45: 8, 55: 7}
"""By its number, what the picture of a product says that ends the algorithm's process: each tenth after the storm."""


class StormTrigger(Peer):
    """Thirty products at once, while three are taken; then as many one after the other."""

    def __init__(self, options, folder: Path) -> None:
        self.count = 0

    def wait(self, stop) -> Fired | None:
        self.count += 1
        if self.count > STORM:
            stop.wait(0.15 if self.count < STORM + PACED else 2.0)
        return Fired(serial=str(self.count)) if self.count <= STORM + PACED else None


class NumberingCamera(Peer):
    """Its pictures say whether the algorithm dies."""

    def __init__(self, options, folder: Path) -> None:
        pass

    def grab(self, fired: Fired) -> Picture:
        number = int(fired.serial or 0)
        return Picture.of(np.full((16, 16, 3), DEADLY.get(number, 100 + number), np.uint8))


def test_a_storm_of_triggers_and_an_algorithm_that_dies_leave_each_product_one_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was told is what is recorded, once; what comes after a crash is judged again."""
    place, folder = tmp_path / "vendor", tmp_path / "line-3"
    for path, text in (
        (place / "crashing" / "__init__.py", CRASHING),
        (place / "crashing" / "manifest.json", json.dumps(CRASHING_MANIFEST)),
        (place / "crashing-1.0.dist-info" / "METADATA", "Metadata-Version: 2.1\nName: crashing\nVersion: 1.0\n"),
        (
            place / "crashing-1.0.dist-info" / "entry_points.txt",
            "[procvision.algorithms]\ncrashing=crashing:Crashing\n",
        ),
        (folder / "station.toml", CRASHING_STATION),
        (folder / "recipes" / "board.toml", 'product = "A"\n[[steps]]\ncamera = "top"\nalgorithm = "crashing"\n'),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH")])))
    homes = {sort: dict(kinds) for sort, kinds in BUILT_IN.items()}
    homes["trigger"]["storm"] = f"{__name__}:StormTrigger"
    homes["camera"]["numbering"] = f"{__name__}:NumberingCamera"
    counts, _ = run(folder, Kinds(homes))
    found = [each for each in ledger(folder) if each["kind"] == "product"]
    assert sorted(int(each["serial"]) for each in found) == list(range(1, STORM + PACED + 1))
    at_last = told(folder)
    said = [json.loads(line) for line in (folder / "told.jsonl").read_text().splitlines()]
    assert {each["key"]: each["verdict"] for each in said} == at_last
    assert len(said) == len(at_last) == sum(counts.values())
    by_serial = {int(each["serial"]): at_last[each["key"]] for each in found}
    assert {by_serial[number] for number in DEADLY} == {"ERROR"}
    assert by_serial[STORM + PACED] in ("OK", "NG")
    assert counts["ERROR"] < len(found) - 10
