"""Its import raises."""

from __future__ import annotations

raise RuntimeError("the model library is not there")
