"""The hook plugins of one host: which there are, what they give, and that their failures stay their own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import pluggy
from importlib_metadata import entry_points

from procvision_host import builtin
from procvision_host.logs import HOST_LOGGER
from procvision_sdk import hookspecs
from procvision_sdk.errors import ProcVisionError


class HookPluginError(ProcVisionError):
    """A hook plugin that is part of this host's configuration can't be used: the host exits 78."""


@attrs.frozen
class HookRow:
    """One installed hook plugin, usable if `error` is None."""

    name: str
    distribution: str | None
    error: str | None


class Hooks:
    """A plugin manager made for one host; nothing of it is shared."""

    def __init__(self, *, load_installed: bool = True) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._log = logging.getLogger(HOST_LOGGER)
        self.rows: list[HookRow] = []
        for name, plugin in builtin.plugins().items():
            self._manager.register(plugin, name)
        if load_installed:
            for entry_point in entry_points(group=hookspecs.ENTRY_POINT_GROUP):
                self._load(entry_point)
        self.call_finished = self._observers("procvision_call_finished")

    def _load(self, entry_point: Any) -> None:
        error: str | None = None
        try:
            plugin = entry_point.load()
            self._manager.register(plugin, entry_point.name)
            misspelt = _misspelt(plugin)
            if misspelt:
                self._manager.unregister(plugin)
                error = f"it implements {', '.join(misspelt)}: there is no such hook"
        except Exception as cause:  # noqa: BLE001 - one broken plugin leaves the others usable
            error = f"{type(cause).__name__}: {cause}"
        if error is not None:
            self._log.error("hook plugin %s is left out: %s", entry_point.name, error)
        distribution = entry_point.dist.metadata["Name"] if entry_point.dist else None
        self.rows.append(HookRow(entry_point.name, distribution, error))

    def _observers(self, hook: str) -> tuple[tuple[str, Callable[..., None]], ...]:
        """The implementations of an observer, each by its plugin's name; empty costs nothing on a call."""
        caller = getattr(self._manager.hook, hook)
        return tuple(
            (implementation.plugin_name, _with_known_arguments(implementation))
            for implementation in reversed(caller.get_hookimpls())
        )

    def notify(self, hook: str, **arguments: Any) -> None:
        """Calls every observer of a hook; one that raises is named in the log and changes nothing."""
        self.notify_all(self._observers(hook), arguments)

    def notify_all(self, observers: tuple[tuple[str, Callable[..., None]], ...], arguments: dict[str, Any]) -> None:
        """The same with observers looked up before."""
        for name, observer in observers:
            try:
                observer(**arguments)
            except Exception:  # noqa: BLE001 - foreign code
                self._log.exception("hook plugin %s raised; it changes nothing", name)

    def image_backends(self) -> Mapping[str, Callable[[], Any]]:
        """The image backends' factories by scheme."""
        return _merged(self._manager.hook.procvision_image_backends(), "image backend")

    def session_stores(self) -> Mapping[str, Callable[[str], Any]]:
        """The session stores' factories by scheme."""
        return _merged(self._manager.hook.procvision_session_stores(), "session store")


def _misspelt(plugin: object) -> list[str]:
    """The names of implementations that fit no specification; pluggy would accept and never call them."""
    marker = f"{hookspecs.PROJECT}_impl"
    return [name for name in dir(plugin) if hasattr(getattr(plugin, name), marker) and not hasattr(hookspecs, name)]


def _with_known_arguments(implementation: Any) -> Callable[..., None]:
    """The function, called with those of the arguments that it names."""
    names = implementation.argnames
    function: Callable[..., None] = implementation.function

    def call(**arguments: Any) -> None:
        function(**{name: arguments[name] for name in names})

    return call


def _merged(maps: list[Mapping[str, Any]], what: str) -> Mapping[str, Any]:
    merged: dict[str, Any] = {}
    for one in maps:
        for scheme, factory in one.items():
            if scheme in merged:
                raise HookPluginError(f"two hook plugins give an {what} for the scheme {scheme!r}")
            merged[scheme] = factory
    return merged
