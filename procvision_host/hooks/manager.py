"""The hook plugins of one host: which are installed, which are used, and what they implement."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Any

import attrs
import pluggy
from importlib_metadata import EntryPoint, entry_points

from procvision_host import builtin
from procvision_host.configuration import ConfigurationError, HookPluginError
from procvision_host.hooks.isolation import Isolation, Observer
from procvision_host.hooks.selection import HookChoice, IsolationPolicy, MissingValueError
from procvision_host.hooks.validation import problems
from procvision_host.logs import HOST_LOGGER, shown, warnings_heard
from procvision_sdk import hookspecs
from procvision_sdk.distributions import AmbiguousNameError, of_one_distribution
from procvision_sdk.hookspecs import ENTRY_POINT_GROUP, HookOption
from procvision_sdk.private_files import make_private_folder

IN_THE_BOX = "in the box"
OBSERVERS_END_S = 2.0
"""How long the host waits at its end for observers that still have events to see."""


@attrs.frozen
class HookRow:
    """One hook plugin: used if `active`, and if not, `reason` says why; `error` where it is broken."""

    name: str
    distribution: str | None
    version: str | None
    entry_point: str
    active: bool
    chosen_by: str
    implements: tuple[str, ...] = ()
    options: tuple[HookOption, ...] = ()
    values: Mapping[str, Any] = MappingProxyType({})
    reason: str | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()
    """What it logged when it was configured: it is used, and not as it was meant."""


class Hooks:
    """A plugin manager made for one host; nothing of it is shared.

    Raises ConfigurationError where a plugin that was asked for by name can't be used.
    """

    def __init__(self, choice: HookChoice | None = None) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._log = logging.getLogger(HOST_LOGGER)
        self._choice = choice = choice or HookChoice()
        self.rows: list[HookRow] = []
        self._policies: dict[str, IsolationPolicy] = {}
        for name, entry_point in builtin.PLUGINS.items():
            row = HookRow(name, None, None, entry_point, active=False, chosen_by=IN_THE_BOX)
            self._take(row, partial(builtin.load, name))
        self._take_installed()
        known = {row.name for row in self.rows}
        for name, where in choice.wanted.items():
            if name not in known:
                raise ConfigurationError(
                    f"{where} asks for the hook plugin {name!r}, which isn't installed; known are "
                    f"{', '.join(sorted(known))}; hint: procvision-host hooks shows what is there"
                )
        self.observers = self._observers()

    # --- loading --------------------------------------------------------------------------------------------

    def _take_installed(self) -> None:
        """Load the installed plugins that were named. Nothing of the others is imported: they are rows."""
        found = [(entry_point, _installed(entry_point)) for entry_point in entry_points(group=ENTRY_POINT_GROUP)]
        self._choice = choice = self._choice.naming_the_store(
            row.name for _, row in found if row.name not in builtin.PLUGINS
        )
        meant = {name: self._meant(name, [row for _, row in found if row.name == name]) for name in choice.wanted}
        for entry_point, row in found:
            name = row.name
            if name in builtin.PLUGINS:
                # Neither the one in the box is touched nor what was said of it.
                self._log.error("there is another hook plugin %r: that of %s is left out", name, row.entry_point)
                error = f"there is another hook plugin {name!r}: this one is left out"
                self.rows.append(attrs.evolve(row, error=error))
            elif name in choice.wanted and row not in meant[name]:
                reason = f"that of {choice.distributions[name]} is named"
                self.rows.append(attrs.evolve(row, reason=reason, chosen_by=choice.wanted[name]))
            elif name in choice.wanted or name in choice.refused:
                self._take(row, entry_point.load)
            else:
                self.rows.append(attrs.evolve(row, reason=f"it is installed, and nobody names it; hint: --hook {name}"))

    def _meant(self, name: str, rows: Sequence[HookRow]) -> Sequence[HookRow]:
        """Return the rows that the name of a plugin means."""
        distribution = self._choice.distributions.get(name)
        what = f"the hook plugin {name!r}, which {self._choice.wanted[name]} asks for,"
        if name in builtin.PLUGINS:
            if distribution is not None:
                raise ConfigurationError(f"{what} is in the box: it is not of the distribution {distribution!r}")
            return ()
        try:
            return of_one_distribution(what, rows, lambda row: row.distribution, distribution) if rows else ()
        except AmbiguousNameError as error:
            raise ConfigurationError(str(error)) from None

    def _take(self, row: HookRow, load: Callable[[], Any]) -> None:
        """Make a row of one plugin. Only a plugin that was asked for by name may stop the host."""
        choice, name = self._choice, row.name
        if name in choice.wanted:
            row = attrs.evolve(row, chosen_by=choice.wanted[name])
        if name in choice.refused:
            row = attrs.evolve(row, chosen_by=choice.refused[name])
            self.rows.append(attrs.evolve(row, reason=f"refused by {row.chosen_by}"))
            return
        try:
            self._register(row, load)
        except MissingValueError as missing:
            if name in choice.wanted:
                raise ConfigurationError(f"hook plugin {name}: {missing}") from None
            self._forget(name)
            self.rows.append(attrs.evolve(self._described(row, load), reason=str(missing)))
        except BaseException as cause:
            self._forget(name)
            ours = isinstance(cause, ConfigurationError)
            error = str(cause) if ours else f"{type(cause).__name__}: {shown(cause)}"
            if name in choice.wanted:
                # A wrong value is the configuration's fault, whatever else goes wrong the plugin's.
                kind = type(cause) if ours else HookPluginError
                raise kind(f"hook plugin {name} ({row.chosen_by}) is broken: {error}") from cause
            self._log.error("hook plugin %s is left out: %s", name, error)
            self.rows.append(attrs.evolve(row, error=error))

    def _register(self, row: HookRow, load: Callable[[], Any]) -> None:
        plugin = load()
        if inspect.isclass(plugin):
            plugin = plugin()
        found = problems(plugin)
        if found:
            raise HookPluginError("; ".join(found))
        self._manager.register(plugin, row.name)
        options = self._options(row.name)
        values, policy = self._choice.values(row.name, options)
        configure = self._implementations("procvision_configure").get(row.name)
        heard: list[str] = []
        if configure is not None:
            with warnings_heard(heard.append):
                configure(values=MappingProxyType(values))
        self._policies[row.name] = policy
        implements = tuple(hook for hook in hookspecs.SORTS if row.name in self._implementations(hook))
        used = attrs.evolve(row, active=True, implements=implements, options=options, warnings=tuple(heard))
        self.rows.append(attrs.evolve(used, values=MappingProxyType(values)))

    def _described(self, row: HookRow, load: Callable[[], Any]) -> HookRow:
        """Return the row of a plugin that isn't used, with what it would give. Its module is imported already."""
        plugin = load()
        marker = f"{hookspecs.PROJECT}_impl"
        implements = tuple(hook for hook in hookspecs.SORTS if hasattr(getattr(plugin, hook, None), marker))
        asked: Any = plugin() if inspect.isclass(plugin) else plugin
        return attrs.evolve(row, implements=implements, options=tuple(asked.procvision_options()))

    def _options(self, name: str) -> tuple[HookOption, ...]:
        implementation = self._implementations("procvision_options").get(name)
        return () if implementation is None else tuple(implementation())

    def _forget(self, name: str) -> None:
        self._policies.pop(name, None)
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)

    # --- looking up -----------------------------------------------------------------------------------------

    def _implementations(self, hook: str) -> dict[str, Callable[..., Any]]:
        """Return a hook's functions by plugin, in order of registration. Each gets the arguments that it names."""
        caller = getattr(self._manager.hook, hook)
        return {one.plugin_name: _with_known_arguments(one) for one in caller.get_hookimpls()}

    def _observers(self) -> tuple[Observer, ...]:
        functions: dict[str, dict[str, Callable[..., None]]] = {}
        for hook, sort in hookspecs.SORTS.items():
            if sort == "observer":
                for name, function in self._implementations(hook).items():
                    functions.setdefault(name, {})[hook] = function
        return tuple(
            Observer(Isolation(name, "observer", self._policies[name]), found) for name, found in functions.items()
        )

    def listening(self, *hooks: str) -> bool:
        """Tell whether any plugin observes one of these hooks. Events without an observer are not even made."""
        return any(observer.listens(hook) for observer in self.observers for hook in hooks)

    def hidden(self) -> list[str]:
        """Return the files and folders of the plugins in use that no algorithm is to see; folders are made."""
        found = []
        for row in self.rows:
            for option in row.options if row.active else ():
                value = row.values.get(option.key)
                if option.hidden is None or not value:
                    continue
                path = Path(value).absolute()
                if option.hidden == "folder":
                    with suppress(OSError):  # the plugin says so itself, when it comes to it
                        make_private_folder(path)
                found.append(str(path))
        return found

    def around_call(self) -> tuple[tuple[Isolation, Callable[..., Any]], ...]:
        """Return the wrappers around a call."""
        found = self._implementations("procvision_around_call")
        return tuple((Isolation(name, "wrapper", self._policies[name]), function) for name, function in found.items())

    def image_backends(
        self, own: Mapping[str, Callable[[], Any]] = MappingProxyType({})
    ) -> Mapping[str, Callable[[], Any]]:
        """Return the image backends' factories by scheme, with the host's `own`. Raises ConfigurationError."""
        return self._merged("procvision_image_backends", own)

    def session_stores(self) -> Mapping[str, Callable[[str], Any]]:
        """Return the session stores' factories by scheme. Raises ConfigurationError."""
        return self._merged("procvision_session_stores")

    def _merged(self, hook: str, own: Mapping[str, Any] = MappingProxyType({})) -> Mapping[str, Any]:
        merged: dict[str, Any] = dict(own)
        givers: dict[str, str] = dict.fromkeys(own, "host")
        for name, implementation in self._implementations(hook).items():
            try:
                given = dict(implementation())
            except Exception as cause:
                raise HookPluginError(
                    f"hook plugin {name}: {hook} raised {type(cause).__name__}: {shown(cause)}"
                ) from cause
            for scheme, factory in given.items():
                if scheme in merged:
                    raise ConfigurationError(
                        f"the hook plugins {givers[scheme]} and {name} both answer for the scheme {scheme!r}; "
                        f"hint: --no-hook {name} leaves one out"
                    )
                merged[scheme], givers[scheme] = factory, name
        return merged

    # --- telling --------------------------------------------------------------------------------------------

    def tell(self, hook: str, arguments: Callable[[], dict[str, Any]], size: int = 0) -> None:
        """Tell every observer of a hook, and return at once. `arguments` is called once for each, on its thread.

        `size` is how many bytes it holds until then.
        """
        for observer in self.observers:
            if observer.listens(hook):
                observer.tell(hook, arguments, size)

    def end(self, timeout_s: float = OBSERVERS_END_S) -> None:
        """Wait for the observers, `timeout_s` at most for all of them."""
        deadline = monotonic() + timeout_s
        for observer in self.observers:
            observer.end(deadline - monotonic())


def _installed(entry_point: EntryPoint) -> HookRow:
    distribution = entry_point.dist
    return HookRow(
        entry_point.name,
        distribution.metadata["Name"] if distribution else None,
        distribution.version if distribution else None,
        entry_point.value,
        active=False,
        chosen_by="installed",
    )


def _with_known_arguments(implementation: Any) -> Callable[..., Any]:
    """Return the function, called with those of the arguments that it names."""
    names: Sequence[str] = implementation.argnames
    function: Callable[..., Any] = implementation.function

    def call(**arguments: Any) -> Any:
        return function(**{name: arguments[name] for name in names})

    return call


__all__ = ["HookRow", "Hooks", "IsolationPolicy"]
