"""`legacy:PATH`: the source of algorithms that are a folder with a `manifest.json` of the field's SDK."""

from __future__ import annotations

from pathlib import Path

from procvision_compat.package import FieldPackage
from procvision_sdk.sources import Made, Offer


def legacy(path: str) -> Offer:
    """The algorithm in this folder. Raises ManifestError; nothing of the algorithm is imported."""
    package = FieldPackage.read(Path(path).absolute())

    def make() -> Made:
        from procvision_compat.making import made

        return made(package)

    return Offer(package.manifest(), package.folder, make)
