"""A camera's frames, and the simulated camera that comes with genicam."""

from __future__ import annotations

import numpy as np
import pytest

from procvision_tools.sources.camera import SIMULATED, Camera, CameraError, picture_of
from procvision_tools.sources.picture_files import Frame


@pytest.mark.parametrize(
    ("data_format", "samples", "wanted"),
    [
        ("Mono8", [1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]),
        ("RGB8", range(18), np.arange(18).reshape(2, 3, 3)),
        ("BGR8", range(18), np.arange(18).reshape(2, 3, 3)[:, :, ::-1]),
        ("RGBa8", range(24), np.arange(24).reshape(2, 3, 4)[:, :, :3]),
        ("BGRa8", range(24), np.arange(24).reshape(2, 3, 4)[:, :, 2::-1]),
    ],
)
def test_a_frame_becomes_a_picture_of_its_own(data_format, samples, wanted):
    data = np.array(samples, np.uint8)
    picture = picture_of(data, 3, 2, data_format)
    assert (picture.width, picture.height, picture.bits) == (3, 2, None)
    assert picture.pixels.tolist() == np.asarray(wanted).tolist()
    assert picture.pixels.flags.c_contiguous
    assert not np.shares_memory(picture.pixels, data)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_more_than_eight_bits_are_sent_whole_and_never_wrap(bits):
    brightest = 2**bits - 1
    data = np.array([0, 15, 16, brightest, brightest - 15, 256], np.uint16)
    picture = picture_of(data, 3, 2, f"Mono{bits}")
    assert (picture.bits, picture.color_space, picture.pixels.dtype) == (bits, "MONO", np.uint16)
    assert picture.pixels.ravel().tolist() == data.tolist()
    assert Frame("one", picture).seen().ravel().tolist() == (data >> (bits - 8)).tolist()
    assert Frame("one", picture).picture() is picture
    if bits < 16:
        with pytest.raises(CameraError, match=f"holds {brightest + 1}: {bits} bits are at most {brightest}"):
            picture_of(np.array([brightest + 1], np.uint16), 1, 1, f"Mono{bits}")


@pytest.mark.parametrize(
    ("data_format", "mosaic"),
    [("BayerRG8", [[9, 0], [0, 0]]), ("BayerBG8", [[0, 0], [0, 9]]), ("BayerGR8", [[0, 9], [0, 0]]),
     ("BayerGB8", [[0, 0], [9, 0]])],
)  # fmt: skip
def test_a_bayer_mosaic_of_a_red_plate_is_red(data_format, mosaic):
    pytest.importorskip("cv2", reason="OpenCV reads Bayer mosaics")
    picture = picture_of(np.tile(np.array(mosaic, np.uint8) * 20, (8, 8)).ravel(), 16, 16, data_format).pixels
    assert picture[4:-4, 4:-4].reshape(-1, 3).mean(axis=0).round().tolist() == [180, 0, 0]


@pytest.mark.parametrize(
    ("count", "data_format", "words"),
    [
        (6, "YUV422_8", "delivers YUV422_8; read are Mono8"),
        (7, "Mono8", "7 samples: lines are padded, or cut"),
        (0, "Mono8", "0 samples"),
        (18, "Mono8", "3 samples a pixel"),
        (6, "RGB8", "1 samples a pixel"),
    ],
)
def test_a_frame_that_cannot_be_read_for_sure_is_an_error(count, data_format, words):
    with pytest.raises(CameraError, match=words):
        picture_of(np.zeros(count, np.uint8), 3, 2, data_format)


def test_without_a_producer_there_is_a_hint(monkeypatch):
    pytest.importorskip("harvesters", reason="harvesters speaks to cameras: pip install 'procvision[camera]'")
    monkeypatch.delenv("GENICAM_GENTL64_PATH", raising=False)
    with pytest.raises(CameraError, match=r"no GenTL producer(.|\n)*hint: name the camera maker's"), Camera("any"):
        pass


def test_the_simulated_camera_delivers_frames_and_is_let_go():
    pytest.importorskip("genicam", reason="genicam brings a simulated camera: pip install 'procvision[camera]'")
    pytest.importorskip("harvesters", reason="harvesters speaks to cameras: pip install 'procvision[camera]'")
    for _ in range(2):
        with Camera(SIMULATED) as camera:
            frames = [camera.grab() for _ in range(3)]
            assert camera.name.startswith("Viky")
        assert {frame.pixels.shape for frame in frames} == {(400, 400, 3)}
        assert all(frame.pixels.flags.owndata for frame in frames)
    with pytest.raises(CameraError, match="not open"):
        camera.grab()


def test_a_camera_that_is_not_there_is_named_with_those_that_are():
    genicam = pytest.importorskip("genicam", reason="genicam brings a producer: pip install 'procvision[camera]'")
    pytest.importorskip("harvesters", reason="harvesters speaks to cameras: pip install 'procvision[camera]'")
    from pathlib import Path

    producer = Path(genicam.__file__).with_name("viky.cti")
    with pytest.raises(CameraError, match="no camera 'left': there are Viky"), Camera("left", [producer]):
        pass
    with pytest.raises(CameraError, match="no producer"), Camera("any", [producer.with_name("absent.cti")]):
        pass


@pytest.fixture
def simulated():
    pytest.importorskip("genicam", reason="genicam brings a simulated camera: pip install 'procvision[camera]'")
    pytest.importorskip("harvesters", reason="harvesters speaks to cameras: pip install 'procvision[camera]'")
    with Camera(SIMULATED) as camera:
        yield camera


def test_frames_that_come_incomplete_are_counted_and_the_time_is_kept(simulated, monkeypatch):
    """The library's own `fetch` would wait for ever."""
    import genicam.gentl

    simulated.grab()
    monkeypatch.setattr(genicam.gentl.Buffer, "is_complete", lambda self: False)
    with pytest.raises(CameraError, match=r"no whole frame within 0\.5 s: \d+ came incomplete\nhint: packets are lost"):
        simulated.grab(0.5)
    monkeypatch.undo()
    assert simulated.grab().pixels is not None


def test_a_frame_after_incomplete_ones_is_a_picture(simulated, monkeypatch):
    import genicam.gentl

    lost = iter([False] * 3)
    monkeypatch.setattr(genicam.gentl.Buffer, "is_complete", lambda self: next(lost, True))
    assert simulated.grab().pixels.shape == (400, 400, 3)
    assert next(lost, None) is None


@pytest.mark.parametrize("damage", ["no component", "unknown number", "broken data"])
def test_a_frame_that_nothing_reads_names_its_format_not_a_trigger(damage, simulated, monkeypatch):
    from harvesters import core

    def build(*arguments, **options):
        if damage == "no component":
            return
        raise (KeyError(0x81080000) if damage == "unknown number" else ValueError("cannot reshape"))

    monkeypatch.setattr(core.Payload, "_build_component", staticmethod(build))
    with pytest.raises(CameraError, match=r"RGBa8.*\n.*PixelFormat") as raised:
        simulated.grab()
    assert "trigger" not in str(raised.value)


def test_a_producer_that_cannot_be_loaded_says_why(tmp_path):
    pytest.importorskip("harvesters", reason="harvesters speaks to cameras: pip install 'procvision[camera]'")
    (tmp_path / "fake.cti").write_text("text\n")
    with pytest.raises(CameraError, match=r"no camera 'any'.*\nthe producer .*fake\.cti can't be loaded: .*too short"):
        Camera("any", [tmp_path / "fake.cti"]).__enter__()
