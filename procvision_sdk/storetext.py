"""What `--sessions SCHEME:REST?KEY=VALUE` says: the options in the text, which are stronger than the plugin's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from procvision_sdk.hookspecs import HookOption, HookOptionError
from procvision_sdk.session import SessionStoreError


class StoreText(NamedTuple):
    """`place` is the text up to its query, `values` the options' values by key, `others` what no option knows."""

    place: str
    values: dict[str, Any]
    others: list[tuple[str, str]]


def parse_store_text(text: str, options: Sequence[HookOption], configured: Mapping[str, Any]) -> StoreText:
    """Return the text of a store, with the values that `procvision_configure` was given, completed with the defaults.

    Raises SessionStoreError naming the key, the bound and the value.
    """
    place, _, query = text.partition("?")
    known = {option.key: option for option in options}
    values = {key: configured.get(key, option.default) for key, option in known.items()}
    others: list[tuple[str, str]] = []
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in known:
            others.append((key, value))
            continue
        try:
            values[key] = known[key].checked(value, f"{key} in {shown(place)}", from_text=True)
        except HookOptionError as error:
            raise SessionStoreError(str(error)) from None
    return StoreText(place, values, others)


def shown(text: str) -> str:
    """Return the text without its query and without a password: what may stand in a log."""
    try:
        parts = urlsplit(text.partition("?")[0])
    except ValueError:  # such as an address that lacks its bracket: what of it is a password can't be told
        return f"{text.partition(':')[0]}:…"
    user, at, address = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    return urlunsplit(parts._replace(netloc=f"{name}{colon and ':***'}{at}{address}"))
