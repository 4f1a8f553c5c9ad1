"""Pictures from a GenICam camera, through the GenTL producer of its maker and the library harvesters.

The extra `camera` has harvesters and genicam, whose wheel brings a producer with three simulated cameras: `SIMULATED`.
A frame is copied while the producer lends its buffer, and never later.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from procvision_sdk.errors import ErrorCode, ProcVisionError
from procvision_sdk.images.picture import Picture
from procvision_tools.extras import need

ANY = "any"
"""The first camera that is found."""
SIMULATED = "simulated"
"""A camera that isn't there: it comes with genicam."""
PATH_VARIABLE = "GENICAM_GENTL64_PATH"
"""Where producers lie, by the standard: folders, separated as in PATH."""

_BAYER: Mapping[str, str] = MappingProxyType({"RG": "RGGB", "GB": "GBRG", "GR": "GRBG", "BG": "BGGR"})
"""GenICam's name of a pattern -> OpenCV's: the upper left four pixels."""


class CameraError(ProcVisionError):
    """There is no such camera, or no frame came, or one in a form that isn't known. The text ends with a hint."""

    error_code = ErrorCode.IMAGE_LOAD_FAILED


class Camera:
    """One camera that delivers frames. A context manager.

    ``wanted`` is its id, serial number, model or name, `ANY` or `SIMULATED`; ``producers`` are ``*.cti`` files, by
    default those in `PATH_VARIABLE`. Entering raises CameraError, and MissingExtraError without harvesters.
    """

    def __init__(self, wanted: str = ANY, producers: Sequence[Path] = ()) -> None:
        self.wanted, self._producers = wanted, tuple(producers)
        self.name = ""
        """What it is called, once it is open."""
        self._harvester: Any = None
        self._acquirer: Any = None
        self._incomplete = 0
        """How many frames came incomplete since the last call of `grab`."""

    def __enter__(self) -> Camera:
        producers = producers_for(self.wanted, self._producers)
        core = need("harvesters.core", "harvesters", "a camera", "camera")
        self._harvester = core.Harvester()
        try:
            self._open(producers)
        except BaseException as error:
            self.__exit__(None, None, None)
            if isinstance(error, CameraError) or not isinstance(error, Exception):
                raise
            raise CameraError(f"camera {self.wanted}: {error or type(error).__name__}") from error
        return self

    def _open(self, producers: Sequence[Path]) -> None:
        for producer in producers:
            self._harvester.add_file(str(producer))
        self._harvester.update()
        found = self._harvester.device_info_list
        at = next((at for at, device in enumerate(found) if self.wanted in _names(device)), None)
        if at is None:
            there = ", ".join(str(device.id_) for device in found) or "none"
            self._harvester.reset()  # a producer can be opened once
            broken = "".join(map(_why_not_loaded, producers))
            raise CameraError(
                f"there is no camera {self.wanted!r}: there are {there}{broken}"
                f"\nhint: {'a producer is for the kind of this machine' if broken else 'id, serial number or model'}"
            )
        self.name = str(found[at].id_)
        self._acquirer = self._harvester.create(at)
        self._acquirer.add_callback(self._acquirer.Events.INCOMPLETE_BUFFER, _counting_callback(self._count_incomplete))
        self._acquirer.start()

    def _count_incomplete(self) -> None:
        self._incomplete += 1

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        acquirer, self._acquirer = self._acquirer, None
        harvester, self._harvester = self._harvester, None
        try:
            if acquirer is not None:
                acquirer.stop()
                acquirer.destroy()
        finally:
            if harvester is not None:
                harvester.reset()

    def grab(self, timeout_s: float = 10.0) -> Picture:
        """Wait for the next frame: mono or RGB, of as many bits as the camera has, a copy.

        Frames that came incomplete are waited over, no longer than ``timeout_s`` in all. Raises CameraError.
        """
        if self._acquirer is None:
            raise CameraError("the camera is not open; hint: use it in a with block")
        deadline = time.monotonic() + timeout_s
        self._incomplete = 0
        frame: Any = None
        try:
            # The library's own `fetch` begins its time anew with each frame that came incomplete.
            while frame is None and (left_s := deadline - time.monotonic()) > 0:
                frame = self._acquirer.try_fetch(timeout=left_s)
            if frame is not None:
                with frame as buffer:
                    return self._copied(buffer)
        except CameraError as error:
            raise self._failed(str(error)) from error
        except Exception as error:
            raise self._failed(
                f"a frame can't be read ({type(error).__name__}: {error}); the camera's format is {self._format()}"
                f"\nhint: set its PixelFormat to one of {', '.join(_READERS)}"
            ) from error
        raise self._timed_out(timeout_s)

    def drop_waiting(self) -> None:
        """Drop the frames that came before: the next `grab` gives one that comes from now on. Raises CameraError."""
        if self._acquirer is None:
            raise CameraError("the camera is not open; hint: use it in a with block")
        try:
            while (frame := self._acquirer.try_fetch(timeout=0.0001)) is not None:
                with frame:
                    pass
        except Exception as error:
            raise self._failed(f"waiting frames can't be dropped ({type(error).__name__}: {error})") from error

    def _copied(self, buffer: Any) -> Picture:
        parts = [part for part in buffer.payload.components if part is not None]
        if not parts:  # harvesters gives none for a format that it doesn't know
            raise CameraError(_unknown_format(self._format()))
        return picture_of(parts[0].data, parts[0].width, parts[0].height, parts[0].data_format)

    def _failed(self, text: str) -> CameraError:
        return CameraError(f"camera {self.name}: {text}")

    def _timed_out(self, timeout_s: float) -> CameraError:
        if self._incomplete:
            return self._failed(
                f"no whole frame within {timeout_s:g} s: {self._incomplete} came incomplete"
                "\nhint: packets are lost: look at the network card, the packet size and the cable"
            )
        return self._failed(f"no frame within {timeout_s:g} s\nhint: is it waiting for a trigger?")

    def _format(self) -> str:
        """Return what the camera is set to deliver."""
        try:
            return str(self._acquirer.remote_device.node_map.PixelFormat.value)
        except Exception:  # noqa: BLE001 - a producer's own classes, for a word in an error
            return "unknown"


