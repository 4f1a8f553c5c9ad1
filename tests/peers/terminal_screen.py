"""What a terminal shows of what the live view wrote."""

from __future__ import annotations

import re


def on_screen(written: str) -> list[str]:
    """What a terminal shows in the end: it knows the two movements that the view makes."""
    lines = [""]
    for part in re.split(r"(\x1b\[\d+F\x1b\[J|\n)", re.sub(r"\x1b\[[\d;]*m", "", written)):
        if part == "\n":
            lines.append("")
        elif part.startswith("\x1b"):
            up = int(part[2 : part.index("F")])
            del lines[len(lines) - 1 - up :]
            lines.append("")
        else:
            assert "\x1b" not in part
            lines[-1] += part
    return lines
