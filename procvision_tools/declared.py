"""What a distribution declares: the algorithms in its `entry_points.txt`."""

from __future__ import annotations

import re

from procvision_sdk.manifest.model import ALGORITHM_GROUP


def declared_algorithms(text: str) -> dict[str, str]:
    """Give the algorithms of a file's text: name -> `module:Class`."""
    section = re.search(rf"^\[{re.escape(ALGORITHM_GROUP)}\]$(.*?)(?=^\[|\Z)", text, re.M | re.S)
    lines = [line.partition("=") for line in section[1].splitlines()] if section else []
    return {name.strip(): value.strip() for name, equals, value in lines if equals}
