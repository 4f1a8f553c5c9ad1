"""The documents' generators, which are in no package."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = str(Path(__file__).parents[2] / "docs")
if DOCS not in sys.path:
    sys.path.append(DOCS)
