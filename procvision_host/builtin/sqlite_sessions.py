"""Sessions in an SQLite file: `--sessions sqlite:PATH`.

`sqlite:PATH?durability=full&ttl_s=3600&busy_ms=500`: what stands in the text is stronger than
`[hooks.sqlite-sessions]`. The store itself is `sqlite_store`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import attrs
import msgspec

from procvision_sdk.hookspecs import HookOption, hookimpl
from procvision_sdk.session import SessionStore, SessionStoreError


@attrs.frozen
class SqliteOptions:
    """How a store keeps what it keeps. `ttl_s` and `busy_ms`: seconds, milliseconds."""

    durability: str = attrs.field(default="normal", validator=attrs.validators.in_(("normal", "full")))
    ttl_s: float = attrs.field(default=86_400.0, validator=attrs.validators.gt(0))
    busy_ms: int = attrs.field(default=2000, validator=attrs.validators.ge(0))


def parse(text: str, defaults: Mapping[str, Any]) -> tuple[Path, SqliteOptions]:
    """What `sqlite:PATH?KEY=VALUE` says. Raises SessionStoreError naming what is wrong."""
    path, _, query = text.partition(":")[2].partition("?")
    if not path:
        raise SessionStoreError("it names no file; hint: --sessions sqlite:/var/lib/procvision/sessions.db")
    types = {field.name: field.type for field in attrs.fields(attrs.resolve_types(SqliteOptions))}
    values = dict(defaults)
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in types:
            raise SessionStoreError(f"there is no option {key!r}, known are {', '.join(types)}")
        try:
            values[key] = msgspec.convert(value, types[key], strict=False)
        except msgspec.ValidationError as error:
            raise SessionStoreError(f"{key} is {value!r:.40}: {error}") from None
    try:
        return Path(path), SqliteOptions(**values)
    except ValueError as error:
        raise SessionStoreError(f"the options of {path}: {error.args[0]}") from None


class SqliteSessions:
    """Sessions in a file: `--sessions sqlite:PATH[?durability=full&ttl_s=SECONDS&busy_ms=MILLISECONDS]`."""

    def __init__(self) -> None:
        self._defaults: Mapping[str, Any] = {}

    @hookimpl
    def procvision_options(self) -> Sequence[HookOption]:
        """What the text after `sqlite:` doesn't say."""
        options = SqliteOptions()
        return [
            HookOption(
                "durability",
                str,
                options.durability,
                "`normal` survives the death of a process, `full` also a power cut",
                choices=("normal", "full"),
            ),
            HookOption("ttl_s", float, options.ttl_s, "a session untouched for so many seconds is over", minimum=0.001),
            HookOption("busy_ms", int, options.busy_ms, "how long a call waits for another host's writing", minimum=0),
        ]

    @hookimpl
    def procvision_configure(self, values: Mapping[str, Any]) -> None:
        """Kept as defaults."""
        self._defaults = values

    @hookimpl
    def procvision_session_stores(self) -> Mapping[str, Callable[[str], SessionStore]]:
        """The scheme `sqlite`."""
        return {"sqlite": self._open}

    def _open(self, text: str) -> SessionStore:
        # Imported here: most hosts keep their sessions elsewhere.
        from procvision_host.builtin.sqlite_store import SqliteSessionStore

        return SqliteSessionStore(*parse(text, self._defaults))
