"""MVTec-AD's layout: `test/good`, `test/<kind of defect>`, and masks in `ground_truth/<kind>/<name>_mask.png`.

A folder of several such (bottle, cable, …) is one data set of as many groups. A product's truths are the boxes of its
mask's connected pieces (8 neighbours), labelled with the kind; a product of a kind without a mask is defective, no
more. `train/` is not read: an algorithm learns from it before it is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from procvision_tools.datasets.samples import Dataset, DatasetError, Sample, Truth, pictures_in
from procvision_tools.extras import need

LAYOUT = "mvtec"
GOOD = "good"
MASK_LEVEL = 127
"""A mask's pixel above it belongs to the defect; masks are 0 and 255."""


def recognise(folder: Path) -> bool:
    """Whether a folder looks like one: other layouts have a test/ too, but no good/ in it, and no ground_truth/."""
    return any(
        (product / "test" / GOOD).is_dir() or (product / "ground_truth").is_dir() for product in _products(folder)
    )


def read(folder: Path) -> Dataset:
    """Read all tested pictures of a folder. Raises DatasetError, and MissingExtraError without OpenCV."""
    samples: list[Sample] = []
    unmarked = 0
    products = _products(folder)
    for product in products:
        group = product.name if product != folder else ""
        for kind in sorted(path for path in (product / "test").iterdir() if path.is_dir()):
            for image in pictures_in(kind):
                truths = () if kind.name == GOOD else _truths(product, kind.name, image)
                unmarked += truths is None
                samples.append(
                    Sample(
                        name=str(image.relative_to(folder)),
                        group=group,
                        image=image,
                        truths=truths or (),
                        defective=kind.name != GOOD,
                    )
                )
    if not samples:
        raise DatasetError(
            f"{folder} has no pictures in MVTec-AD's layout: none in test/good and test/<kind of defect>"
        )
    notes = (f"{unmarked} defective pictures have no mask: no box says where the defect is",) if unmarked else ()
    return Dataset(layout=LAYOUT, folder=folder, samples=tuple(samples), notes=notes)


def _products(folder: Path) -> list[Path]:
    candidates = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())] if folder.is_dir() else []
    return [path for path in candidates if any(_kinds(path))]


def _kinds(product: Path) -> Iterator[Path]:
    test = product / "test"
    if test.is_dir():
        yield from (path for path in test.iterdir() if path.is_dir() and pictures_in(path))


def _truths(product: Path, kind: str, image: Path) -> tuple[Truth, ...] | None:
    """The boxes of a mask's pieces; None where there is no mask."""
    home = product / "ground_truth" / kind
    path = next((p for p in (home / f"{image.stem}_mask.png", home / f"{image.stem}.png") if p.is_file()), None)
    if path is None:
        return None
    cv2 = need("cv2", "opencv-python-headless", "reading a mask", "vision")
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise DatasetError(f"{path} is no picture, so the defects of {image} are unknown")
    _, _, stats, _ = cv2.connectedComponentsWithStats((mask > MASK_LEVEL).astype("uint8"), connectivity=8)
    boxes = stats[1:, : cv2.CC_STAT_AREA].tolist()
    if not boxes:
        raise DatasetError(f"{path} marks nothing, and {image} lies among the defective ones")
    return tuple(Truth(x, y, width, height, kind) for x, y, width, height in boxes)
