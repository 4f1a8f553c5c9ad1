"""Which hook plugins a host uses and with which values: command line over file over environment. Pure.

    selected   --hook NAME, --no-hook NAME, `[hooks.NAME]` (`enabled = false` refuses), PROCVISION_HOOKS="NAME,-NAME"
    values     --hook-option NAME.KEY=VALUE, `[hooks.NAME] KEY = VALUE`, PROCVISION_HOOK_NAME_KEY

A plugin that nobody names is used if it is in the box or installed, unless it lacks a value that it requires. One
that is asked for by name and can't be used is a wrong configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.hookspecs import HookOption, HookOptionError

CONFIG_VARIABLE = "PROCVISION_CONFIG"
SELECTION_VARIABLE = "PROCVISION_HOOKS"
VALUE_PREFIX = "PROCVISION_HOOK_"


class HookPluginError(ProcVisionError):
    """A hook plugin that is part of this host's configuration can't be used: the host exits 78."""


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


@attrs.frozen
class HookChoice:
    """What was asked for, by whom; made by `choose`."""

    installed: bool = True
    wanted: Mapping[str, str] = attrs.field(factory=dict)
    """The plugins asked for by name, and where."""
    refused: Mapping[str, str] = attrs.field(factory=dict)
    given: Mapping[str, Mapping[str, tuple[Any, str]]] = attrs.field(factory=dict)
    """Values by plugin and key, each with where it stands."""
    environment: Mapping[str, str] = attrs.field(factory=dict)

    def values(self, name: str, options: Sequence[HookOption]) -> tuple[dict[str, Any], IsolationPolicy]:
        """A plugin's values, completed with defaults, and its policy.

        Raises MissingValueError for a required value that nobody gives, HookPluginError for one that is wrong.
        """
        known = {option.key: option for option in (*options, *COMMON_OPTIONS)}
        given = self.given.get(name, {})
        for key, (_, where) in given.items():
            if key not in known:
                raise HookPluginError(f"{where}: there is no such option, known are {', '.join(known)}")
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


class MissingValueError(HookPluginError):
    """A required option has no value: the plugin stays unused, unless it was asked for."""


def choose(
    *,
    installed: bool = True,
    hook: Sequence[str] = (),
    no_hook: Sequence[str] = (),
    hook_option: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> HookChoice:
    """Puts the sources in order of strength. Raises HookPluginError naming what is wrong and where."""
    environment = environment or {}
    wanted: dict[str, str] = {}
    refused: dict[str, str] = {}
    given: dict[str, dict[str, tuple[Any, str]]] = {}
    tables = (config or {}).get("hooks", {})
    if not isinstance(tables, Mapping):
        raise HookPluginError("hooks in the configuration file is no table; hint: [hooks.NAME]")

    # The weakest first: what comes later replaces it.
    for word in filter(None, (word.strip() for word in environment.get(SELECTION_VARIABLE, "").split(","))):
        ways = (refused, wanted) if word[0] == "-" else (wanted, refused)
        _select(word.removeprefix("-"), SELECTION_VARIABLE, *ways)
    for name, table in tables.items():
        where = f"[hooks.{name}]"
        if not isinstance(table, Mapping):
            raise HookPluginError(f"hooks.{name} in the configuration file is no table; hint: {where}")
        enabled = table.get("enabled", True)
        if not isinstance(enabled, bool):
            raise HookPluginError(f"{where} enabled is {enabled!r}: it is true or false")
        _select(name, where, *((wanted, refused) if enabled else (refused, wanted)))
        given[name] = {key: (value, f"{where} {key}") for key, value in table.items() if key != "enabled"}
    for name in no_hook:
        _select(name, "--no-hook", refused, wanted)
    for name in hook:
        _select(name, "--hook", wanted, refused)
    for text in hook_option:
        place, equals, value = text.partition("=")
        name, dot, key = place.rpartition(".")
        if not (equals and dot and name and key):
            raise HookPluginError(f"--hook-option {text!r:.80} is not of the form NAME.KEY=VALUE")
        given.setdefault(name, {})[key] = (value, f"--hook-option {name}.{key}")
    return HookChoice(installed, wanted, refused, given, environment)


def _select(name: str, where: str, into: dict[str, str], out_of: dict[str, str]) -> None:
    into[name] = where
    out_of.pop(name, None)


def _checked(option: HookOption, value: Any, where: str) -> Any:
    # Text from a command line or the environment stands for a number or a truth; a file's values are typed.
    try:
        return option.checked(value, where, from_text=not where.startswith("["))
    except HookOptionError as error:
        raise HookPluginError(str(error)) from None
