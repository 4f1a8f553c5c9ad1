"""The table and the diagram of who reads, for the page on the architecture."""

from __future__ import annotations

from generating.markdown import Regions, table
from generating.protocol import diagram
from generating.supervision import docstrings
from procvision_runner.connection.leadership import TRANSITIONS, Reading, ReadingEvent


def who_reads() -> str:
    """The states, the events with the ways that they lead, and the diagram of both."""
    meanings = docstrings(Reading)
    states = table(("who reads", "meaning"), ((f"*{state}*", meanings[state.name]) for state in TRANSITIONS))
    meanings = docstrings(ReadingEvent)
    rows = []
    for event in ReadingEvent:
        ways = [f"{state} → {targets[event]}" for state, targets in TRANSITIONS.items() if event in targets]
        rows.append((f"`{event}`", meanings[event.name], ", ".join(ways)))
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, targets in TRANSITIONS.items():
        for event, target in targets.items():
            arrows.setdefault((state, target), []).append(event)
    drawn = [f"{state} --> {target}: {', '.join(events)}" for (state, target), events in arrows.items()]
    shown = diagram([*drawn, "ended --> [*]"], first="nobody")
    return f"{states}\n\n{table(('event', 'meaning', 'from → to'), rows)}\n\n{shown}"


REGIONS: Regions = {"who-reads": who_reads}
