"""What every image backend must hold to: `check_image_backend`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.images.backend import ImageBackend
from procvision_sdk.images.meta import ColorSpace, Encoding, ImageMeta

if TYPE_CHECKING:
    from procvision_sdk.images.view import RgbArray

Put = Callable[[bytes, ImageMeta], str]
SIZES = ((1, 1), (3, 2), (97, 61), (160, 120))
"""Width and height: the smallest, odd ones, and more than a page."""
BAD_RESTS = (
    *("", "/", "..", "../../etc/passwd", "/etc/passwd", "/proc/self/environ"),
    *("a\0b", "nobody-put-this", "x" * 100_000),
)
"""What an id may not be after its scheme, or names nothing."""
OPENINGS = 100


def check_image_backend(
    open_backend: Callable[[], ImageBackend],
    put: Put,
    *,
    scheme: str,
    remove: Callable[[str], None] | None = None,
    color_spaces: Sequence[ColorSpace] = ("RGB", "BGR", "MONO"),
    bits: Sequence[int] = (8, 12, 16),
    encodings: Sequence[Encoding] = ("raw", "jpeg", "png"),
) -> None:
    """Hold a backend against the protocol `procvision_sdk.images.backend.ImageBackend`.

    `put(payload, meta)` puts a picture where a runner would and gives its id; a put that can't keep a wrong payload
    raises ValueError. `remove` takes one away, where that can be done. The rest says which pictures the backend takes:
    raw ones by color space and bits, and encoded ones. Raises AssertionError naming the rule that doesn't hold.
    """
    backend = open_backend()
    try:
        _hold(isinstance(backend, ImageBackend), f"{type(backend).__name__} has open and close")
        for payload, meta, expected in _pictures(color_spaces, bits, encodings):
            _check_seen(backend, put(payload, meta), meta, expected)
            _check_contradictions(backend, put, payload, meta)
        _check_one_after_the_other(backend, put)
        _check_bad_ids(backend, put, scheme)
        if remove is not None:
            _check_removed(backend, put, remove)
        _check_leaks(backend, put)
    finally:
        backend.close()
        backend.close()  # a second call does nothing


def _pictures(
    color_spaces: Sequence[ColorSpace], bits: Sequence[int], encodings: Sequence[Encoding]
) -> Iterator[tuple[bytes, ImageMeta, NDArray[np.uint8]]]:
    """Payload, meta, and what an algorithm must see."""
    for width, height in SIZES:
        for color_space in color_spaces if "raw" in encodings else ():
            for used in bits:
                yield _raw(width, height, color_space, used)
        if "png" in encodings:
            yield _png(width, height)
        if "jpeg" in encodings:
            yield _jpeg(width, height)


def _raw(width: int, height: int, color_space: ColorSpace, bits: int) -> tuple[bytes, ImageMeta, NDArray[np.uint8]]:
    channels = 1 if color_space == "MONO" else 3
    samples = np.random.default_rng(width + bits).integers(0, 2**bits, (height, width, channels))
    payload = samples.astype(np.uint8 if bits == 8 else "<u2").tobytes()
    seen = (samples >> (bits - 8)).astype(np.uint8)
    if color_space == "BGR":
        seen = seen[:, :, ::-1]
    meta = ImageMeta(width=width, height=height, color_space=color_space, bits=None if bits == 8 else bits)
    return payload, meta, np.broadcast_to(seen, (height, width, 3))


def _png(width: int, height: int) -> tuple[bytes, ImageMeta, NDArray[np.uint8]]:
    from io import BytesIO

    from PIL import Image

    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3)).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue(), ImageMeta(width=width, height=height, encoding="png"), pixels


def _jpeg(width: int, height: int) -> tuple[bytes, ImageMeta, NDArray[np.uint8]]:
    import simplejpeg

    pixels = np.full((height, width, 3), (200, 90, 30), np.uint8)
    data: bytes = simplejpeg.encode_jpeg(pixels, quality=95)
    meta = ImageMeta(width=width, height=height, encoding="jpeg")
    return data, meta, simplejpeg.decode_jpeg(data)


def _check_seen(backend: ImageBackend, shared_mem_id: str, meta: ImageMeta, expected: NDArray[np.uint8]) -> None:
    what = _named(meta)
    opened = backend.open(shared_mem_id, meta)
    array = opened.array()
    _hold(array.shape == (meta.height, meta.width, 3) and array.dtype == np.uint8, f"{what}: H x W x 3 and uint8")
    _hold(not array.flags.writeable, f"{what}: the array is read-only")
    _hold(bool((array == expected).all()), f"{what}: the algorithm sees the picture that was put, in RGB")
    _hold(opened.array() is array, f"{what}: array() gives the same object at each call")
    opened.still_valid()


def _check_contradictions(backend: ImageBackend, put: Put, payload: bytes, meta: ImageMeta) -> None:
    what = _named(meta)
    other = {"raw": "png", "png": "jpeg", "jpeg": "png"}[meta.encoding]
    wrong = [
        msgspec.structs.replace(meta, width=meta.width + 1),
        msgspec.structs.replace(meta, height=meta.height + 1),
        msgspec.structs.replace(meta, encoding=other),
    ]
    if meta.encoding == "raw":
        wrong.append(msgspec.structs.replace(meta, color_space="RGB" if meta.color_space == "MONO" else "MONO"))
        wrong.append(msgspec.structs.replace(meta, bits=16 if meta.bits is None else 8))
    for said in wrong:
        _refuses(backend, put(payload, meta), said, f"a picture of {what} that image_meta calls {_named(said)}")
    for cut in (payload[:-1], payload[: len(payload) // 2], b""):
        try:
            shared_mem_id = put(cut, meta)
        except ValueError:
            continue
        _refuses(backend, shared_mem_id, meta, f"a picture of {what} with {len(cut)} of its {len(payload)} bytes")


def _check_one_after_the_other(backend: ImageBackend, put: Put) -> None:
    meta = ImageMeta(width=8, height=8)
    for level in (0, 255, 7):
        array: RgbArray = backend.open(put(bytes([level]) * 192, meta), meta).array()
        _hold(bool((array == level).all()), "a picture is never mixed up with the one before it")


def _check_bad_ids(backend: ImageBackend, put: Put, scheme: str) -> None:
    meta = ImageMeta(width=8, height=8)
    good = put(bytes(192), meta)
    _hold(good.partition(":")[0] == scheme, f"an id begins with the scheme {scheme!r}")
    for shared_mem_id in (*(f"{scheme}:{rest}" for rest in BAD_RESTS), scheme, good + "\0", good + "/../x", good + "9"):
        _refuses(backend, shared_mem_id, meta, f"the id {shared_mem_id!r:.60}")


def _check_removed(backend: ImageBackend, put: Put, remove: Callable[[str], None]) -> None:
    meta = ImageMeta(width=5, height=5)
    shared_mem_id = put(bytes(75), meta)
    remove(shared_mem_id)
    _refuses(backend, shared_mem_id, meta, "a picture that was taken away")


def _check_leaks(backend: ImageBackend, put: Put) -> None:
    meta = ImageMeta(width=4, height=4)
    shared_mem_id = put(bytes(48), meta)
    backend.open(shared_mem_id, meta).array()
    before = _descriptors()
    for _ in range(OPENINGS):
        backend.open(shared_mem_id, meta).array()
        _refuses(backend, shared_mem_id, ImageMeta(width=4, height=5), "a picture of another size")
    _hold(_descriptors() <= before, f"{OPENINGS} calls and refusals leave no descriptor open")


def _descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def _refuses(backend: ImageBackend, shared_mem_id: str, meta: ImageMeta, what: str) -> None:
    """By `open` or by `array`, with 1002: any other exception would be called the backend's own failure."""
    try:
        backend.open(shared_mem_id, meta).array()
    except CallRefusedError as refusal:
        _hold(
            refusal.error_code == ErrorCode.IMAGE_LOAD_FAILED,
            f"{what} is refused with 1002, not with {refusal.error_code}",
        )
    except Exception as error:
        raise AssertionError(
            f"this doesn't hold: {what} is refused with CallRefusedError, not {error!r:.99}"
        ) from error
    else:
        raise AssertionError(f"this doesn't hold: {what} is refused")


def _named(meta: ImageMeta) -> str:
    return f"{meta.width} x {meta.height} {meta.color_space} {meta.encoding} of {meta.bits or 8} bits"


def _hold(holds: bool, rule: str) -> None:
    if not holds:
        raise AssertionError(f"this doesn't hold: {rule}")
