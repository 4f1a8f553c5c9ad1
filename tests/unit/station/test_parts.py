"""Triggers, cameras, outputs, the recorder and the kept pictures: each keeps to its protocol."""

from __future__ import annotations

import ast
import errno
import hashlib
import json
import resource
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, ClassVar

import msgspec
import numpy as np
import pytest
from power_cut import RecordedDisk

from procvision_runner import Picture
from procvision_station.cameras import FolderCamera, SimulatedCamera, TriggerCamera
from procvision_station.configuration.model import PicturesSection
from procvision_station.exporting import rows
from procvision_station.journal.layout import Kind
from procvision_station.journal.reading import read_journal
from procvision_station.journal.writer import Journal, open_journal
from procvision_station.kinds import Fired, KindError, Kinds, Told
from procvision_station.line.messages import Recorded, RecordFailed, RecordKind, Verdict
from procvision_station.outputs import JsonLinesOptions, JsonLinesOutput, ProgramOutput, WebhookOptions, WebhookOutput
from procvision_station.pictures import PictureStore, encoded, is_kept
from procvision_station.recorder import EVENTS, Recorder
from procvision_station.testing import check_camera, check_output, check_trigger
from procvision_station.triggers import FolderTrigger, IntervalOptions, IntervalTrigger
from procvision_tools.report.pictures import write_png
from procvision_tools.sources.picture_files import load

TOLD = Told("main", "k-1", "A", Verdict.NG, "a scratch", "2026-01-01T00:00:00.000+00:00")


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        write_png(folder / f"{number}.png", np.full((20, 30), number * 40, np.uint8))
    return folder


def test_the_triggers_in_the_box_keep_to_the_protocol(tmp_path):
    check_trigger(IntervalTrigger, {"every_s": 0.01}, tmp_path)
    check_trigger(IntervalTrigger, {"every_s": 1000, "count": 1}, tmp_path)
    check_trigger(FolderTrigger, {"path": "."}, tmp_path)
    with pytest.raises(KindError, match="gone can't be read"):
        check_trigger(FolderTrigger, {"path": "gone"}, tmp_path)


def test_an_interval_ends_after_its_count(tmp_path):
    trigger = IntervalTrigger(IntervalOptions(every_s=0.001, count=3), tmp_path)
    stop = threading.Event()
    assert [trigger.wait(stop) for _ in range(4)] == [Fired(), Fired(), Fired(), None]


def test_the_cameras_in_the_box_keep_to_the_protocol(tmp_path, pictures):
    check_camera(FolderCamera, {"path": "pictures"}, tmp_path)
    check_camera(FolderCamera, {"path": "pictures", "repeat": True}, tmp_path)
    check_camera(TriggerCamera, {}, tmp_path, Fired(pictures / "1.png"))
    check_camera(SimulatedCamera, {"width": 256, "height": 256, "defect_every": 0}, tmp_path)


def test_a_folder_that_has_no_more_pictures_has_no_picture(tmp_path, pictures):
    camera = FolderCamera(msgspec.convert({"path": "pictures"}, FolderCamera.options), tmp_path)
    assert [camera.grab(Fired()).width for _ in range(3)] == [30, 30, 30]
    with pytest.raises(KindError, match="no more than 3 pictures"):
        camera.grab(Fired())
    (pictures / "1.png").write_bytes(b"no picture")
    again = FolderCamera(msgspec.convert({"path": "pictures"}, FolderCamera.options), tmp_path)
    again.grab(Fired())
    with pytest.raises(KindError, match="no picture"):
        again.grab(Fired())
    assert again.grab(Fired()).height == 20


def test_a_trigger_without_a_picture_gives_none(tmp_path):
    with pytest.raises(KindError, match="no picture came"):
        TriggerCamera(None, tmp_path).grab(Fired())


class Answering(BaseHTTPRequestHandler):
    """Answers with the status that the path names, and keeps what came."""

    came: ClassVar[list[bytes]] = []

    def do_POST(self):
        self.came.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(int(self.path[1:]))
        self.send_header("Location", "/200")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - the standard library's name

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


