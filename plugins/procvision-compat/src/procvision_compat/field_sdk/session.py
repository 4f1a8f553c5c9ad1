"""`Session`: the field's, with the host's state behind it, so that `execute` sees what `pre_execute` stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from procvision_sdk.plain import PlainValueError
from procvision_sdk.session import Session as HostSession


class Session:
    """One inspection. Made by itself it keeps its state in memory; `of` a host's session the host keeps it."""

    def __init__(self, id: str, context: Mapping[str, Any] | None = None) -> None:  # noqa: A002 - the field's name
        self._host = HostSession(id, dict(context or {}))

    @classmethod
    def of(cls, session: HostSession) -> Session:
        """The host's session in the field's form."""
        made = cls.__new__(cls)
        made._host = session
        return made

    @property
    def id(self) -> str:
        """The session's id."""
        return self._host.id

    @property
    def context(self) -> dict[str, Any]:
        """What the runner says of the product; a copy."""
        return dict(self._host.context)

    def get(self, key: str, default: Any = None) -> Any:
        """The value under `key`, or `default`."""
        return self._host.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Keep `value` under `key`. Raises TypeError for what JSON can't carry."""
        try:
            self._host.set(key, value)
        except PlainValueError:
            try:
                # Theirs takes whatever json.dumps takes: dicts with numbers as keys, for one.
                self._host.set(key, json.loads(json.dumps(value, allow_nan=False)))
            except ValueError as error:
                raise TypeError(str(error)) from None

    def delete(self, key: str) -> bool:
        """Forgets `key`; False if it wasn't there."""
        return self._host.delete(key)

    def exists(self, key: str) -> bool:
        """Whether there is a value under `key`."""
        return self._host.exists(key)
