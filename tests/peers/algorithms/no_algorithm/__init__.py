"""Its class is no BaseAlgorithm."""

from __future__ import annotations


class Stranger:
    def execute(self):
        return "OK"