DRIVER = "import sys\nfor line in sys.stdin: print({answer}, flush=True)"


def test_the_outputs_in_the_box_keep_to_the_protocol(tmp_path, server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    check_output(JsonLinesOutput, {"path": "told.jsonl"}, tmp_path)
    assert [json.loads(line)["verdict"] for line in (tmp_path / "told.jsonl").read_text().splitlines()] == [
        "OK",
        "NG",
        "ERROR",
    ]
    check_output(ProgramOutput, {"command": [sys.executable, "-c", DRIVER.format(answer="'ok'")]}, tmp_path)
    Answering.came.clear()
    check_output(WebhookOutput, {"url": f"{server}/204"}, tmp_path)
    assert [json.loads(body)["verdict"] for body in Answering.came] == ["OK", "NG", "ERROR"]


def test_what_a_kill_or_a_full_disk_left_of_a_line_spoils_no_other(tmp_path):
    path = tmp_path / "told.jsonl"
    check_output(JsonLinesOutput, {"path": "told.jsonl"}, tmp_path)
    path.write_bytes(path.read_bytes()[:-5])
    output = JsonLinesOutput(JsonLinesOptions(path="told.jsonl"), tmp_path)
    output.tell(TOLD)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(KindError, match="File too large"):
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 9, limits[1]))
            output.tell(TOLD)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    output.tell(TOLD)
    output.close()
    last = path.read_text().splitlines()[-4:]
    assert [json.loads(line)["key"] for line in (last[1], last[3])] == ["k-1", "k-1"]
    assert len(last[2]) == 9


@pytest.mark.parametrize("status", [301, 302, 307, 404, 500])
def test_a_webhook_that_does_not_take_a_verdict_has_not_told_it(server, status):
    with pytest.raises(KindError, match=f"answers {status}"):
        WebhookOutput(WebhookOptions(url=f"{server}/{status}"), None).tell(TOLD)


def test_a_webhook_that_nobody_answers_has_not_told_it():
    with pytest.raises(KindError, match="can't be told"):
        WebhookOutput(WebhookOptions(url="http://127.0.0.1:9/", timeout_s=1), None).tell(TOLD)


@pytest.mark.parametrize(
    "program",
    [
        DRIVER.format(answer="'no'"),
        DRIVER.format(answer="'ok\\nok'"),
        "pass",
        "import time; time.sleep(60)",
        DRIVER.format(answer="'x' * 100000"),
    ],
    ids=["refuses", "answers twice", "ends", "hangs", "floods"],
)
def test_a_driver_that_does_not_say_ok_has_not_told_it_and_is_started_anew(program, tmp_path):
    options = msgspec.convert({"command": [sys.executable, "-c", program], "timeout_s": 1.5}, ProgramOutput.options)
    output = ProgramOutput(options, tmp_path)
    for _ in range(2):
        with pytest.raises(KindError):
            output.tell(TOLD)
    output.close()


def test_a_recorder_answers_when_it_is_on_the_disk_and_tries_events_again():
    disk = RecordedDisk()
    journal = Journal(disk)
    disk.fail_at = set(range(len(disk.operations), len(disk.operations) + 2))
    answers = SimpleQueue()
    recorder = Recorder(journal, answers.put)
    recorder.event({"event": "first"})
    recorder.record("a", RecordKind.PRODUCT, {"key": "a"})
    answer = answers.get(timeout=10)
    while isinstance(answer, RecordFailed):
        recorder.record("a", RecordKind.PRODUCT, {"key": "a"})
        answer = answers.get(timeout=10)
    assert answer == Recorded("a")
    assert recorder.stop() == 0
    found = {Kind(each.header.kind): each.content() for each in read_journal(disk)}
    assert found == {Kind.EVENT: {"event": "first"}, Kind.PRODUCT: {"key": "a"}}


def test_a_recorder_that_can_write_nothing_says_what_is_lost():
    disk = RecordedDisk()
    journal = Journal(disk)

    def full(*_):
        raise OSError(errno.ENOSPC, "no space left")

    disk.write = full
    answers = SimpleQueue()
    recorder = Recorder(journal, answers.put)
    recorder.record("a", RecordKind.PRODUCT, {"key": "a"})
    assert answers.get(timeout=10) == RecordFailed("a", "the journal can't be written: no space left")
    recorder.event({"event": "x"})
    assert recorder.stop() == 1


