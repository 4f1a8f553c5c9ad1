"""The field's files: read as they lie, and an error where the field's own SDK would have guessed."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from procvision_legacy_images.backend import LegacyImages
from procvision_sdk.errors import CallRefusedError
from procvision_sdk.images.meta import ImageMeta
from procvision_testing import check_hook_plugin, check_image_backend
from procvision_testing.hook_hosts import HookHost

META = ImageMeta(width=4, height=3)
RGB = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)


def path_of(folder: Path, shared_mem_id: str, ending: str) -> Path:
    """Where the field's SDK writes it: what is no letter, digit, dot, dash becomes an underscore."""
    return folder / (shared_mem_id.replace(":", "_").replace("/", "_") + ending)


@pytest.fixture
def seen(tmp_path: Path) -> Callable[..., np.ndarray]:
    """Saves an array as the field does, and gives what an algorithm sees of it."""

    def see(array: np.ndarray, meta: ImageMeta = META) -> np.ndarray:
        np.save(path_of(tmp_path, "dev-shm:x", ".npy"), array)
        return LegacyImages(tmp_path).open("dev-shm:x", meta).array()

    return see


def refusal(function: Callable[[], object]) -> CallRefusedError:
    """What it is refused with."""
    with pytest.raises(CallRefusedError) as raised:
        function()
    assert raised.value.error_code == "1002"
    return raised.value


def test_it_holds_to_the_protocol_with_arrays(tmp_path: Path) -> None:
    """`.npy`, of 8 bits and of more."""
    numbers = count()

    def put(payload: bytes, meta: ImageMeta) -> str:
        shared_mem_id = f"dev-shm:{next(numbers)}"
        flat = np.frombuffer(payload, "<u2" if meta.bits else np.uint8)
        np.save(path_of(tmp_path, shared_mem_id, ".npy"), flat.reshape(meta.height, meta.width, 3))
        return shared_mem_id

    check_image_backend(
        lambda: LegacyImages(tmp_path),
        put,
        scheme="dev-shm",
        remove=lambda shared_mem_id: path_of(tmp_path, shared_mem_id, ".npy").unlink(),
        color_spaces=("RGB", "BGR"),  # grey is grey here, whatever it is called: below
        encodings=("raw",),
    )


def test_it_holds_to_the_protocol_with_files(tmp_path: Path) -> None:
    """`.bin`: JPEG, PNG and raw pixels."""
    numbers = count()

    def put(payload: bytes, meta: ImageMeta) -> str:
        shared_mem_id = f"dev-shm:{next(numbers)}"
        path_of(tmp_path, shared_mem_id, ".bin").write_bytes(payload)
        return shared_mem_id

    check_image_backend(
        lambda: LegacyImages(tmp_path),
        put,
        scheme="dev-shm",
        remove=lambda shared_mem_id: path_of(tmp_path, shared_mem_id, ".bin").unlink(),
    )


