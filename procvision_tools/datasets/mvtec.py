"""MVTec-AD's layout: `test/good`, `test/<kind of defect>`, and masks in `ground_truth/<kind>/<name>_mask.png`.

A folder of several such (bottle, cable, …) is one data set of as many groups. Below a kind there may be more folders,
on both sides alike. Good products are in `good`, `ok` or `normal`, in any case. A product's truths are the boxes of its
mask's connected pieces (8 neighbours), labelled with the kind; a folder `<name>/` of several masks is read as
MVTec-LOCO has it. A product of a kind without a mask is defective, no more. `train/` is not read: an algorithm learns
from it before it is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from procvision_sdk.errors import CallRefusedError
from procvision_sdk.regular_files import read_regular
from procvision_tools.datasets.samples import Dataset, DatasetError, Sample, Truth, check_truths
from procvision_tools.extras import need
from procvision_tools.names import shown
from procvision_tools.sources.folder_files import NOT_READ, OTHER_PICTURES, FolderFiles, is_picture
from procvision_tools.sources.picture_files import MAX_FILE_BYTES, PictureFileError, load, look

LAYOUT = "mvtec"
GOOD = frozenset({"good", "ok", "normal"})
"""What folders of good products are called, in lower case."""
MASK_LEVEL = 127
"""A mask's pixel with a channel above it belongs to the defect; masks are 0 and 255."""
_MASK = "_mask"
_ANY = "*"
"""In a key: all pictures of a folder."""

_Key = tuple[Path, str, PurePath]
"""A product's folder, a kind, and a picture's path below it without its suffix."""


def recognise(files: FolderFiles) -> bool:
    """Whether a folder looks like one: other layouts have a test/ too, but no good/ in it, and no ground_truth/."""
    tested, masks = _by_key(files, "test"), _by_key(files, "ground_truth")
    return any(kind.lower() in GOOD for _, kind, _ in tested) or bool(
        {product for product, _, _ in tested} & {product for product, _, _ in masks}
    )


def read(files: FolderFiles) -> Dataset:
    """Read all tested pictures of a folder. Raises DatasetError, and MissingExtraError without OpenCV."""
    tested, masks = _by_key(files, "test"), _by_key(files, "ground_truth")
    check_truths(files, "ground_truth")
    _check_kinds(tested, masks)
    all_masks = [path for found in masks.values() for path in found]
    for (product, kind, inner), found in list(masks.items()):
        masks.setdefault((product, kind, inner.with_name(_ANY)), []).extend(found)
    samples: list[Sample] = []
    unmarked = 0
    for key, images in sorted(tested.items(), key=lambda item: item[1]):
        if len(images) > 1:
            raise DatasetError(f"two pictures have the id {key[1]}/{key[2]}: {shown(images[0])} and {shown(images[1])}")
        product, kind, _ = key
        image, found = images[0], _masks_of(key, masks)
        if not is_picture(image):
            files.leave_out(NOT_READ, image)
            files.leave_out("of a picture that is not read", *found)
            continue
        files.take(image, *found)
        good = kind.lower() in GOOD
        truths = tuple(truth for mask in found for truth in _truths(mask, image, kind, good=good))
        unmarked += not good and not found
        samples.append(
            Sample(
                name=files.name(image),
                group=shown(product.name) if product != files.folder else "",
                image=image,
                truths=truths,
                defective=not good,
            )
        )
    left = set(files.left())
    for path in (path for path in all_masks if path in left):
        raise DatasetError(
            f"{shown(path)} marks the defects of a picture that is not there"
            "\nhint: put it in test/, or take the mask away"
        )
    files.leave_out(
        "train/ is what an algorithm learns from", *(path for path in left if "train" in files.below(path)[:2])
    )
    notes = [f"{unmarked} defective pictures have no mask: no box says where the defect is"] if unmarked else []
    return Dataset(layout=LAYOUT, folder=files.folder, samples=tuple(samples), notes=(*notes, *files.notes()))


