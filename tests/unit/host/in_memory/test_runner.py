"""The host's checks without a process: what a call is held against, and what comes back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from procvision_host.algorithm.loader import LoadError
from procvision_host.in_memory.runner import InMemoryRunner
from procvision_sdk import BaseAlgorithm, Defect, Failed, Ng, Ok, Prepared, RecoverableError
from procvision_sdk import read_image_from_shared_memory as read
from procvision_sdk.call_errors import RunnerStoppedError
from procvision_sdk.errors import ManifestError
from procvision_sdk.images.picture import Picture
from procvision_sdk.manifest.reading import parse_manifest
from procvision_testing import AlgorithmRunner, CallFailedError

MANIFEST = parse_manifest(
    json.dumps(
        {
            "name": "watcher",
            "version": "1.0",
            "entry_point": "watcher:Watcher",
            "supported_pids": ["A", "B"],
            "steps": [
                {
                    "index": 1,
                    "name": "look",
                    "params": [
                        {"type": "int", "key": "level", "default": 100, "min": 0, "max": 255},
                        {"type": "string", "key": "mood", "default": "good"},
                    ],
                }
            ],
        }
    ).encode()
)


class Watcher(BaseAlgorithm):
    """NG where a picture is darker than the level; does as its mood says."""

    lives: tuple[str, ...] = ()

    def setup(self):
        self.lives += ("setup",)

    def teardown(self):
        self.lives += ("teardown",)

    def pre_execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        session.set("learnt", float(read(shared_mem_id, image_meta).mean()))
        return Prepared()

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        self.diagnostics.publish("learnt", session.get("learnt"))
        match user_params["mood"]:
            case "raise":
                raise RecoverableError("lamp is out")
            case "fault":
                return {}["nothing"]
            case "none":
                return None
            case "outside":
                return Ng("far", [Defect(0, 0, 9999, 1, "far", 1.0)])
            case "write":
                read(shared_mem_id, image_meta)[0, 0] = 1
            case "failed":
                return Failed("4711", "no light")
            case "swallow":
                try:
                    read("memory:999", image_meta)
                except Exception:
                    return Ok()
        picture = read(shared_mem_id, image_meta)
        assert picture.ndim == 3
        return Ok() if picture.mean() >= user_params["level"] else Ng("dark", [Defect(0, 0, 2, 2, "dark", 0.5)])


@pytest.fixture
def runner():
    with InMemoryRunner(Watcher, manifest=MANIFEST) as started:
        yield started


def picture(level, shape=(4, 6, 3)):
    return np.full(shape, level, np.uint8)


def test_it_is_a_runner_as_the_checks_know_it(runner):
    """And so is the one with a process, which has the same methods."""
    assert isinstance(runner, AlgorithmRunner)
    assert runner.info()["manifest"]["name"] == "watcher"


def test_both_verdicts_with_parameters_and_their_defaults(runner):
    assert runner.execute(picture(200), pid="A").verdict == "OK"
    result = runner.execute(picture(200), pid="A", user_params={"level": 201})
    assert (result.verdict, result.ng_reason, [d.label for d in result.defects]) == ("NG", "dark", ["dark"])
    assert result.latency_ms is not None


def test_mono_is_seen_as_rgb(runner):
    assert runner.execute(picture(200, (4, 6)), pid="B").verdict == "OK"


def test_a_session_carries_what_pre_stored_and_final_ends_it(runner):
    session = runner.session({"product_code": "x"})
    runner.pre_execute(picture(7), pid="A", session=session)
    assert runner.execute(picture(200), pid="A", session=session, final=True).debug["learnt"] == 7.0
    assert runner.execute(picture(200), pid="A", session=session).debug["learnt"] is None
    runner.pre_execute(picture(7), pid="A", session=session)
    runner.reset(session)
    assert runner.execute(picture(200), pid="A", session=session.id).debug["learnt"] is None


@pytest.mark.parametrize(
    ("changes", "code", "kind"),
    [
        ({"pid": "C"}, "1001", "invalid_pid"),
        ({"step_index": 2}, "1006", "step_index"),
        ({"user_params": {"level": 256}}, "1006", "bad_parameter"),
        ({"user_params": {"mood": "raise"}}, "9999", "recoverable"),
        ({"user_params": {"mood": "fault"}}, "9999", "program"),
        ({"user_params": {"mood": "none"}}, "1006", "bad_result"),
        ({"user_params": {"mood": "outside"}}, "1007", "rect_outside"),
        ({"user_params": {"mood": "write"}}, "9999", "program"),
        ({"user_params": {"mood": "swallow"}}, "1002", "not_this_calls_image"),
        ({"image": None}, "1002", "not_this_calls_image"),
    ],
)
def test_what_a_host_refuses_is_refused(runner, changes, code, kind):
    facts = {"image": picture(200), "pid": "A"} | changes
    with pytest.raises(CallFailedError) as failure:
        runner.execute(facts.pop("image"), **facts)
    assert (failure.value.error_code, failure.value.kind) == (code, kind)


def test_a_failed_call_is_a_result_without_a_verdict(runner):
    result = runner.execute(picture(9), pid="A", user_params={"mood": "failed"})
    assert (result.status, result.error_code, result.verdict) == ("ERROR", "4711", None)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((4, 4), np.uint16), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 0), np.uint8), "picture.png", [[1]]],
)
def test_what_is_no_picture_is_refused(runner, wrong):
    with pytest.raises((TypeError, ValueError), match=r"a picture (is|has|of)"):
        runner.execute(wrong, pid="A")


def test_two_runners_at_once_read_their_own_pictures(runner):
    with InMemoryRunner(Watcher, manifest=MANIFEST) as other:
        assert runner.execute(picture(200), pid="A").verdict == "OK"
        assert other.execute(picture(1), pid="A").verdict == "NG"


def test_setup_and_teardown_run_once_each():
    with InMemoryRunner(Watcher, manifest=MANIFEST) as runner:
        algorithm = runner.algorithm
    assert algorithm.lives == ("setup", "teardown")


class NoSuper(Watcher):
    def __init__(self):
        pass


class Half(BaseAlgorithm):
    pass


@pytest.mark.parametrize(
    ("wrong", "text"), [(Half, "doesn't implement execute"), (NoSuper, "super"), (object, "not a subclass")]
)
def test_a_class_that_no_host_would_load_is_refused(wrong, text):
    with pytest.raises(LoadError, match=text), InMemoryRunner(wrong, manifest=MANIFEST):
        pass


def test_an_instance_in_place_of_a_class_is_refused():
    with pytest.raises(LoadError, match="hint: give the class"):
        InMemoryRunner(Watcher(), manifest=MANIFEST)


def test_a_manifest_that_is_not_there_is_told_with_its_path():
    with pytest.raises(ManifestError, match=r"manifest\.json can't be read"):
        InMemoryRunner(Watcher)


def test_a_runner_that_was_not_entered_says_so():
    with pytest.raises(RunnerStoppedError, match="with block"):
        InMemoryRunner(Watcher, manifest=MANIFEST).execute(picture(1), pid="A")


def test_a_required_asset_that_is_missing_is_told():
    import msgspec

    manifest = msgspec.structs.replace(MANIFEST, required_assets={"A": ["model.bin"]})
    with pytest.raises(LoadError, match=r"model\.bin \(for A\)"), InMemoryRunner(Watcher, manifest=manifest):
        pass


def test_a_submitted_call_has_ended_when_it_returns(runner):
    """With its result, or with the error that execute would have raised."""
    assert runner.submit("execute", picture(200), pid="A").result(timeout=0).verdict == "OK"
    assert runner.submit("pre", picture(200), pid="A").result(timeout=0).phase == "pre"
    failed = runner.submit("execute", picture(200), pid="A", user_params={"mood": "raise"})
    assert failed.done()
    with pytest.raises(CallFailedError, match="lamp is out"):
        failed.result()
    with pytest.raises(TypeError, match="is an array of uint8"):
        runner.submit("execute", "picture.png", pid="A")


@pytest.mark.parametrize(("color_space", "shape"), [("RGB", (4, 6, 3)), ("BGR", (4, 6, 3)), ("MONO", (4, 6))])
def test_a_lent_picture_is_inspected_and_given_back(runner, color_space, shape):
    lease = runner.lend(6, 4, color_space)
    assert (lease.array.shape, lease.array.dtype, lease.array.max()) == (shape, np.uint8, 0)
    lease.array[...] = 200
    assert runner.execute(lease, pid="A").verdict == "OK"
    with pytest.raises(ValueError, match="given back"):
        _ = lease.array
    with pytest.raises(ValueError, match="given back"):
        runner.execute(lease, pid="A")
    with runner.lend(6, 4) as other:
        assert other.array.shape == (4, 6, 3)
    other.release()


class Seeing(Watcher):
    """NG, with the picture's first pixel."""

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        seen = read(shared_mem_id, image_meta)
        return Ok(debug={"pixel": seen[0, 0].tolist(), "shape": list(seen.shape), "meta": image_meta})


