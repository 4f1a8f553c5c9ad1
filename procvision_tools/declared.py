"""What a distribution declares: the entry points in its `entry_points.txt`."""

from __future__ import annotations

import re

from procvision_sdk.manifest.model import ALGORITHM_GROUP


def declared_algorithms(text: str) -> dict[str, str]:
    """Give the algorithms of a file's text: name -> `module:Class`."""
    return declared_in(text, ALGORITHM_GROUP)


def declared_in(text: str, group: str) -> dict[str, str]:
    """Give the entry points of one group of a file's text: name -> `module:attribute`."""
    section = re.search(rf"^\[{re.escape(group)}\]$(.*?)(?=^\[|\Z)", text, re.M | re.S)
    lines = [line.partition("=") for line in section[1].splitlines()] if section else []
    return {name.strip(): value.strip() for name, equals, value in lines if equals}
