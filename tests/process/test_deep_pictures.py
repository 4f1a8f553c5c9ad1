"""Pictures of more than 8 bits, from a runner through a slot to an algorithm in a real host."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from shared_picture import shared_picture

from procvision_runner import CallFailedError, Picture, Runner, RunnerOptions
from procvision_testing.hook_hosts import HookHost, host_environment, install_plugged
from procvision_tools.sources.camera import picture_of
from procvision_tools.sources.picture_files import Frame, load

READ = {"does": "read"}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """A host whose algorithm tells what it saw."""
    environment = host_environment(install_plugged(tmp_path_factory.mktemp("plugged"), {}))
    with Runner("plugged", options=RunnerOptions(environment=environment)) as running:
        yield running


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
@pytest.mark.parametrize("shape", [(31, 17), (31, 17, 3)])
def test_the_algorithm_sees_the_eight_highest_bits(runner: Runner, bits: int, shape: tuple[int, ...]) -> None:
    """In the array's own order, whatever lay in the slot before."""
    deep = np.random.default_rng(bits).integers(0, 2**bits, shape).astype(np.uint16)
    seen = runner.execute(Picture.of(deep, bits=bits), pid="A", user_params=READ).debug
    expected = (deep >> (bits - 8)).astype(np.uint8)
    if len(shape) == 2:
        expected = np.repeat(expected[:, :, None], 3, axis=2)
    assert seen["shape"] == [31, 17, 3]
    assert seen["crc32"] == zlib.crc32(expected.tobytes())


def test_a_cameras_frame_goes_whole_and_a_report_shows_what_the_algorithm_saw(runner: Runner) -> None:
    """As a 12 bit camera's producer has it."""
    samples = np.random.default_rng(3).integers(0, 4096, 31 * 17).astype(np.uint16)
    frame = Frame("12 bits", picture_of(samples, 17, 31, "Mono12"))
    seen = runner.execute(frame.picture(), pid="A", user_params=READ).debug
    assert seen["shape"] == [31, 17, 3]
    assert seen["crc32"] == zlib.crc32(np.repeat(frame.seen()[:, :, None], 3, axis=2).tobytes())


def test_a_png_of_a_twelve_bit_camera_is_seen_as_its_frames_are(runner: Runner, tmp_path: Path) -> None:
    """Where it is said how many bits it uses; a file of 8 bits has nothing to choose."""
    image_module = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")
    samples = np.random.default_rng(3).integers(0, 4096, (31, 17)).astype(np.uint16)
    image_module.fromarray(samples).save(tmp_path / "deep.png")
    image_module.fromarray((samples >> 4).astype(np.uint8)).save(tmp_path / "flat.png")
    expected = zlib.crc32(np.repeat((samples >> 4).astype(np.uint8)[:, :, None], 3, axis=2).tobytes())
    for name in ("deep.png", "flat.png"):
        file = load(tmp_path / name)
        assert runner.execute(file.picture(12), pid="A", user_params=READ).debug["crc32"] == expected
        assert zlib.crc32(np.ascontiguousarray(file.pixels(12)).tobytes()) == expected
    with pytest.raises(CallFailedError, match="with 10 bits it is at most 1023"):
        runner.execute(load(tmp_path / "deep.png").picture(10), pid="A", user_params=READ)


def test_a_sample_that_no_such_camera_can_deliver_is_an_error(runner: Runner) -> None:
    """Never another picture."""
    deep = np.zeros((4, 4), np.uint16)
    deep[2, 2] = 1024
    with pytest.raises(CallFailedError, match="a sample is 1024, with 10 bits") as raised:
        runner.execute(Picture.of(deep, bits=10), pid="A", user_params=READ)
    assert (raised.value.error_code, raised.value.kind) == ("1002", "image_mismatch")


@pytest.mark.parametrize(
    ("kind", "bits", "hint"),
    [
        ("uint16", 8, r"bits=12"),
        ("uint8", 12, r"astype\(numpy\.uint16\)"),
        ("int16", 12, r"astype\(numpy\.uint16\)"),
        ("float32", 8, r"astype\(numpy\.uint8\)"),
    ],
)
def test_how_many_bits_are_used_is_never_guessed(kind: str, bits: int, hint: str) -> None:
    """An array says only how large its samples may be."""
    with pytest.raises(TypeError, match=f"this is {kind}; hint: .*{hint}"):
        Picture.of(np.zeros((4, 4), kind), bits=bits)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="8 to 16"):
        Picture.of(np.zeros((4, 4), np.uint16), bits=17)


def test_a_slot_that_contradicts_its_call_is_refused(tmp_path: Path) -> None:
    """The header's bits are held against image_meta's, both ways."""
    deep = shared_picture(bytes(32), 4, 4, color_space="MONO", bits=12)
    with HookHost(tmp_path) as host, deep as picture:
        assert host.call("read", shared_mem_id=picture.id, image_meta=picture.meta | {"bits": 12})["status"] == "OK"
        for said in ({}, {"bits": 8}, {"bits": 10}, {"bits": 16}):
            answer = host.call("read", shared_mem_id=picture.id, image_meta=picture.meta | said)
            assert answer["data"]["kind"] == "image_mismatch"


def test_a_picture_elsewhere_is_named_and_never_copied(tmp_path: Path) -> None:
    """By the id of a backend that the host has; a host without it says so."""
    environment = host_environment(install_plugged(tmp_path, {}))
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    (tmp_path / "picture.raw").write_bytes(pixels.tobytes())
    there = Picture.elsewhere(f"file:{tmp_path}/picture.raw", 4, 3)
    found = RunnerOptions(environment=environment, host_arguments=("--hook-option", f"file-images.folders={tmp_path}"))
    with Runner("plugged", options=found) as running:
        for _ in range(2):
            seen = running.execute(there, pid="A", user_params=READ).debug
            assert seen["crc32"] == zlib.crc32(pixels.tobytes())
    with Runner("plugged", options=RunnerOptions(environment=environment)) as running:
        with pytest.raises(CallFailedError) as raised:
            running.execute(there, pid="A", user_params=READ)
        assert raised.value.kind == "bad_image_id"
    with pytest.raises(ValueError, match="begins with the scheme"):
        Picture.elsewhere("/picture.raw", 4, 3)
