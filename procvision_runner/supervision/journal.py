"""Takes what a supervisor and its parts tell: events to the listeners, counts to the metrics."""

from __future__ import annotations

from typing import Any

from procvision_runner.supervision.events import Event, EventBus
from procvision_runner.supervision.metrics import Metrics


class Journal:
    """Where a supervisor's parts report. `name` is the source of the events."""

    def __init__(self, name: str, bus: EventBus) -> None:
        self.name = name
        self.bus = bus
        self.metrics = Metrics()

    def emit(self, kind: type[Event], /, **fields: Any) -> None:
        """Make an event and tell it to the listeners, if there are any."""
        if self.bus.heard:
            self.bus.emit(kind(source=self.name, **fields))

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self.metrics.count(name, by)
