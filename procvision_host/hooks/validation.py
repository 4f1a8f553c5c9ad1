"""Finds faults of a plugin's implementations: those that pluggy would take, and that would never run."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from procvision_sdk import hookspecs

_MARK = f"{hookspecs.PROJECT}_impl"


def problems(plugin: object) -> list[str]:
    """Return one text for each implementation that could never do its work."""
    return [f"{name} {problem}" for name in _marked(plugin) if (problem := _problem(plugin, name)) is not None]


def _marked(plugin: object) -> Iterator[str]:
    # Statically: looking at a plugin must not run its properties.
    for name in dir(plugin):
        if hasattr(inspect.getattr_static(plugin, name, None), _MARK):
            yield name


def _problem(plugin: object, name: str) -> str | None:
    if name not in hookspecs.SORTS:
        return "is no hook: there is none of this name"
    function = getattr(plugin, name)
    marked = getattr(function, _MARK)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return "is async: a hook is a plain function, nobody would await it"
    if marked.get("wrapper") or marked.get("hookwrapper"):
        return "is marked as a wrapper of the other plugins: each is called by itself; hint: procvision_around_call"
    if inspect.isgeneratorfunction(function) and hookspecs.SORTS[name] != "wrapper":
        return "is a generator: nothing of it would run; hint: yield belongs into procvision_around_call"
    return None
