"""Decides which hook plugins a host uses, and with which values: command line over file over environment. Pure.

    selected   --hook NAME, --no-hook NAME, `[hooks.NAME]` (`enabled = false` refuses), PROCVISION_HOOKS="NAME,-NAME"
    values     --hook-option NAME.KEY=VALUE, `[hooks.NAME] KEY = VALUE`, PROCVISION_HOOK_NAME_KEY

A plugin in the box is used unless it lacks a value that it requires. One that is only installed is never imported:
somebody has to name it, since its code sees what the host knows. Who asks for one of our session stores by its scheme
does. NAME@DISTRIBUTION names the distribution as well, which is needed where two have a plugin of one name. One that is
named and can't be used is a wrong configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from procvision_host.configuration import ConfigurationError
from procvision_sdk.distributions import split
from procvision_sdk.hookspecs import HookOption, HookOptionError

SELECTION_VARIABLE = "PROCVISION_HOOKS"
VALUE_PREFIX = "PROCVISION_HOOK_"


@attrs.frozen
class IsolationPolicy:
    """When an observer or wrapper is named as slow, and when it is switched off. Keys of every `[hooks.NAME]`."""

    slow_ms: float = 50.0
    """An observer that keeps up with ten calls a second with room to spare."""
    max_failures: int = 10
    """So many failures in a row are no accident."""


COMMON_OPTIONS = (
    HookOption("slow_ms", float, IsolationPolicy().slow_ms, "what takes longer is named in the log", minimum=0),
    HookOption("max_failures", int, IsolationPolicy().max_failures, "failures in a row until switched off", minimum=1),
)
"""What every plugin's table may hold beside the plugin's own options."""


OUR_STORES: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("redis", "rediss", "redis+unix"), ("redis-sessions", "procvision-redis")),
    **dict.fromkeys(("postgresql", "postgres"), ("postgres-sessions", "procvision-postgres")),
}
"""The schemes of session stores of ours that aren't in the box, with their hook plugin and its distribution."""
_TABLE_KEYS = ("enabled", "distribution")
"""Keys of `[hooks.NAME]` that choose the plugin, and are no values of its options."""


@attrs.frozen
class HookChoice:
    """What was asked for, by whom; made by `choose`."""

    wanted: Mapping[str, str] = attrs.field(factory=dict)
    """The plugins asked for by name, and where."""
    distributions: Mapping[str, str] = attrs.field(factory=dict)
    """The distribution of a plugin, where it was named."""
    refused: Mapping[str, str] = attrs.field(factory=dict)
    given: Mapping[str, Mapping[str, tuple[Any, str]]] = attrs.field(factory=dict)
    """Values by plugin and key, each with where it stands."""
    environment: Mapping[str, str] = attrs.field(factory=dict)
    store: str = ""
    """The scheme of the session store that was asked for; it names a plugin, too."""

    def naming_the_store(self, installed: Iterable[str]) -> HookChoice:
        """Return the choice in which the scheme of a store of ours has named our plugin, if it is installed.

        Any other package could call its plugin by any scheme, so the plugin of another store is named like all others.
        """
        name, distribution = OUR_STORES.get(self.store, ("", ""))
        if name not in set(installed) or name in self.wanted or name in self.refused:
            return self
        wanted, distributions = {**self.wanted, name: "--sessions"}, {**self.distributions, name: distribution}
        return attrs.evolve(self, wanted=wanted, distributions=distributions)

    def values(self, name: str, options: Sequence[HookOption]) -> tuple[dict[str, Any], IsolationPolicy]:
        """Return a plugin's values, completed with defaults, and its policy.

        Raises MissingValueError for a required value that nobody gives, ConfigurationError for one that is wrong.
        """
        known = {option.key: option for option in (*options, *COMMON_OPTIONS)}
        given = self.given.get(name, {})
        for key, (_, where) in given.items():
            if key not in known:
                raise ConfigurationError(f"{where}: there is no such option, known are {', '.join(known)}")
        values: dict[str, Any] = {}
        for key, option in known.items():
            found = given.get(key) or self._from_environment(name, key)
            if found is not None:
                values[key] = _checked(option, *found)
            elif option.required:
                raise MissingValueError(
                    f"it needs a value for {key} ({option.help}); hint: [hooks.{name}] {key} = … in the configuration "
                    f"file, or --hook-option {name}.{key}=…"
                )
            else:
                values[key] = option.default
        policy = IsolationPolicy(values.pop("slow_ms"), values.pop("max_failures"))
        return values, policy

    def _from_environment(self, name: str, key: str) -> tuple[str, str] | None:
        variable = VALUE_PREFIX + re.sub(r"[^A-Z0-9]", "_", f"{name}_{key}".upper())
        value = self.environment.get(variable)
        return None if value is None else (value, variable)


