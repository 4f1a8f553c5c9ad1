"""What the tests' fixtures are made of: a way to start hosts, and a way to hold an algorithm up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from peer_plugins import host_command
from wire_client import WireClient


class Launch:
    """Starts hosts of the peer algorithms, which end with their stack."""

    def __init__(self, stack: ExitStack, environment: Mapping[str, str]) -> None:
        self._stack = stack
        self.environment = environment

    def __call__(
        self,
        name: str = "misbehaving",
        *options: str,
        shake_hands: bool = True,
        read_stderr: bool = True,
        environment: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
    ) -> WireClient:
        """`before` are words that start the host's command, such as a sandbox's."""
        command = [*before, *host_command(name, *options)]
        whole = {**self.environment, **(environment or {})}
        return self._stack.enter_context(WireClient(command, whole, shake_hands=shake_hands, read_stderr=read_stderr))


class Gate:
    """A file for whose existence an algorithm waits: the test says when it goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def open(self) -> None:
        """Lets it go on."""
        self.path.touch()
