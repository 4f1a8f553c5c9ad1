"""`manifest.json` as classes, and the JSON Schema made from them."""

# No `from __future__ import annotations`: msgspec would compile every annotation of these classes at every start.

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from procvision_sdk.manifest.parameters import AnyParameter

ANY_PID = "*"
"""In `supported_pids`: whatever product id a call names."""

MANIFEST_FILE = "manifest.json"
ALGORITHM_GROUP = "procvision.algorithms"
"""The group of entry points by which distributions declare algorithms."""

ALGORITHM_NAME = Meta(
    pattern="^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$",
    max_length=64,
    description="The algorithm's name: the entry point's, and what --algo takes",
)
_VERSION = Meta(pattern="^[0-9A-Za-z][0-9A-Za-z.!+_-]*$", max_length=64, description="The distribution's version")
_ENTRY_POINT = Meta(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$", description="module:Class of the algorithm")


class Step(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One numbered position in the inspection; `index` counts from 1."""

    index: Annotated[int, Meta(ge=1)]
    name: Annotated[str, Meta(min_length=1)]
    description: str = ""
    params: list[AnyParameter] = []


class Diagnostic(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a published diagnostic means, and between which limits it should lie; both limits are included."""

    description: str = ""
    unit: str = ""
    min: float | None = None
    max: float | None = None


class Manifest(Struct, kw_only=True, frozen=True):
    """What a plugin declares of one algorithm. Fields it doesn't know are ignored."""

    name: Annotated[str, ALGORITHM_NAME]
    version: Annotated[str, _VERSION]
    entry_point: Annotated[str, _ENTRY_POINT]
    supported_pids: Annotated[list[str], Meta(min_length=1, description='Product ids; "*" stands for any')]
    steps: Annotated[list[Step], Meta(min_length=1)]
    description: str = ""
    required_assets: Annotated[
        dict[str, list[str]],
        Meta(description="Files below the package, by the product id that needs them"),
    ] = {}
    picture_score: Annotated[
        str | None,
        Meta(description="The diagnostic that says how bad a picture is, the higher the worse; always published"),
    ] = None
    diagnostics: Annotated[
        dict[str, Diagnostic],
        Meta(description="What the diagnostics that it publishes mean, and their limits, by name"),
    ] = {}
    default_config: Annotated[dict[str, Any], Meta(description="The vendor's own settings")] = {}
    pre_per_host: Annotated[
        bool,
        Meta(description="True where what `pre` leaves lies in the process: no other host can go on with the session"),
    ] = False
    reads_picture: Annotated[
        bool, Meta(description="False for an algorithm that may say OK without having read the picture it was handed")
    ] = True
    needs: Annotated[
        dict[str, str],
        Meta(description="What it needs beyond its picture, such as network:10.0.0.5:502, and what for"),
    ] = {}

    def step(self, index: int) -> Step | None:
        """Return the step of this number."""
        return next((step for step in self.steps if step.index == index), None)

    def supports(self, pid: str) -> bool:
        """Return whether a product id is declared."""
        return pid in self.supported_pids or ANY_PID in self.supported_pids


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of `manifest.json`."""
    schema = msgspec.json.schema(Manifest)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "ProcVision manifest", **schema}
