"""A field package as it lies on disk, and the manifest that a host can hold calls against.

What the field's SDK asks of its `manifest.json` is little: `name`, `version`, `entry_point`, and for 0.0.x
`supported_pids`. Steps may stand there, in `get_info()` or nowhere; they count from 0 or from 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec

from procvision_compat.steps import steps
from procvision_sdk.errors import ManifestError
from procvision_sdk.manifest.model import ANY_PID, MANIFEST_FILE, Manifest
from procvision_sdk.manifest.reading import MAX_MANIFEST_BYTES, parse_manifest
from procvision_sdk.regular_files import read_regular

ROOT_VARIABLE = "PROC_ALGO_ROOT"
"""Where the field's runners tell an algorithm its own folder."""


@attrs.frozen
class FieldPackage:
    """A folder and what its manifest says. `fields` are as they stand in the file, the first three are checked."""

    folder: Path
    name: str
    version: str
    entry_point: str
    fields: Mapping[str, Any] = attrs.field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> FieldPackage:
        """The package in this folder. Raises ManifestError with what is missing."""
        path = folder / MANIFEST_FILE
        try:
            fields = json.loads(read_regular(path, MAX_MANIFEST_BYTES))
        except OSError as error:
            raise ManifestError(
                f"{path} can't be read: {error.strerror}; hint: legacy: takes the folder that holds the manifest.json"
            ) from error
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{path} is not JSON: {error}") from None
        if not isinstance(fields, dict):
            raise ManifestError(f"{path} holds {type(fields).__name__}: a manifest is an object")
        named = {key: fields.get(key) for key in ("name", "version", "entry_point")}
        missing = [key for key, value in named.items() if not isinstance(value, str) or not value.strip()]
        if missing:
            raise ManifestError(f"{path}: {', '.join(missing)} must be there and be text")
        name, version, entry_point = (str(value).strip() for value in named.values())
        return cls(folder, name, version, entry_point, fields)

    def manifest(self, *, guided: bool | None = None, info: Mapping[str, Any] | None = None) -> Manifest:
        """The manifest in the host's terms.

        `guided` says whether the class is of the 0.3.x kind, which is guessed while nothing is imported; `info` is
        what its `get_info()` told, for what the file leaves out. Raises ManifestError.
        """
        info = info or {}
        if guided is None:
            guided = not {"supported_pids", "steps"} & set(self.fields)
        pids = self._either("supported_pids", info)
        declared = self._either("steps", info)
        description = self.fields.get("description")
        fields = {
            "name": host_name(self.name),
            "version": self.version,
            "entry_point": self.entry_point,
            "description": description if isinstance(description, str) and description else self.name,
            "supported_pids": pids or [ANY_PID],
            "steps": [msgspec.to_builtins(step) for step in steps(declared, guided=guided)],
        }
        # Once through the reader: what it promises of any manifest holds of this one too.
        return parse_manifest(msgspec.json.encode(fields), str(self.folder / MANIFEST_FILE))

    def _either(self, key: str, info: Mapping[str, Any]) -> list[Any]:
        found = self.fields.get(key) or info.get(key)
        return list(found) if isinstance(found, (list, tuple)) else []


def host_name(name: str) -> str:
    """A field package's name, which may be any text, as an algorithm's name."""
    slug = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-")
    return slug[:64].rstrip("._-") or "legacy"