@pytest.mark.parametrize("words", [{"reason": "\ud800"}, {"steps": [{"debug": {"x": object()}}]}])
def test_a_record_that_cant_be_written_whole_is_written_without_what_is_wrong(words):
    disk = RecordedDisk()
    answers = SimpleQueue()
    recorder = Recorder(Journal(disk), answers.put)
    recorder.record("a", RecordKind.PRODUCT, {"key": "a", "told": "NG", **words})
    assert answers.get(timeout=10) == Recorded("a")
    recorder.stop()
    (record,) = read_journal(disk)
    content = record.content()
    assert (content["key"], content["told"]) == ("a", "NG")
    assert content["left_out"]


def test_the_policy_keeps_its_share_and_decides_alike_twice():
    policy = PicturesSection(keep_ok=0.25, keep_ng=1.0, keep_error=0.0)
    keys = [f"run-{number:06d}" for number in range(4000)]
    assert sum(is_kept(policy, Verdict.OK, key) for key in keys) == pytest.approx(1000, abs=120)
    assert all(is_kept(policy, Verdict.NG, key) for key in keys)
    assert not any(is_kept(policy, Verdict.ERROR, key) for key in keys)
    assert [is_kept(policy, Verdict.OK, key) for key in keys] == [is_kept(policy, Verdict.OK, key) for key in keys]


