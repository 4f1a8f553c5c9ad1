"""The rules of isolation, as `procvision-host isolation` tries them."""

from __future__ import annotations

from generating.markdown import Regions, table
from procvision_host.sandbox.rules import RULES


def rules() -> str:
    """Every rule with the level that promises it first."""
    return table(("a process", "from the level", "by"), ((rule.name, f"`{rule.level}`", rule.by) for rule in RULES))


REGIONS: Regions = {"rules": rules}
