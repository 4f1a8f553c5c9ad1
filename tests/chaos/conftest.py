"""`tests.chaos` is a package, so that it can be run by itself; here is what it needs to be imported by."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:
    sys.path.append(ROOT)
