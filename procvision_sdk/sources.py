"""Algorithms that aren't installed under a name: what a plugin gives that provides them by scheme.

A distribution declares the entry point `SCHEME = "module:function"` in the group `procvision.algorithm_sources`; then
`procvision-host --algo SCHEME:REST` asks the function for the algorithm that REST names, and the function is imported
only then. It answers with an `Offer`, or raises with a text that says what is wrong with REST.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from procvision_sdk.algorithm import BaseAlgorithm
from procvision_sdk.manifest.model import Manifest

if TYPE_CHECKING:
    from pathlib import Path

SOURCE_GROUP = "procvision.algorithm_sources"


class Made(NamedTuple):
    """An algorithm and its manifest, which may say more than could be said before anything was imported."""

    algorithm: BaseAlgorithm
    manifest: Manifest


class Offer(msgspec.Struct, frozen=True):
    """An algorithm that a source can make.

    `make` imports and constructs it, once, in the host that serves it; whatever it raises is a failed load. The rest
    is known without importing anything of the algorithm's.
    """

    manifest: Manifest
    package_folder: Path
    make: Callable[[], Made]


AlgorithmSource: TypeAlias = Callable[[str], Offer]
"""What an entry point of the group names: from what stands behind the scheme to an offer. Imports no algorithm."""
