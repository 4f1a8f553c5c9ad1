"""The cameras in the box."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from procvision_runner import Picture
from procvision_station.kinds import Fired, KindError
from procvision_tools.extras import MissingExtraError, look_for
from procvision_tools.sources.folder_files import is_hidden, is_picture
from procvision_tools.sources.picture_files import PictureFileError, load

SCENES = 8
"""A simulated camera's good boards, and as many bad ones, are made once: each costs as much as an inspection."""


def _load(path: Path) -> Picture:
    try:
        return load(path).picture()
    except PictureFileError as error:
        raise KindError(str(error)) from error


class FolderOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the camera `folder`."""

    path: Annotated[str, Meta(min_length=1, description="The folder with pictures; relative to station.toml")]
    repeat: Annotated[bool, Meta(description="Whether the first picture follows the last one")] = False


class FolderCamera:
    """The pictures of a folder, one a product, in the order of their names, as the folder was at the start."""

    options: ClassVar[type[msgspec.Struct]] = FolderOptions

    def __init__(self, options: FolderOptions, folder: Path) -> None:
        self._folder, self._repeat = folder / options.path, options.repeat
        self._all, self._next = self._pictures(self._folder), 0

    @classmethod
    def check(cls, options: FolderOptions, folder: Path) -> None:
        """Raise KindError where the folder can't be read, or has no picture."""
        cls._pictures(folder / options.path)

    @staticmethod
    def _pictures(folder: Path) -> list[Path]:
        try:
            found = [path for path in sorted(folder.iterdir()) if is_picture(path) and not is_hidden(path.name)]
        except OSError as error:
            raise KindError(f"{folder} can't be read: {error.strerror or error}") from error
        if not found:
            raise KindError(f"{folder} has no JPEG or PNG\nhint: put the pictures right into it")
        return found

    def grab(self, fired: Fired) -> Picture:  # noqa: ARG002 - the protocol's signature
        """Give the next picture."""
        if self._next >= len(self._all):
            if not self._repeat:
                raise KindError(f"{self._folder} has no more than {len(self._all)} pictures\nhint: repeat = true")
            self._next = 0
        path = self._all[self._next]
        self._next += 1
        return _load(path)

    def close(self) -> None:
        """Do nothing."""


class TriggerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the camera `trigger`: none."""


class TriggerCamera:
    """The picture that came with the trigger."""

    options: ClassVar[type[msgspec.Struct]] = TriggerOptions

    def __init__(self, options: TriggerOptions, folder: Path) -> None:
        """Do nothing."""

    def grab(self, fired: Fired) -> Picture:
        """Give the trigger's picture."""
        if fired.picture is not None:
            return fired.picture
        if fired.file is None:
            raise KindError("no picture came with the trigger\nhint: triggers of the kinds folder and camera bring one")
        return _load(fired.file)

    def close(self) -> None:
        """Do nothing."""


class GenicamOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the camera `genicam`."""

    device: Annotated[
        str, Meta(min_length=1, description="Id, serial number, model or name; `any` where there is one camera alone")
    ] = "any"
    producers: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        Meta(description="GenTL producers, *.cti; relative to station.toml. Left out, GENICAM_GENTL64_PATH has them"),
    ] = ()
    timeout_s: Annotated[float, Meta(gt=0, le=60, description="For a frame")] = 2.0
    waiting: Annotated[
        Literal["drop", "take"],
        Meta(
            description="What becomes of frames that came before they were asked for: `drop` for a camera that runs "
            "freely, `take` for one that is triggered by hardware"
        ),
    ] = "drop"


class GenicamCamera:
    """A GenICam camera, by a GenTL producer of its maker's. One that vanishes is opened anew for the next product."""

    options: ClassVar[type[msgspec.Struct]] = GenicamOptions

    def __init__(self, options: GenicamOptions, folder: Path) -> None:
        self._options = options
        self._producers = [folder / name for name in options.producers]
        self._camera: Any = None
        self._open()

    @staticmethod
    def check(options: GenicamOptions, folder: Path) -> None:
        """Raise KindError where the library or a producer is missing. Look at no camera."""
        try:
            look_for("harvesters", "harvesters", "a camera", "camera")
        except MissingExtraError as error:
            raise KindError(str(error)) from error
        for name in options.producers:
            if not (folder / name).is_file():
                raise KindError(f"producers: there is no file {folder / name}\nhint: the camera's maker has it, *.cti")

    def grab(self, fired: Fired) -> Picture:  # noqa: ARG002 - the protocol's signature
        """Wait for the next frame."""
        from procvision_tools.sources.camera import CameraError

        if self._camera is None:
            self._open()
        try:
            if self._options.waiting == "drop":
                self._camera.drop_waiting()
            picture: Picture = self._camera.grab(self._options.timeout_s)
        except CameraError as error:
            self.close()
            raise KindError(str(error)) from error
        return picture

    def close(self) -> None:
        """Let go of the camera."""
        camera, self._camera = self._camera, None
        if camera is not None:
            # What a lost camera's library says at the end helps nobody.
            with contextlib.suppress(Exception):
                camera.__exit__(None, None, None)

    def _open(self) -> None:
        from procvision_tools.sources.camera import ANY, Camera, CameraError

        wanted = ANY if self._options.device == "any" else self._options.device
        try:
            self._camera = Camera(wanted, self._producers).__enter__()
        except (CameraError, MissingExtraError) as error:
            raise KindError(str(error)) from error


class SimulatedOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the camera `simulated`."""

    seed: Annotated[int, Meta(ge=0, description="Which board is made")] = 7
    width: Annotated[int, Meta(ge=256, le=4096, description="In pixels")] = 640
    height: Annotated[int, Meta(ge=256, le=4096, description="In pixels")] = 640
    defect_every: Annotated[int, Meta(ge=0, description="Each so manyth board is bad; 0 for none")] = 10


class SimulatedCamera:
    """A camera that isn't there: photographs of a generated circuit board, a bad one now and then."""

    options: ClassVar[type[msgspec.Struct]] = SimulatedOptions

    def __init__(self, options: SimulatedOptions, folder: Path) -> None:  # noqa: ARG002 - the protocol's signature
        from procvision_testing.boards import DEFECT_KINDS, make_board, photograph, with_defects

        self._every, self._count = options.defect_every, 0
        try:
            board = make_board(options.width, options.height, options.seed)
            bad = [with_defects(board, DEFECT_KINDS, seed=options.seed)[0]] if self._every else []
        except ValueError as error:
            raise KindError(f"no board comes of the seed {options.seed}: {error}\nhint: another seed") from error
        self._good = [
            Picture.of(photograph(board.picture, seed=seed, shift_px=(0.4, -0.3), blur_px=0.5, noise=3.0))
            for seed in range(SCENES)
        ]
        self._bad = [
            Picture.of(photograph(each, seed=SCENES, shift_px=(-0.3, 0.4), blur_px=0.5, noise=3.0)) for each in bad
        ]

    def grab(self, fired: Fired) -> Picture:  # noqa: ARG002 - the protocol's signature
        """Give the next photograph."""
        self._count += 1
        if self._every and self._count % self._every == 0:
            return self._bad[0]
        return self._good[self._count % SCENES]

    def close(self) -> None:
        """Do nothing."""
