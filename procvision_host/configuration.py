"""A host's configuration: the file, and the errors of all that configures it, which end a host with its own status.

Warning: imported by every start, since the guard of sessions tells of these errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from procvision_host import exits
from procvision_sdk.errors import ErrorCode, ProcVisionError

CONFIG_VARIABLE = "PROCVISION_CONFIG"
_KEYS = ("hooks", "sessions", "grants")


class ConfigurationError(ProcVisionError):
    """A file, a variable or an option that configures the host is wrong: the host exits 78."""

    error_code: ClassVar[str] = ErrorCode.CONFIGURATION_INVALID
    exit_status: int = exits.CONFIGURATION
    retryable: bool = False
    """Whether the same launch may succeed later."""


class HookPluginError(ConfigurationError):
    """A hook plugin that the host's configuration asks for failed: the host exits 78."""

    error_code: ClassVar[str] = ErrorCode.HOOK_PLUGIN_FAILED


def read_config(config: str | None, environment: Mapping[str, str]) -> Mapping[str, Any]:
    """Read the file that the option or the environment names; {} where none does. Raises ConfigurationError."""
    named = config or environment.get(CONFIG_VARIABLE)
    if not named:
        return {}
    import tomllib

    from procvision_sdk.regular_files import MAX_TEXT_BYTES, read_regular

    try:
        read = tomllib.loads(read_regular(named, MAX_TEXT_BYTES).decode())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the configuration file {named} can't be read: {error}") from None
    for key in sorted(read.keys() - set(_KEYS)):  # `[hook.lamp]` would leave the lamp out, and say nothing
        raise ConfigurationError(f"the configuration file {named} has {key!r}, it may have {', '.join(_KEYS)}")
    return read
