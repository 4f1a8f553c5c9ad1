"""What the operator asked for, out of the call's parameters and the session's context; contradictions are errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from procvision_codes.errors import SettingsError
from procvision_codes.reading import Effort
from procvision_codes.symbologies import named


class Match(StrEnum):
    """How a content is held against what is expected."""

    NONE = "none"
    EXACT = "exact"
    PREFIX = "prefix"
    PATTERN = "pattern"
    """A regular expression that matches the whole."""


class Syntax(StrEnum):
    """What structures a content."""

    NONE = "none"
    GS1 = "GS1"
    ISO15434 = "ISO15434"


_FIELD = re.compile(r"\d{2,4}|\d{0,3}[A-Z]|[A-Z0-9]{3}", re.ASCII)


@dataclass(frozen=True)
class Settings:
    """One call's settings, free of contradictions."""

    symbologies: tuple[str, ...]
    at_least: int
    at_most: int
    region: Mapping[str, Any] | None
    match: Match
    expected: tuple[str, ...]
    """One or more values; each has to be found."""
    expected_from: str
    """Where they came from, for the reason."""
    allow_other_codes: bool
    syntax: Syntax
    field: str
    """The identifier whose value is compared; empty for the whole content."""
    duplicates_are_ng: bool
    min_contrast: float
    min_unused_error_correction: float
    effort: Effort
    time_limit_s: float


def settings_of(params: Mapping[str, Any], context: Mapping[str, Any]) -> Settings:
    """The settings of a call. Raises SettingsError."""
    at_least, at_most = int(params["min_codes"]), int(params["max_codes"])
    if at_least > at_most:
        raise SettingsError(
            f"min_codes is {at_least} and max_codes is {at_most}", hint="at most as many as at least, or more"
        )
    match, syntax, field = Match(params["match"]), Syntax(params["syntax"]), str(params["field"])
    if field and syntax is Syntax.NONE:
        raise SettingsError(
            f"field is {field!r}, but syntax is none: a content without syntax has no fields",
            hint="set syntax to GS1 or ISO15434, or leave field empty",
        )
    if field and not _FIELD.fullmatch(field):
        raise SettingsError(
            f"field is {field!r}, which is no identifier",
            hint="21 for GS1 or format 05, S or 1P for format 06, SER for format 12",
        )
    expected, origin = _expected(match, str(params["expected"]), str(params["expected_from"]), context)
    if len(expected) > at_most:
        raise SettingsError(
            f"{origin} lists {len(expected)} contents, but max_codes is {at_most}",
            hint="raise max_codes to as many as are expected",
        )
    allow_other_codes = bool(params["allow_other_codes"])
    if allow_other_codes and match is Match.NONE:
        raise SettingsError(
            "allow_other_codes is on, but match is none: there is nothing that the others would differ from",
            hint="set match, or switch allow_other_codes off",
        )
    return Settings(
        symbologies=named(str(params["symbologies"])),
        at_least=at_least,
        at_most=at_most,
        region=params.get("region"),
        match=match,
        expected=expected,
        expected_from=origin,
        allow_other_codes=allow_other_codes,
        syntax=syntax,
        field=field,
        duplicates_are_ng=bool(params["duplicates_are_ng"]),
        min_contrast=float(params["min_contrast"]),
        min_unused_error_correction=float(params["min_unused_error_correction"]),
        effort=Effort(params["effort"]),
        time_limit_s=int(params["time_limit"]) / 1000,
    )


def _expected(match: Match, given: str, key: str, context: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    if match is Match.NONE:
        for name, value in (("expected", given), ("expected_from", key)):
            if value:
                raise SettingsError(
                    f"{name} is {value!r:.80}, but match is none: it would be ignored",
                    hint=f"set match to exact, prefix or pattern, or leave {name} empty",
                )
        return (), ""
    if given and key:
        raise SettingsError(
            f"expected is {given!r:.80} and expected_from is {key!r:.80}: which is it?", hint="leave one of them empty"
        )
    if not given and not key:
        raise SettingsError(
            f"match is {match}, but neither expected nor expected_from says with what",
            hint="set one of them, or match to none",
        )
    values, origin = ((given,), "expected") if given else (_from_context(key, context), f"context[{key!r}]")
    if match is Match.PATTERN:
        for value in values:
            try:
                re.compile(value)
            except re.error as error:
                raise SettingsError(
                    f"{origin} is {value!r:.80}, which is no regular expression: {error}",
                    hint="or did you mean match exact?",
                ) from None
    return values, origin


def _from_context(key: str, context: Mapping[str, Any]) -> tuple[str, ...]:
    """The text or texts under a key; `a.b` looks into an object where there is no key of that very name."""
    value: Any = context
    for part in [key] if key in context else key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise SettingsError(
                f"expected_from is {key!r:.80}, which the session's context doesn't have;"
                f" it has {', '.join(map(str, context)) or 'nothing'}",
                hint="have the runner give the context of the inspection, or mend the key",
            )
        value = value[part]
    values = value if isinstance(value, (list, tuple)) else [value]
    texts = [str(each) for each in values if isinstance(each, (str, int)) and not isinstance(each, bool)]
    if not texts or len(texts) != len(values) or not all(texts):
        raise SettingsError(
            f"context[{key!r:.80}] is {value!r:.80}: a text, a whole number or a list of them is expected, none empty",
            hint="have the runner give the content as a text",
        )
    return tuple(dict.fromkeys(texts))