def test_a_host_reads_what_the_field_wrote(tmp_path: Path) -> None:
    """As soon as the plugin is named, by the folder that both sides have in their environment."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "PNG")
    path_of(folder, "dev-shm:3fb2-77", ".bin").write_bytes(file.getvalue())
    np.save(path_of(folder, "dev-shm:bgr", ".npy"), RGB[:, :, ::-1])
    with HookHost(tmp_path, "--hook", "legacy-images", environment={"PROC_SHM_DIR": str(folder)}) as host:
        meta = {"width": 4, "height": 3, "timestamp_ms": 1, "camera_id": "c"}
        for shared_mem_id, color_space in (("dev-shm:3fb2-77", "RGB"), ("dev-shm:bgr", "BGR")):
            answer = host.call("read", shared_mem_id=shared_mem_id, image_meta=meta | {"color_space": color_space})
            assert answer["data"]["debug"]["crc32"] == zlib.crc32(RGB.tobytes())
        missing = host.call("read", shared_mem_id="dev-shm:gone", image_meta=meta)
        assert (missing["type"], missing["data"]["kind"]) == ("error", "no_such_image")


@pytest.mark.parametrize("array", [RGB, np.asfortranarray(RGB), RGB.copy(order="F")])
def test_either_order_in_memory_is_the_same_picture(seen: Callable[..., np.ndarray], array: np.ndarray) -> None:
    """NumPy writes both."""
    np.testing.assert_array_equal(seen(array), RGB)


@pytest.mark.parametrize("grey", [RGB[:, :, 0], RGB[:, :, :1]])
@pytest.mark.parametrize("color_space", ["RGB", "BGR", "MONO"])
def test_grey_is_grey_whatever_the_field_calls_it(
    seen: Callable[..., np.ndarray], grey: np.ndarray, color_space: str
) -> None:
    """H x W and H x W x 1."""
    array = seen(grey, ImageMeta(width=4, height=3, color_space=color_space))  # type: ignore[arg-type]
    np.testing.assert_array_equal(array, np.repeat(RGB[:, :, :1], 3, axis=2))


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_sixteen_bits_never_wrap(seen: Callable[..., np.ndarray], order: str) -> None:
    """The high byte, or the highest of the bits that are said to be used."""
    deep = (np.arange(12) * 341).astype(order).reshape(3, 4)
    np.testing.assert_array_equal(seen(deep)[:, :, 0], deep >> 8)
    twelve = ImageMeta(width=4, height=3, bits=12)
    np.testing.assert_array_equal(seen(deep, twelve)[:, :, 0], deep >> 4)
    assert refusal(lambda: seen(deep * 2, twelve)).kind == "image_mismatch"


@pytest.mark.parametrize(
    "array",
    [
        RGB.astype(np.int16),
        RGB.astype(np.float32),
        RGB.astype(bool),
        RGB.astype(np.uint32),
        np.zeros((3, 4), "S1"),
        np.zeros((3, 4), [("r", "u1"), ("g", "u1")]),
        RGB.transpose(1, 0, 2),
        RGB[:2],
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((3, 4, 3, 1), np.uint8),
        np.zeros(12, np.uint8),
        np.uint8(7),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_an_array_that_is_not_this_picture_is_refused(seen: Callable[..., np.ndarray], array: np.ndarray) -> None:
    """The field's SDK converts, wraps or goes black."""
    assert refusal(lambda: seen(array)).kind == "image_mismatch"


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    """An array of objects is a pickle."""
    np.save(path_of(tmp_path, "dev-shm:x", ".npy"), np.array([[print]], dtype=object), allow_pickle=True)
    assert refusal(lambda: LegacyImages(tmp_path).open("dev-shm:x", META)).kind == "image_mismatch"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x03\x00" + bytes(100),
        b"\x93NUMPY\x09\x00" + bytes(100),
        b"\x93NUMPY\x01\x00\xff\xff{'descr':",
        b"\x93NUMPY\x01\x00\x10\x00{'descr': (((((((",
        b"not an array at all",
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b" " * 2000,
    ],
)
def test_a_broken_header_is_an_error(tmp_path: Path, content: bytes) -> None:
    """Never an allocation by its claim, never another exception."""
    path_of(tmp_path, "dev-shm:x", ".npy").write_bytes(content)
    assert refusal(lambda: LegacyImages(tmp_path).open("dev-shm:x", META)).kind == "image_damaged"


@pytest.mark.parametrize("change", [-1, 1, -36])
def test_a_file_with_other_than_its_arrays_bytes_is_damaged(tmp_path: Path, change: int) -> None:
    """One byte less, one more, none."""
    path = path_of(tmp_path, "dev-shm:x", ".npy")
    np.save(path, RGB)
    os.truncate(path, path.stat().st_size + change)
    assert refusal(lambda: LegacyImages(tmp_path).open("dev-shm:x", META)).kind == "image_damaged"


def test_an_array_that_claims_the_world_is_not_allocated(tmp_path: Path) -> None:
    """The shape is held against image_meta, and the length against the file."""
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (2000000000, 2000000000, 3)}"
    head = head.ljust(117) + b"\n"
    path_of(tmp_path, "dev-shm:x", ".npy").write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
    assert refusal(lambda: LegacyImages(tmp_path).open("dev-shm:x", META)).kind == "image_mismatch"


def test_two_files_of_one_id_are_refused(tmp_path: Path) -> None:
    """One of them is another product's picture."""
    np.save(path_of(tmp_path, "dev-shm:x", ".npy"), RGB)
    path_of(tmp_path, "dev-shm:x", ".bin").write_bytes(RGB.tobytes())
    assert "both a .npy and a .bin" in str(refusal(lambda: LegacyImages(tmp_path).open("dev-shm:x", META)))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """The folder may lie where anyone can write."""
    (tmp_path / "secret").write_bytes(RGB.tobytes())
    path_of(tmp_path, "dev-shm:x", ".bin").symlink_to(tmp_path / "secret")
    assert refusal(lambda: LegacyImages(tmp_path).open("dev-shm:x", META)).kind == "no_such_image"


@pytest.mark.parametrize("shared_mem_id", ["dev-shm:", "dev-shm:..", "dev-shm:" + "x" * 300])
def test_an_id_that_names_nothing_is_refused(tmp_path: Path, shared_mem_id: str) -> None:
    """Before a file is looked for."""
    assert refusal(lambda: LegacyImages(tmp_path).open(shared_mem_id, META)).kind == "bad_image_id"


def test_it_holds_to_what_a_host_relies_on(tmp_path: Path) -> None:
    """The SDK's own check."""
    check_hook_plugin("legacy-images", options={"folder": tmp_path})