@pytest.mark.parametrize(
    "picture",
    [
        Picture.of(np.arange(600, dtype=np.uint8).reshape(20, 30)),
        Picture.of(np.arange(1800, dtype=np.uint64).reshape(20, 30, 3).astype(np.uint8)),
        Picture.of(np.arange(1800, dtype=np.uint64).reshape(20, 30, 3).astype(np.uint8), "BGR"),
        Picture.of((np.arange(600, dtype=np.uint16) * 6).reshape(20, 30), bits=12),
    ],
    ids=["mono", "rgb", "bgr", "12 bits"],
)
def test_a_kept_picture_has_the_pixels_that_were_inspected(picture, tmp_path):
    told = SimpleQueue()
    store = PictureStore(tmp_path, 4)
    assert store.keep("a", 0, picture, told.put)
    assert store.keep("b", 0, picture, told.put)
    store.stop()
    event, other = sorted((told.get(), told.get()), key=lambda each: each["key"])
    assert (event["event"], event["key"], other["file"]) == ("picture", "a", event["file"])
    path = tmp_path / event["file"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == event["file"].replace("/", "").removesuffix(".png")
    assert path.stat().st_mode & 0o777 == 0o600
    read = np.asarray(__import__("PIL.Image").Image.open(path))
    wanted = picture.pixels[:, :, ::-1] if picture.color_space == "BGR" else picture.pixels
    assert np.array_equal(read, wanted)


def test_a_picture_that_cant_be_kept_is_told_and_others_are(tmp_path, pictures):
    told = SimpleQueue()
    store = PictureStore(tmp_path / "kept", 4)
    store.keep("a", 0, Picture.elsewhere("x:1", 10, 10, "RGB"), told.put)
    store.keep("b", 0, load(pictures / "0.png").picture(), told.put)
    store.stop()
    assert {each["key"]: each["event"] for each in (told.get(), told.get())} == {"a": "picture_lost", "b": "picture"}
    with pytest.raises(ValueError, match="can't read them"):
        encoded(Picture.elsewhere("x:1", 10, 10, "RGB"))


def test_a_queue_that_is_full_takes_no_picture(tmp_path):
    store = PictureStore(tmp_path, 1)
    picture = Picture.of(np.zeros((2000, 2000), np.uint8))
    taken = [store.keep(str(number), 0, picture, lambda *_: None) for number in range(50)]
    store.stop()
    assert taken[0]
    assert not all(taken)


def test_a_good_products_picture_makes_room_for_one_of_another_verdict(tmp_path):
    """It was to be kept, so that it isn't is an event."""
    told = SimpleQueue()
    store = PictureStore(tmp_path, 4)
    big = Picture.of(np.zeros((3000, 3000), np.uint8))
    while store.keep("good", 0, big, told.put, spare=True):
        pass
    assert store.keep("bad", 0, Picture.of(np.ones((8, 8), np.uint8)), told.put)
    store.stop()
    events = [told.get() for _ in range(told.qsize())]
    assert {each["key"] for each in events if each["event"] == "picture_lost"} == {"good"}
    assert [each["key"] for each in events if each["event"] == "picture"].count("bad") == 1
    assert "one of a product that is not OK came" in str(events)


def test_an_exported_row_has_what_was_told_at_last_and_no_formula(tmp_path):
    with open_journal(tmp_path) as journal:
        journal.append(Kind.PRODUCT, {"key": "a", "found": "OK", "told": "OK", "reason": ""})
        journal.append(Kind.TOLD, {"key": "a", "found": "OK", "told": "ERROR", "reason": "late"})
        journal.append(Kind.PRODUCT, {"key": "b", "found": "NG", "told": "NG", "reason": '=HYPERLINK("x")'})
        journal.append(Kind.PRODUCT, {"key": "c", "found": "NG", "told": "NG", "reason": "c"})
        journal.sync()
        journal.erase(4, "asked for")
    header, *found = rows("main", tmp_path)
    told = [dict(zip(header, row, strict=True)) for row in found]
    assert [(row["key"], row["found"], row["told"], row["reason"]) for row in told] == [
        ("a", "OK", "ERROR", "late"),
        ("b", "NG", "NG", '\'=HYPERLINK("x")'),
        ("", "", "", ""),
    ]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    port: Annotated[int, msgspec.Meta(ge=1)]


class Camera:
    """Of the right form, and wrong in one way each."""

    options = Options

    def __init__(self, options, folder):
        self.pixels = np.zeros((4, 4), np.uint8)

    def grab(self, fired):
        self.pixels += 1
        return Picture.of(self.pixels)

    def close(self):
        pass


class NoOptions(Camera):
    options = dict


class Closing(Camera):
    def grab(self, fired):
        return Picture.of(self.pixels.copy())

    def close(self):
        del self.pixels


class Array(Camera):
    def grab(self, fired):
        return self.pixels


@pytest.mark.parametrize(
    ("kind", "said"), [(Camera, "has changed"), (NoOptions, "no msgspec.Struct"), (Array, "gives a Picture")]
)
def test_the_check_finds_a_camera_that_breaks_the_protocol(kind, said, tmp_path):
    with pytest.raises(AssertionError, match=said):
        check_camera(kind, {"port": 1}, tmp_path)


def test_the_check_finds_a_camera_that_cant_be_closed_twice(tmp_path):
    with pytest.raises(AttributeError):
        check_camera(Closing, {"port": 1}, tmp_path)


def test_a_kind_that_cant_be_imported_is_a_reason():
    kinds = Kinds(
        {"camera": {"broken": "nowhere:Camera", "odd": f"{__name__}:NoOptions", "twice": "two distributions have it"}}
    )
    assert "ModuleNotFoundError" in kinds.load("camera", "broken")
    assert kinds.load("camera", "twice") == "two distributions have it"


def test_a_kind_of_another_distribution_is_found_by_its_entry_point(tmp_path, monkeypatch):
    """A name that two distributions have is nobody's."""
    for name, points in (("plc", "plc = {0}:Camera\nboth = {0}:Camera"), ("other", "both = {0}:Camera")):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[procvision.outputs]\n{points.format(__name__)}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Camera.__module__])
    kinds = Kinds.installed()
    assert kinds.load("output", "plc") is Camera
    assert kinds.load("output", "both") == "two distributions have it"
    assert kinds.load("output", "mqtt").__name__ == "MqttOutput"


def test_every_event_that_is_written_is_described_and_no_other():
    """By its literal in the package."""
    written = set()
    for path in (Path(__file__).parents[3] / "procvision_station").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "event" and isinstance(value, ast.Constant):
                        written.add(value.value)
    assert written == set(EVENTS)