def _by_key(files: FolderFiles, part: str) -> dict[_Key, list[Path]]:
    """Give the pictures below `test` or `ground_truth`, of the folder itself or of products in it."""
    found: dict[_Key, list[Path]] = {}
    for path in files.files:
        parts = files.below(path)
        at = next((at for at in (0, 1) if len(parts) > at + 2 and parts[at] == part), None)
        if at is not None and (is_picture(path) or path.suffix.lower() in OTHER_PICTURES):
            inner = PurePath(*parts[at + 2 :]).with_suffix("")
            found.setdefault((files.folder.joinpath(*parts[:at]), parts[at + 1], inner), []).append(path)
    return found


def _check_kinds(tested: Iterable[_Key], masks: Iterable[_Key]) -> None:
    """Refuse a folder of which nobody says whether its products are good."""
    kinds: dict[Path, set[str]] = {}
    for product, kind, _ in tested:
        kinds.setdefault(product, set()).add(kind)
    marked = {(product, kind) for product, kind, _ in masks}
    for product, known in sorted(kinds.items()):
        unknown = sorted(kind for kind in known if (product, kind) not in marked)
        if unknown and not any(kind.lower() in GOOD for kind in known):
            raise DatasetError(
                f"{shown(product / 'test')} holds {', '.join(sorted(known))}: which folder holds the good products?"
                f"\nhint: name it good, ok or normal; there are no masks of {', '.join(unknown)}"
            )


def _masks_of(key: _Key, masks: Mapping[_Key, list[Path]]) -> list[Path]:
    """Give a picture's masks: one beside, or those of a folder of its name."""
    product, kind, inner = key
    own = [
        *masks.get((product, kind, inner.with_name(f"{inner.name}{_MASK}")), ()),
        *masks.get((product, kind, inner), ()),
    ]
    if len(own) > 1:
        raise DatasetError(f"a picture has two masks: {shown(own[0])} and {shown(own[1])}")
    return own or sorted(masks.get((product, kind, inner / _ANY), ()))


def _truths(path: Path, image: Path, kind: str, *, good: bool) -> tuple[Truth, ...]:
    """Give the boxes of a mask's pieces."""
    cv2 = need("cv2", "opencv-python-headless", "reading a mask", "vision")
    mask = _mask(path, image, cv2)
    _, _, stats, _ = cv2.connectedComponentsWithStats((mask > MASK_LEVEL).astype("uint8"), connectivity=8)
    boxes = stats[1:, : cv2.CC_STAT_AREA].tolist()
    if good and boxes:
        raise DatasetError(f"{shown(path)} marks defects, and {shown(image)} lies among the good ones")
    if not good and not boxes:
        raise DatasetError(
            f"{shown(path)} marks nothing, and {shown(image)} lies among the defective ones"
            f"\nhint: a mask's pixels are above {MASK_LEVEL}, the highest here is {mask.max()}"
        )
    return tuple(Truth(x, y, width, height, kind, shown(path)) for x, y, width, height in boxes)


def _mask(path: Path, image: Path, cv2: Any) -> Any:
    """Give the highest channel of a mask, in its picture's frame. Raises DatasetError."""
    import numpy as np

    try:
        frame = look(image)
        if is_picture(path):
            pixels = load(path).pixels()
        else:
            pixels = cv2.imdecode(np.frombuffer(read_regular(path, MAX_FILE_BYTES), np.uint8), cv2.IMREAD_COLOR)
    except (PictureFileError, CallRefusedError) as error:
        raise DatasetError(f"{shown(path)}: {error}") from error
    except OSError as error:
        raise DatasetError(f"{shown(path)} can't be read: {error.strerror or error}") from error
    if pixels is None:
        raise DatasetError(f"{shown(path)} is no picture, so the defects of {shown(image)} are unknown")
    height, width = pixels.shape[:2]
    if (width, height) != (frame.width, frame.height):
        raise DatasetError(
            f"{shown(path)} has {width} x {height} pixels, its picture {shown(image)} {frame.width} x {frame.height}"
            "\nhint: a mask is in its picture's frame"
        )
    return pixels.max(axis=2)
