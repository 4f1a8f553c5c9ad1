"""Hook plugins for tests: which there are, and what `watching` was told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wire_client import WireClient, eventually

GROUP = "procvision.hooks"
WATCHING = {"watching": "peer_hooks.watching:Watching"}
BROKEN = {
    "import-error": "peer_hooks.import_error",
    "no-such-attribute": "peer_hooks.broken:NotThere",
    "bad-signature": "peer_hooks.broken:BadSignature",
    "async": "peer_hooks.broken:Async",
    "generator": "peer_hooks.broken:Generator",
    "others-wrapper": "peer_hooks.broken:WrapsOthers",
    "misspelt": "peer_hooks.broken:Misspelt",
    "raises-in-options": "peer_hooks.broken:RaisesInOptions",
    "raises-in-configure": "peer_hooks.broken:RaisesInConfigure",
    "raises-in-stores": "peer_hooks.broken:RaisesInStores",
    "raises-what-cant-be-shown": "peer_hooks.broken:RaisesWhatCantBeShown",
    "logs-malformed": "peer_hooks.broken:LogsMalformed",
    "raises-always": "peer_hooks.broken:RaisesAlways",
    "raises-sometimes": "peer_hooks.broken:RaisesSometimes",
    "blocks-five-seconds": "peer_hooks.broken:BlocksFiveSeconds",
    "holds-calls-up": "peer_hooks.broken:HoldsCallsUp",
    "yields-twice": "peer_hooks.broken:YieldsTwice",
    "returns-no-generator": "peer_hooks.broken:ReturnsNoGenerator",
    "changes-everything": "peer_hooks.broken:ChangesEverything",
}
UNUSABLE = frozenset(
    {
        "import-error",
        "no-such-attribute",
        "bad-signature",
        "async",
        "generator",
        "others-wrapper",
        "misspelt",
        "raises-in-options",
        "raises-in-configure",
        "raises-in-stores",
        "raises-what-cant-be-shown",
    }
)
"""Those of them that no host can use: one that names them stops."""
DEEDS: list[tuple[str, dict[str, Any]]] = [
    ("nothing", {}),
    ("return-rects", {"count": 2}),
    ("return-rects", {"count": 21}),
    ("return-none", {}),
    ("raise-recoverable", {}),
    ("return-no-verdict", {}),
    ("print-text", {"text": "a line", "count": 1}),
]
"""Deeds of `misbehaving` and their parameters: every kind of answer is among what they are answered with."""


class Watched:
    """A host with `watching` in it, and what that has written."""

    def __init__(self, host: WireClient, path: Path) -> None:
        self.host = host
        self._path = path

    def told(self, hook: str) -> list[dict[str, Any]]:
        """What was told so far under this hook, in order."""
        if not self._path.exists():
            return []
        lines = [json.loads(line) for line in self._path.read_text().splitlines()]
        return [line for line in lines if line["hook"] == hook]

    def first(self, hook: str) -> dict[str, Any]:
        """Waits for the first of them."""
        found = eventually(lambda: self.told(hook), f"{hook} being told")
        assert isinstance(found[0], dict)
        return found[0]