class MissingValueError(ConfigurationError):
    """A required option has no value: the plugin stays unused, unless it was asked for."""


def choose(
    *,
    named: bool = True,
    hook: Sequence[str] = (),
    no_hook: Sequence[str] = (),
    hook_option: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    store: str = "",
) -> HookChoice:
    """Combine the sources in order of strength. Raises ConfigurationError naming what is wrong and where.

    `named` says whether the file and the environment may name plugins, or the command line alone. `store` is the scheme
    of the session store.
    """
    choice = _Choice(environment or {})
    # The weakest first: what comes later replaces it.
    choice.take_environment(named=named)
    choice.take_file(config or {}, named=named)
    for name in no_hook:
        choice.refuse(name, "--no-hook")
    for text in hook:
        choice.want(text, "--hook")
    for text in hook_option:
        choice.take_option(text)
    return HookChoice(choice.wanted, choice.distributions, choice.refused, choice.given, choice.environment, store)


class _Choice:
    """A choice that is being made."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.wanted: dict[str, str] = {}
        self.distributions: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.given: dict[str, dict[str, tuple[Any, str]]] = {}

    def want(self, text: str, where: str) -> None:
        try:
            name, distribution = split(text)
        except ValueError as error:
            raise ConfigurationError(f"{where}: {error}") from None
        self.wanted[name] = where
        self.refused.pop(name, None)
        self.distributions.pop(name, None)
        if distribution is not None:
            self.distributions[name] = distribution

    def refuse(self, name: str, where: str) -> None:
        self.refused[name] = where
        self.wanted.pop(name, None)

    def take_environment(self, *, named: bool) -> None:
        for word in filter(None, (word.strip() for word in self.environment.get(SELECTION_VARIABLE, "").split(","))):
            if word[0] == "-":
                self.refuse(word.removeprefix("-"), SELECTION_VARIABLE)
            elif named:
                self.want(word, SELECTION_VARIABLE)

    def take_file(self, config: Mapping[str, Any], *, named: bool) -> None:
        tables = config.get("hooks", {})
        if not isinstance(tables, Mapping):
            raise ConfigurationError("hooks in the configuration file is no table; hint: [hooks.NAME]")
        for name, table in tables.items():
            where = f"[hooks.{name}]"
            if not isinstance(table, Mapping):
                raise ConfigurationError(f"hooks.{name} in the configuration file is no table; hint: {where}")
            enabled, distribution = table.get("enabled", True), table.get("distribution")
            if not isinstance(enabled, bool):
                raise ConfigurationError(f"{where} enabled is {enabled!r}: it is true or false")
            if distribution is not None and not (isinstance(distribution, str) and distribution):
                raise ConfigurationError(f"{where} distribution is {distribution!r:.80}: it is a distribution's name")
            if not enabled:
                self.refuse(name, where)
            elif named:
                self.want(name if distribution is None else f"{name}@{distribution}", where)
            self.given[name] = {
                key: (value, f"{where} {key}") for key, value in table.items() if key not in _TABLE_KEYS
            }

    def take_option(self, text: str) -> None:
        place, equals, value = text.partition("=")
        name, dot, key = place.rpartition(".")
        if not (equals and dot and name and key):
            raise ConfigurationError(f"--hook-option {text!r:.80} is not of the form NAME.KEY=VALUE")
        where = f"--hook-option {name}.{key}"
        self.given.setdefault(name, {})[key] = (value, where)
        if name not in self.wanted and name not in self.refused:
            self.want(name, where)  # a value for a plugin names it, as its table does


def _checked(option: HookOption, value: Any, where: str) -> Any:
    # Text from a command line or the environment stands for a number or a truth; a file's values are typed.
    try:
        return option.checked(value, where, from_text=not where.startswith("["))
    except HookOptionError as error:
        raise ConfigurationError(str(error)) from None
