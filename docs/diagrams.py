"""Draws the pages' Mermaid diagrams as SVG while the site is built, so that a page asks no other host for a script."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

_ID = "my-svg"
"""What Mermaid calls each drawing, in its ids and in its style sheet."""


def on_config(config: Any) -> Any:
    """Let fences that are marked `mermaid` be drawn; mkdocs calls this."""
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {})
    fences["custom_fences"] = [{"name": "mermaid", "class": "diagram", "format": _fence}]
    return config


def _fence(source: str, *_: object, **__: object) -> str:
    return f'<div class="diagram">{drawn(source)}</div>'


@cache
def drawn(source: str) -> str:
    """Draw a diagram: one `<svg>` element, whose ids no other diagram of a page has."""
    import mermaidx

    svg = mermaidx.render(source, theme="neutral").svg()
    return svg.replace(_ID, f"diagram-{hashlib.sha256(source.encode()).hexdigest()[:8]}")
