"""What the needs that an integrator granted mean on this machine: folders, devices, addresses, memory.

Looked up before the cell is shut in, by the names alone: whether the algorithm asks for them is seen later, when its
manifest is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

import msgspec

from procvision_host.sandbox.amounts import PROCESSES
from procvision_sdk.errors import ErrorCode, ProcVisionError

if TYPE_CHECKING:
    from procvision_sdk.manifest.model import Manifest
    from procvision_sdk.manifest.needs import Need

DEFAULT_MEGABYTES = 4000
"""Ten times what NumPy, OpenCV and onnxruntime take together, of the data that RLIMIT_DATA counts."""
_MAX_LINKS = 40
"""As the kernel's own (path_resolution(7))."""


class GrantError(ProcVisionError):
    """A grant can't be given. `retryable` where it may be possible later."""

    error_code: ClassVar[str] = ErrorCode.CONFIGURATION_INVALID

    def __init__(self, text: str, *, retryable: bool = False) -> None:
        super().__init__(text)
        self.retryable = retryable


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """What a cell keeps beyond its own."""

    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    addresses: frozenset[tuple[str, int]] = frozenset()
    """IP addresses with their ports."""
    megabytes: int = DEFAULT_MEGABYTES
    processes: int = PROCESSES

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports of all addresses."""
        return tuple(sorted({port for _, port in self.addresses}))


def granted(needs: Iterable[Need]) -> Granted:
    """Look the grants up. Raises GrantError for what isn't there."""
    paths: dict[str, list[str]] = {"read": [], "write": [], "device": []}
    addresses: set[tuple[str, int]] = set()
    megabytes, processes = DEFAULT_MEGABYTES, PROCESSES
    needs = tuple(needs)
    writable = [os.path.realpath(need.path) for need in needs if need.kind == "write"]
    for need in needs:
        if need.kind == "network":
            addresses |= _addresses(need)
        elif need.kind == "memory":
            megabytes = max(megabytes, need.amount)
        elif need.kind == "processes":
            processes = max(processes, need.amount)
        else:
            paths[need.kind] += _found(need, writable)
    return Granted(
        readable=tuple(paths["read"]),
        writable=tuple(paths["write"]),
        devices=tuple(paths["device"]),
        addresses=frozenset(addresses),
        megabytes=megabytes,
        processes=processes,
    )


def named_in_configuration(names: Sequence[str]) -> tuple[Need, ...]:
    """Return the needs that a configuration grants. Raises GrantError."""
    from procvision_sdk.manifest.needs import parse_needs

    try:
        return parse_needs(names)
    except ValueError as error:
        raise GrantError(f"the configuration's grants: {error}") from None


def _addresses(need: Need) -> set[tuple[str, int]]:
    import socket

    try:
        found = socket.getaddrinfo(need.host, need.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        hint = "hint: is it in /etc/hosts, or does the name server answer?"
        raise GrantError(f"{need} is granted, and {need.host} isn't found: {error}; {hint}", retryable=True) from None
    return {(str(address[0]), need.port) for *_, address in found}


def _found(need: Need, writable: Sequence[str]) -> list[str]:
    """Return what a granted path is. Raises GrantError."""
    if need.kind == "device":
        from pathlib import Path

        pattern = Path(need.path)
        found = sorted(pattern.parent.glob(pattern.name)) if "*" in pattern.name else [pattern]
        devices = [str(one) for one in found if one.is_char_device() or one.is_block_device()]
        if not devices:
            raise GrantError(f"{need} is granted, and there is no such device; hint: is its driver loaded?")
        return devices
    if not os.path.exists(need.path):
        raise GrantError(f"{need} is granted, and it isn't there; hint: make it, or grant another folder")
    path = os.path.realpath(need.path)
    for folder in _passed_through(need.path):
        # A link that lies where the algorithm writes leads where it wants to.
        if any(folder == own or folder.startswith(f"{own}/") for own in writable) and folder != path:
            what = f"{need} is granted, and lies in a folder that the algorithm may write"
            raise GrantError(f"{what}: what is there may be a link of its own; hint: grant another folder")
    return [path]


def _passed_through(path: str) -> list[str]:
    """Return the folders in which the parts of a path, and of all links on its way, are looked up."""
    at, rest, links = "/", [part for part in path.split("/") if part], 0
    folders: list[str] = []
    while rest:
        part = rest.pop(0)
        if part in (".", ""):
            continue
        if part == "..":
            at = os.path.dirname(at)
            continue
        folders.append(at)
        whole = os.path.join(at, part)
        if os.path.islink(whole) and links < _MAX_LINKS:
            links += 1
            goal = os.readlink(whole)
            rest = [*goal.split("/"), *rest]
            at = "/" if goal.startswith("/") else at
        else:
            at = whole
    return folders


def unasked(manifest: Manifest, grants: Iterable[Need]) -> list[Need]:
    """Return the grants that a manifest doesn't ask for."""
    from procvision_sdk.manifest.needs import parse_needs

    asked = set(parse_needs(manifest.needs))
    return [need for need in grants if need not in asked]


def ungranted(manifest: Manifest, grants: Iterable[Need]) -> list[Need]:
    """Return the needs of a manifest that aren't granted."""
    from procvision_sdk.manifest.needs import parse_needs

    given = set(grants)
    return [need for need in parse_needs(manifest.needs) if need not in given]
