"""The table of the evaluation's reference."""

from __future__ import annotations

from generating.markdown import Regions, glossary
from procvision_tools.evaluation.figures import MEANINGS

REGIONS: Regions = {"figures": lambda: glossary("figure", MEANINGS)}