def producers_for(wanted: str, given: Sequence[Path] = ()) -> tuple[Path, ...]:
    """Give the producers through which a camera is looked for, loading none: what is missing is known at once.

    Raises MissingExtraError without harvesters, CameraError where there is no producer.
    """
    purpose = "a simulated camera" if wanted == SIMULATED else "a camera"
    need("harvesters.core", "harvesters", purpose, "camera")
    producers = tuple(given) or tuple(_known_producers(wanted))
    if not producers:
        raise CameraError(
            "no GenTL producer is known, so no camera can be found"
            f"\nhint: name the camera maker's *.cti file, or set {PATH_VARIABLE}"
        )
    for producer in producers:
        if not producer.is_file():
            raise CameraError(f"there is no producer {producer}\nhint: a *.cti file is one")
    return producers


def _counting_callback(count: Callable[[], None]) -> Any:
    """Give what harvesters calls at an event: it insists on a class of its own."""
    core = need("harvesters.core", "harvesters", "a camera", "camera")

    class Counting(core.Callback):  # type: ignore[misc,name-defined]
        def emit(self, context: Any = None) -> None:  # noqa: ARG002 - the library's signature
            count()

    return Counting()


def _why_not_loaded(producer: Path) -> str:
    """Say what keeps a producer from being loaded; "" where nothing does."""
    gentl = need("genicam.gentl", "genicam", "a camera", "camera")
    module = gentl.GenTLProducer.create_producer()
    try:
        module.open(str(producer))
        module.close()
    except Exception as error:  # noqa: BLE001 - the binding's own classes
        return f"\nthe producer {producer} can't be loaded: {_of_the_loader(producer) or error}"
    return ""


def _of_the_loader(producer: Path) -> str:
    """Return the dynamic loader's own words, which the binding keeps to itself; "" where it has none."""
    try:
        ctypes.CDLL(str(producer))
    except OSError as error:
        return str(error)
    return ""


