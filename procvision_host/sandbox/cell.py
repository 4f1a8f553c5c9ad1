"""The cell shuts itself in: after its hello, before a line of the vendor's runs.

What it keeps under `strict`: this Python and the packages on its path to read, the files that the command line names,
what was granted, and a folder of its own, which is its home and its place for temporary files. Where namespaces can be
had, that lies in a `/dev/shm` of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

import procvision_host
import procvision_sdk
from procvision_host.options import MEGA
from procvision_host.sandbox.amounts import bound_basic, bound_processes
from procvision_host.sandbox.confinement import Confinement, Level, confine, interpreter_paths
from procvision_host.sandbox.grants import granted
from procvision_host.sandbox.kernel import IsolationMissingError, system_call
from procvision_host.sandbox.namespaces import SHARED_MEMORY, enter, hide
from procvision_host.sandbox.refusals import Refusals

if TYPE_CHECKING:
    from procvision_host.options import HostOptions
    from procvision_host.process.channels import HostEnds
    from procvision_sdk.manifest.needs import Need

_CLONE_FILES = 0x400
_HOMES = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
"""Where libraries write without being asked: their folders are the cell's own."""
_PREFIX = "procvision-"
"""As of all temporary folders of ours: `procvision doctor --clean` removes those that nobody uses."""


class ShutIn(msgspec.Struct, frozen=True):
    """What came of it."""

    refusals: Refusals
    missing: list[IsolationMissingError]
    """What this machine can't enforce."""
    shared: IsolationMissingError | None
    """Why there are no namespaces: what they give besides is missing, nothing of what the level promises."""
    unhidden: IsolationMissingError | None = None
    """Why the host half's files couldn't be hidden: likewise."""


def shut_in(options: HostOptions, ends: HostEnds, hidden: Iterable[str] = ()) -> ShutIn:
    """Give up what the options' level takes, for good. `hidden` are the host half's own files and folders.

    To be called while this process has one thread. Raises GrantError for a grant that can't be given.
    """
    return shut(
        Level(options.isolation),
        readable=(*_named(options.algo), *options.readable),
        writable=options.writable,
        grants=options.grant,
        before_filter=lambda: ends.keep_here(_table_of_its_own),
        hidden=_not_needed(hidden, options.working_folder, *_named(options.algo)),
    )


def shut(
    level: Level,
    *,
    readable: Iterable[str] = (),
    writable: Iterable[str] = (),
    grants: Iterable[Need] = (),
    before_filter: Callable[[], None] | None = None,
    bound_memory: bool = True,
    hidden: Sequence[str] = (),
) -> ShutIn:
    """Give up what a level takes, for good. Raises GrantError for a grant that can't be given.

    To be called while this process has one thread. What the level bounds of amounts is left if it isn't `bound_memory`.
    `hidden` it couldn't open under `strict`; under `basic` it sees empty ones in their place.
    """
    strict = level is Level.STRICT
    if level is not Level.OFF:
        bound_basic()  # first: /proc may be read-only then
    given = granted(grants if strict else ())
    unhidden = None
    if hidden and level is Level.BASIC:
        try:
            hide(hidden)
        except IsolationMissingError as error:
            unhidden = error
    kept = (*map(os.path.realpath, writable), *given.writable)
    own: tuple[str, ...] = ()
    shared = None
    broker = None
    if given.addresses:
        from procvision_host.sandbox.connections import Broker

        broker = Broker(given.addresses)
    if strict:
        try:
            enter(kept, network=bool(given.ports))
        except IsolationMissingError as error:
            shared = error
        if shared is None and bound_memory:
            bound_processes(given.processes)
        own = (_own_folder(apart=shared is None),)
    wanted = Confinement(
        level=level,
        readable=(*_imported_from(), *map(os.path.realpath, readable), *given.readable) if strict else (),
        writable=(*own, *kept),
        devices=given.devices,
        ports=given.ports,
        own_mounts=strict and shared is None,
        bounded=bound_memory,
        data_bytes=given.megabytes * MEGA if strict and bound_memory else None,
    )
    missing = confine(wanted, before_filter, os.close if broker is None else broker.hand_over)
    if broker is not None:
        broker.close()
    return ShutIn(Refusals(given, broker, strict=strict), missing, shared, unhidden)


def _own_folder(*, apart: bool) -> str:
    """Make a home; where the cell has a `/dev/shm` of its own nothing is left of it at the end."""
    if apart and os.path.isdir(SHARED_MEMORY):
        folder = f"{SHARED_MEMORY}/{_PREFIX}{os.urandom(8).hex()}"
        os.mkdir(folder, mode=0o700)  # nobody else sees this `/dev/shm`
    else:
        import tempfile

        folder = tempfile.mkdtemp(prefix=_PREFIX)
    os.environ |= dict.fromkeys(_HOMES, folder)
    if (loaded := sys.modules.get("tempfile")) is not None:
        setattr(loaded, "tempdir", None)  # noqa: B010 - of a module whose type is unknown here
    return folder


def _table_of_its_own() -> None:
    system_call("unshare", _CLONE_FILES)


def _imported_from() -> tuple[str, ...]:
    """Return the folders on the path, and those of our own packages, which may not be on it."""
    own = (place for package in (procvision_host, procvision_sdk) for place in package.__path__)
    places = (place for place in (*sys.path, *own) if place not in ("", "."))
    return tuple(dict.fromkeys(os.path.realpath(place) for place in places if os.path.exists(place)))


def _not_needed(hidden: Iterable[str], *more: str) -> tuple[str, ...]:
    """Return what can be hidden: nothing that has this Python, its packages or the working folder in it."""
    needed = [*interpreter_paths(), *_imported_from(), *map(os.path.realpath, more)]
    paths = (os.path.realpath(path) for path in hidden)
    return tuple(path for path in paths if not any(f"{one}/".startswith(f"{path.rstrip('/')}/") for one in needed))


def _named(algorithm: str) -> tuple[str, ...]:
    """Return the folder of an algorithm that is named by a scheme and a path."""
    _, colon, rest = algorithm.partition(":")
    return (os.path.realpath(rest),) if colon and rest and os.path.exists(rest) else ()
