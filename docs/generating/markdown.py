"""What every generated page is made with: regions, which code fills, and tables.

A region stands between `<!-- begin generated: NAME -->` and `<!-- end generated -->`; around it a person writes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

BEGIN = "<!-- begin generated:"
_REGION = re.compile(rf"({BEGIN} (?P<name>[\w.-]+) -->\n).*?(<!-- end generated -->)", re.DOTALL)

Regions = Mapping[str, Callable[[], str]]
"""What writes each region of a page."""


def filled(page: str, regions: Regions) -> str:
    """The page with every region written anew; ValueError unless each stands on it once, and no other does."""
    found = Counter(match["name"] for match in _REGION.finditer(page))
    if found != Counter(regions.keys()) or page.count(BEGIN) != found.total():
        on_page = ", ".join(sorted(found.elements()))
        raise ValueError(f"the regions on the page are {on_page}; those that are made are {', '.join(sorted(regions))}")
    return _REGION.sub(lambda region: f"{region[1]}{regions[region['name']]()}\n{region[3]}", page)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table, whatever its cells hold."""
    head = list(head)
    return "\n".join([_line(head), "|---" * len(head) + "|", *map(_line, rows)])


def glossary(of: str, texts: Mapping[str, str], meaning: str = "meaning") -> str:
    """A table of names, set as code, and what each means."""
    return table((of, meaning), ((f"`{name}`", text) for name, text in texts.items()))


def exit_statuses(meanings: Mapping[int, str]) -> str:
    """A table of a command's exit statuses."""
    return table(("status", "meaning"), ((str(status), text) for status, text in meanings.items()))


def _line(cells: Iterable[str]) -> str:
    return "|" + "|".join(f" {_cell(cell)} " if cell else " " for cell in cells) + "|"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()