def _unknown_format(name: str) -> str:
    return f"it delivers {name}; read are {', '.join(_READERS)}\nhint: set its PixelFormat to Mono8"


def _names(device: Any) -> set[str]:
    # The attributes raise where a producer doesn't tell; this has None there.
    told = device.property_dict
    keys = ("id_", "serial_number", "model", "display_name", "user_defined_name")
    return {ANY, SIMULATED, *(str(told[key]) for key in keys if told.get(key))}


def _known_producers(wanted: str) -> list[Path]:
    if wanted == SIMULATED:
        package = Path(need("genicam", "genicam", "a simulated camera", "camera").__file__ or "").parent
        return sorted(package.rglob("*.cti"))
    folders = [Path(folder) for folder in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if folder]
    return [path for folder in folders for path in sorted(folder.glob("*.cti"))]


def picture_of(data: NDArray[Any], width: int, height: int, data_format: str) -> Picture:
    """Give a frame's samples, as the producer has them, as H x W or H x W x 3 RGB; always a copy.

    Of more than 8 bits all go to the host. Raises CameraError for a format that isn't known, another number of samples,
    or a sample that the format can't hold.
    """
    read = _READERS.get(data_format)
    if read is None:
        raise CameraError(_unknown_format(data_format))
    samples = len(data) // (width * height) if width * height else 0
    if samples < 1 or len(data) != width * height * samples:
        raise CameraError(
            f"a frame of {width} x {height} {data_format} has {len(data)} samples: lines are padded, or cut"
        )
    shaped = data.reshape((height, width, samples) if samples > 1 else (height, width))
    try:
        bits = _BITS.get(data_format, 8)
        pixels: Any = np.array(read(shaped), np.uint8 if bits == 8 else np.uint16, order="C")
        return Picture.of(pixels, bits=bits)
    except (IndexError, ValueError) as error:
        raise CameraError(f"a frame of {width} x {height} {data_format} has {samples} samples a pixel") from error


def _mono(bits: int) -> Callable[[NDArray[Any]], Any]:
    def read(frame: NDArray[Any]) -> Any:
        if frame.ndim != 2:
            raise ValueError("mono has one sample a pixel")
        brightest = int(frame.max())
        if brightest >> bits:
            raise CameraError(f"a Mono{bits} frame holds {brightest}: {bits} bits are at most {(1 << bits) - 1}")
        return frame

    return read


def _colour(order: Sequence[int], samples: int) -> Callable[[NDArray[Any]], Any]:
    def read(frame: NDArray[Any]) -> Any:
        if frame.ndim != 3 or frame.shape[2] != samples:
            raise ValueError(f"this has {samples} samples a pixel")
        return frame[:, :, order]

    return read


def _bayer(pattern: str) -> Callable[[NDArray[Any]], Any]:
    def read(frame: NDArray[Any]) -> Any:
        cv2 = need("cv2", "opencv-python-headless", "a Bayer camera", "vision")
        return cv2.cvtColor(np.ascontiguousarray(frame), getattr(cv2, f"COLOR_Bayer{pattern}2RGB"))

    return read


_BITS: Mapping[str, int] = MappingProxyType({f"Mono{bits}": bits for bits in (8, 10, 12, 14, 16)})
"""Formats of one sample a pixel, and the bits of that; all others have 8."""
_READERS: Mapping[str, Callable[[NDArray[Any]], Any]] = MappingProxyType(
    {
        **{name: _mono(bits) for name, bits in _BITS.items()},
        "RGB8": _colour((0, 1, 2), 3),
        "RGB8Packed": _colour((0, 1, 2), 3),
        "BGR8": _colour((2, 1, 0), 3),
        "BGR8Packed": _colour((2, 1, 0), 3),
        "RGBa8": _colour((0, 1, 2), 4),
        "BGRa8": _colour((2, 1, 0), 4),
        **{f"Bayer{name}8": _bayer(pattern) for name, pattern in _BAYER.items()},
    }
)
"""A pixel format by its name in GenICam's naming convention -> how it is read."""
