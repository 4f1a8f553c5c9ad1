"""Hosts as processes, and the plugins that they find."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hooking import GROUP
from launching import Gate, Launch
from peer_plugins import ALGORITHMS, environment, install
from wire_client import WireClient

# A suite that runs in the background of a shell has inherited that SIGINT is ignored, and so would all that it starts:
# what Ctrl-C does to a program could not be seen.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the peer algorithms are installed, as one distribution."""
    folder = tmp_path_factory.mktemp("installed")
    return install(folder, "peer-algorithms", {"procvision.algorithms": ALGORITHMS})


@pytest.fixture(scope="session")
def peer_environment(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a host that finds the peer algorithms."""
    return environment(installed, PYTHONPYCACHEPREFIX=str(tmp_path_factory.mktemp("compiled")))


@pytest.fixture
def launch(peer_environment: dict[str, str]) -> Iterator[Launch]:
    """Starts hosts that end with the test."""
    with ExitStack() as stack:
        yield Launch(stack, peer_environment)


@pytest.fixture
def host(launch: Launch) -> WireClient:
    """A host of its own for one test, with `misbehaving` in it."""
    return launch()


@pytest.fixture(scope="module")
def lasting_host(peer_environment: dict[str, str]) -> Iterator[WireClient]:
    """One host for all tests of a file: what one call did must not matter to the next."""
    with ExitStack() as stack:
        yield Launch(stack, peer_environment)()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Lets an algorithm go on that waits."""
    return Gate(tmp_path / "gate")


@pytest.fixture
def installed_hooks(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Installs hook plugins for one test and gives the environment in which a host finds them."""

    def put(members: dict[str, str], **more: str) -> dict[str, str]:
        folder = install(tmp_path / "hooks", "peer-hooks", {GROUP: members})
        return {"PYTHONPATH": f"{folder}:{environment()['PYTHONPATH']}", **more}

    return put


@pytest.fixture
def start(launch: Launch, installed_hooks: Callable[..., dict[str, str]]) -> Callable[..., WireClient]:
    """Starts a host that finds these hook plugins beside the peer algorithms."""

    def begin(members: dict[str, str], name: str, *options: str, **more: str) -> WireClient:
        added = installed_hooks(members, **more)
        path = f"{added['PYTHONPATH']}:{launch.environment['PYTHONPATH']}"
        return launch(name, *options, environment={**added, "PYTHONPATH": path})

    return begin
