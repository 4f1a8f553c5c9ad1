"""What has to be done so that a wish comes true, as steps: pure, from the state alone.

Every plan begins by mending what a command that was killed has left. The order in a plan is that in which nothing is
ever half visible: a version is complete before it gets its name; an activation is on record before its link is changed,
so that the next command can complete it; a removal is on record before anything is removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from attrs import evolve, field, frozen

from procvision_sdk.errors import ErrorCode
from procvision_tools.bundling.errors import BundleError

Version: TypeAlias = tuple[str, str]
"""Name and version."""
Product: TypeAlias = tuple[str, str]
"""Name and product id."""
Grants: TypeAlias = tuple[str, ...]
"""Needs that are granted, by name."""


@frozen
class State:
    """What lies in the folder, and what the history says should."""

    installed: Mapping[Version, str] = field(factory=dict)
    """Version -> the id of its installation."""
    active: Mapping[Product, str] = field(factory=dict)
    """The links: product -> version."""
    left: frozenset[str] = frozenset()
    """Folders that a killed command left: unfinished, or half removed."""
    recorded: Mapping[str, Version] = field(factory=dict)
    """By the history: the ids of installations that were recorded, also those that are gone."""
    removed: frozenset[str] = frozenset()
    """By the history: the ids of those that were uninstalled."""
    wanted: Mapping[Product, tuple[str, ...]] = field(factory=dict)
    """By the history: product -> the versions that were active, the last of them now."""
    grants: Mapping[Product, tuple[Grants, ...]] = field(factory=dict)
    """By the history: product -> what each of those was granted; nothing where it isn't there."""

    def granted(self, product: Product, at: int = -1) -> Grants:
        """Give what a version that was active was granted: the one of now, or of `at`."""
        grants = self.grants.get(product, ())
        return grants[at] if len(grants) >= abs(at) else ()


@frozen
class Wish:
    """What is wanted of one version, or of the one before."""

    kind: Literal["mend", "install", "activate", "rollback", "uninstall"]
    name: str = ""
    version: str = ""
    pids: tuple[str, ...] = ()
    grants: Grants = ()
    """Of an activation."""


@frozen
class Step:
    """One thing to do. Doing it twice is as doing it once."""

    kind: Literal["clear", "build", "publish", "record_installed", "record_active", "link", "record_removed", "hide"]
    name: str = ""
    version: str = ""
    pid: str = ""
    event: str = ""
    """Of a record: how it came to be active."""
    grants: Grants = ()
    """Of a record: the needs that are granted."""


def plan(state: State, wish: Wish) -> list[Step]:
    """Give the steps. Raises BundleError 2005 to 2007 where the wish can't come true."""
    steps, mended = _mending(state)
    if wish.kind == "install":
        return steps + _install(mended, wish)
    if wish.kind == "activate":
        return steps + _activate(mended, wish)
    if wish.kind == "rollback":
        return steps + _rollback(mended, wish)
    if wish.kind == "uninstall":
        return steps + _uninstall(mended, wish)
    return steps


def _mending(state: State) -> tuple[list[Step], State]:
    """Complete what is on record, take back what isn't; give the state that it leads to."""
    steps = [Step("clear", name=folder) for folder in sorted(state.left)]
    installed = dict(state.installed)
    for (name, version), identity in sorted(state.installed.items()):
        if identity in state.removed:
            steps += [Step("hide", name, version), Step("clear", name=hidden(name, version))]
            del installed[name, version]
        elif identity not in state.recorded:
            steps.append(Step("record_installed", name, version))
    active = dict(state.active)
    for (name, pid), versions in sorted(state.wanted.items()):
        if versions and active.get((name, pid)) != versions[-1] and (name, versions[-1]) in installed:
            steps.append(Step("link", name, versions[-1], pid))
            active[name, pid] = versions[-1]
    return steps, evolve(state, installed=installed, active=active, left=frozenset())


def hidden(name: str, version: str) -> str:
    """Give the folder of a version that is being removed, below the root."""
    return f"{name}/.{version}.gone"


def part(name: str, version: str) -> str:
    """Give the folder of a version that is being made, below the root."""
    return f"{name}/.{version}.part"


def _install(state: State, wish: Wish) -> list[Step]:
    if (wish.name, wish.version) in state.installed:
        text = f"{wish.name}=={wish.version} is installed already; hint: uninstall it first, or raise the version"
        raise BundleError(ErrorCode.INSTALL_FAILED, text)
    kinds: tuple[Literal["build", "publish", "record_installed"], ...] = ("build", "publish", "record_installed")
    return [Step(kind, wish.name, wish.version) for kind in kinds]


def _activate(state: State, wish: Wish) -> list[Step]:
    _check_installed(state, wish.name, wish.version)
    return [
        step
        for pid in wish.pids
        for step in (
            Step("record_active", wish.name, wish.version, pid, "activated", wish.grants),
            Step("link", wish.name, wish.version, pid),
        )
        if (state.active.get((wish.name, pid)), state.granted((wish.name, pid))) != (wish.version, wish.grants)
    ]


def _rollback(state: State, wish: Wish) -> list[Step]:
    steps = []
    for pid in wish.pids:
        versions = state.wanted.get((wish.name, pid), ())
        if len(versions) < 2:
            what = f"nothing of {wish.name} was active for {pid} before {versions[-1] if versions else 'now'}"
            raise BundleError(ErrorCode.ACTIVATION_CONFLICT, f"{what}; hint: procvision history")
        _check_installed(state, wish.name, versions[-2])
        grants = state.granted((wish.name, pid), -2)
        steps.append(Step("record_active", wish.name, versions[-2], pid, "rolled back", grants))
        steps.append(Step("link", wish.name, versions[-2], pid))
    return steps


def _uninstall(state: State, wish: Wish) -> list[Step]:
    _check_installed(state, wish.name, wish.version)
    pids = sorted(pid for (name, pid), version in state.active.items() if (name, version) == (wish.name, wish.version))
    if pids:
        text = f"{wish.name}=={wish.version} is active for {', '.join(pids)}; hint: activate another version first"
        raise BundleError(ErrorCode.UNSAFE_UNINSTALL, text)
    return [
        Step("record_removed", wish.name, wish.version),
        Step("hide", wish.name, wish.version),
        Step("clear", name=hidden(wish.name, wish.version)),
    ]


def _check_installed(state: State, name: str, version: str) -> None:
    if (name, version) not in state.installed:
        known = ", ".join(f"{other}=={number}" for other, number in sorted(state.installed)) or "nothing"
        text = f"{name}=={version} is not installed; hint: installed is {known}"
        raise BundleError(ErrorCode.ACTIVATION_CONFLICT, text)
