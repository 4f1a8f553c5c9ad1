"""What a JPEG file says of itself, by its markers (ITU-T T.81, annex B): nothing is decoded.

Decoders paint what never came: a progressive file whose later scans are missing is a picture, smooth and without its
defects. So a file's scans are counted here, before it is decoded. The end of a picture is the end marker behind its
last scan: what follows belongs to somebody else, such as a phone's film or a camera maker's trailer.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from attrs import frozen

START = b"\xff\xd8"
_EOI, _SOS, _APP1, _APP14 = 0xD9, 0xDA, 0xE1, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""SOF0 to SOF15, without DHT, JPG and DAC, which lie among them."""
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_BARE = frozenset(range(0xD0, 0xD9)) | {0x01}
"""Markers that no length follows: RST0 to RST7, SOI, TEM."""
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""A marker that ends a scan's data: no stuffed byte, no restart, no fill byte."""
_COEFFICIENTS = 64
_NEVER = -1
_ORIENTATION = 0x0112


class JpegError(ValueError):
    """The markers don't make a whole JPEG file. The text says what is wrong, without the file's name."""


@frozen
class JpegHeader:
    """What stands before the first scan."""

    width: int
    height: int
    components: int
    bits: int
    """Of a sample."""
    progressive: bool
    adobe: bool
    """Whether Adobe's marker is there: inks are stored inverted."""
    orientation: int
    """EXIF's, 1 to 8; 1 is upright, also where the file says nothing."""


def header_of(data: bytes) -> JpegHeader:
    """Read the header of a file, of which the beginning is enough. Raises JpegError."""
    header, _ = _read(data, whole=False)
    return header


def check_whole(data: bytes) -> JpegHeader:
    """Read the header, and follow the scans to the end marker. Raises JpegError where something never came."""
    header, missing = _read(data, whole=True)
    if missing:
        raise JpegError(missing)
    return header


def reaches_end(data: bytes) -> bool:
    """Return whether the end marker has come: of a file that is still being written it hasn't."""
    try:
        for _ in _segments(data):
            pass
    except JpegError:
        return False
    return True


def _read(data: bytes, *, whole: bool) -> tuple[JpegHeader, str]:
    frame: tuple[int, int, int, int, bool] | None = None
    received: dict[int, list[int]] = {}
    adobe, orientation = False, 1
    for marker, start, end in _segments(data):
        body = data[start:end] if marker in _FRAMES or marker in (_APP1, _APP14, _SOS) else b""
        if marker in _FRAMES:
            if frame is not None:
                raise JpegError("it has two frame headers")
            if len(body) < 6 or len(body) < 6 + 3 * body[5]:
                raise JpegError("its frame header is cut off")
            bits, height, width, components = struct.unpack_from(">BHHB", body)
            frame = (width, height, components, bits, marker in _PROGRESSIVE)
            received = {body[6 + 3 * at]: [_NEVER] * _COEFFICIENTS for at in range(components)}
        elif marker == _APP14:
            adobe = adobe or (len(body) >= 12 and body.startswith(b"Adobe"))
        elif marker == _APP1 and body.startswith(b"Exif\0\0"):
            orientation = orientation_of(body[6:])
        elif marker == _SOS:
            if frame is None:
                raise JpegError("a scan comes before the frame header")
            if not whole:
                break
            _receive(body, received, progressive=frame[4])
        elif marker == _EOI and frame is None:
            raise JpegError("it has no frame header")
        if frame is not None and not whole:
            break
    if frame is None:
        raise JpegError("it is cut off before its frame header")
    return JpegHeader(*frame, adobe, orientation), _missing(received) if whole else ""


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Give each marker with the place of its body, a scan's without the data behind it, up to the end marker."""
    if not data.startswith(START):
        raise JpegError("the start marker is missing")
    at = len(START)
    while True:
        if at + 2 > len(data):
            raise JpegError("the end marker is missing")
        if data[at] != 0xFF:
            raise JpegError(f"there is no marker at byte {at}")
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == _EOI:
            yield marker, at + 2, at + 2
            return
        if marker in _BARE:
            at += 2
            continue
        if at + 4 > len(data):
            raise JpegError("the end marker is missing")
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end < at + 4 or end > len(data):
            raise JpegError(f"it is cut off in the segment at byte {at}")
        yield marker, at + 4, end
        at = end
        if marker == _SOS:
            found = _AFTER_SCAN.search(data, at)
            if found is None:
                raise JpegError("the end marker is missing")
            at = found.start()


def _receive(body: bytes, received: dict[int, list[int]], *, progressive: bool) -> None:
    """Note which coefficients a scan brings, and down to which of their bits."""
    count = body[0] if body else 0
    if len(body) < 4 + 2 * count:
        raise JpegError("a scan's header is cut off")
    first, last, bits = body[1 + 2 * count], body[2 + 2 * count], body[3 + 2 * count]
    if not progressive:
        first, last, bits = 0, _COEFFICIENTS - 1, 0
    before, after = bits >> 4, bits & 15
    for component in body[1 : 1 + 2 * count : 2]:
        if component not in received:
            raise JpegError(f"a scan is of the component {component}, which the frame header doesn't have")
        for at in range(first, min(last, _COEFFICIENTS - 1) + 1):
            if not before or received[component][at] == before:  # else the scan before it is missing
                received[component][at] = after


def _missing(received: dict[int, list[int]]) -> str:
    """Say what never came; "" where all is there."""
    coefficients = sum(bits.count(_NEVER) for bits in received.values())
    rough = sum(bit > 0 for bits in received.values() for bit in bits)
    if not coefficients and not rough:
        return ""
    total = len(received) * _COEFFICIENTS
    return f"scans are missing: of {total} coefficients {coefficients} never came, {rough} came without their last bits"


def orientation_of(tiff: bytes) -> int:
    """Give EXIF's orientation, 1 to 8, of a TIFF structure; 1 where it has none, or can't be read."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    at = struct.unpack_from(order + "I", tiff, 4)[0]
    if at + 2 > len(tiff):
        return 1
    count = struct.unpack_from(order + "H", tiff, at)[0]
    for entry in range(at + 2, min(at + 2 + 12 * count, len(tiff) - 11), 12):
        tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
        if tag == _ORIENTATION:
            return value if 1 <= value <= 8 else 1
    return 1