def encoded(level, suffix):
    import cv2

    return cv2.imencode(suffix, picture(level))[1].tobytes()


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        (Picture.of(np.array([[[1, 2, 3]]], np.uint8), "BGR"), [3, 2, 1]),
        (Picture.of(np.full((2, 2), 0x0FF0, np.uint16), bits=12), [255, 255, 255]),
        (Picture.encoded(encoded(90, ".png"), 6, 4, encoding="png"), [90, 90, 90]),
        (Picture.encoded(encoded(90, ".jpg"), 6, 4), [90, 90, 90]),
    ],
)
def test_every_kind_of_picture_is_seen_as_a_host_with_a_process_sees_it(image, pixel):
    with InMemoryRunner(Seeing, manifest=MANIFEST) as runner:
        result = runner.execute(image, pid="A", camera_id="left", timestamp_ms=7)
    assert result.debug["pixel"] == pixel
    assert result.debug["shape"] == [image.height, image.width, 3]
    assert (result.debug["meta"]["camera_id"], result.debug["meta"]["timestamp_ms"]) == ("left", 7)


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (Picture.encoded(encoded(90, ".png")[:-9], 6, 4, encoding="png"), "image_damaged"),
        (Picture.encoded(encoded(90, ".png"), 4, 6, encoding="png"), "image_mismatch"),
        (Picture.of(np.full((2, 2), 0x1FF0, np.uint16), bits=12), "image_mismatch"),
        (Picture.elsewhere("file:/no/such.png", 6, 4), "bad_image_id"),
    ],
)
def test_a_picture_that_a_host_would_refuse_is_refused(runner, image, kind):
    with pytest.raises(CallFailedError) as failure:
        runner.execute(image, pid="A")
    assert (failure.value.error_code, failure.value.kind) == ("1002", kind)


def test_a_lent_array_only_reads_once_its_call_is_made(runner):
    """As a slot's of a runner with a process."""
    with runner.lend(6, 4) as lease:
        array = lease.array
        array[:] = 200
        assert runner.execute(lease, pid="A").verdict == "OK"
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
