"""What a supervisor and its parts have to tell: events to the listeners, counts to the metrics."""

from __future__ import annotations

from typing import Any

from procvision_runner.supervision.events import Event, EventBus
from procvision_runner.supervision.metrics import Metrics


class Journal:
    """`name` is what stands in the events as their source."""

    def __init__(self, name: str, bus: EventBus) -> None:
        self.name = name
        self.bus = bus
        self.metrics = Metrics()

    @property
    def heard(self) -> bool:
        """Whether there is anybody to make an event for."""
        return self.bus.heard

    def emit(self, kind: type[Event], /, **fields: Any) -> None:
        """Tells the listeners, if there are any."""
        if self.bus.heard:
            self.bus.emit(kind(source=self.name, **fields))

    def count(self, name: str, by: int = 1) -> None:
        """One more."""
        self.metrics.count(name, by)
