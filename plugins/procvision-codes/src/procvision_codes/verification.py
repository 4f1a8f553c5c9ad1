"""Judges what was read: pure functions from codes and settings to problems. No problem is an OK."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from procvision_codes import gs1, iso15434
from procvision_codes.elements import Element, shown
from procvision_codes.errors import ContentError
from procvision_codes.geometry import Box
from procvision_codes.reading import Code, Found
from procvision_codes.settings import Match, Settings, Syntax
from procvision_codes.symbologies import GTIN_CARRIERS

_NOT_JUDGED = frozenset({"malformed", "uncertain"})
"""What isn't held against what is expected: it doesn't say what it says."""


class Problem(NamedTuple):
    """One reason for an NG."""

    label: str
    """missing, unreadable, uncertain, surplus, malformed, wrong, duplicate or poor."""
    reason: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Verified:
    """What came of the codes."""

    problems: tuple[Problem, ...]
    elements: tuple[tuple[Element, ...], ...]
    """The elements of each code, empty where there is no syntax or it is broken."""


def verify(found: Found, settings: Settings, searched: Box, elsewhere: Mapping[str, int]) -> Verified:
    """Hold what was read against what was asked for.

    Args:
        found: codes in the picture's pixels.
        searched: the region; where something is missing, it is missing there.
        elsewhere: digests of what other steps read, with the step's number.
    """
    problems = [*_count(found, settings, searched)]
    elements: list[tuple[Element, ...]] = []
    for code in found.codes:
        try:
            elements.append(elements_of(code, settings.syntax))
        except ContentError as error:
            elements.append(())
            problems.append(Problem("malformed", f"{name(code)}: {error}", (code.box,)))
    problems += [
        Problem("uncertain", f"{name(code)} is uncertain: {code.doubt}", (code.box,))
        for code in found.codes
        if code.doubt is not None
    ]
    left_out = {problem.boxes for problem in problems if problem.label in _NOT_JUDGED}
    # With other codes allowed, one that isn't judged matters only if it may be the one that isn't found.
    judged = [(code, parsed) for code, parsed in zip(found.codes, elements, strict=True) if (code.box,) not in left_out]
    matching = _match(judged, settings, searched)
    if settings.allow_other_codes and not matching and len(judged) >= settings.at_least:
        problems = [problem for problem in problems if problem.label not in _NOT_JUDGED]
    problems += matching
    if settings.duplicates_are_ng:
        problems += _duplicates(found.codes, elsewhere)
    for code in found.codes:
        problems += _quality(code, settings)
    return Verified(tuple(problems), tuple(elements))


def name(code: Code) -> str:
    """A code for a sentence."""
    return f"{code.symbology} {shown(code.text)}"


def elements_of(code: Code, syntax: Syntax) -> tuple[Element, ...]:
    """The elements of a code's content. Raises ContentError."""
    if syntax is Syntax.NONE:
        return ()
    text = code.content.decode("latin-1")
    if syntax is Syntax.ISO15434:
        return tuple(element for each in iso15434.parse(text) for element in each.elements)
    if code.symbology in GTIN_CARRIERS:
        return gs1.gtin_elements(text)
    if not code.gs1:
        raise ContentError(0, "FNC1 isn't in the first position, so the code isn't marked as GS1's")
    return gs1.parse(text)


def _count(found: Found, settings: Settings, searched: Box) -> list[Problem]:
    count = len(found.codes)
    if count > settings.at_most:
        boxes = tuple(code.box for code in found.codes)
        return [Problem("surplus", f"{count} codes read, at most {settings.at_most} expected", boxes)]
    if count >= settings.at_least:
        return []
    x, y, width, height = searched
    where = f"in the region x={x}, y={y}, {width} x {height} px"
    what = f"no code read {where}" if count == 0 else f"{count} of at least {settings.at_least} codes read {where}"
    if found.cut_short is not None:
        what += f" (the search was cut short: {found.cut_short})"
    if not found.unreadable:
        return [Problem("missing", what, (searched,))]
    kinds = ", ".join(dict.fromkeys(f"{each.what} ({each.why})" for each in found.unreadable))
    return [Problem("unreadable", f"{what}; there is something unreadable: {kinds}", _boxes_of(found))]


def _boxes_of(found: Found) -> tuple[Box, ...]:
    return tuple(dict.fromkeys(each.box for each in found.unreadable))


def _field(judged: Sequence[tuple[Code, tuple[Element, ...]]], settings: Settings) -> list[Problem]:
    if not settings.field or settings.allow_other_codes:
        return []
    return [
        Problem("malformed", f"{name(code)} has no field {settings.field}", (code.box,))
        for code, elements in judged
        if not _values(code, elements, settings)
    ]


def _values(code: Code, elements: Sequence[Element], settings: Settings) -> list[str]:
    if not settings.field:
        return [code.text]
    return [element.value for element in elements if element.identifier == settings.field]


def _fits(value: str, expected: str, match: Match) -> bool:
    if match is Match.EXACT:
        return value == expected
    if match is Match.PREFIX:
        return value.startswith(expected)
    return re.fullmatch(expected, value) is not None


def _match(judged: Sequence[tuple[Code, tuple[Element, ...]]], settings: Settings, searched: Box) -> list[Problem]:
    problems = _field(judged, settings)
    if settings.match is Match.NONE:
        return problems
    missing = dict.fromkeys(settings.expected)
    wrong: list[Problem] = []
    for code, elements in judged:
        values = _values(code, elements, settings)
        fitting = [each for each in settings.expected if any(_fits(v, each, settings.match) for v in values)]
        for each in fitting:
            missing.pop(each, None)
        if values and not fitting:
            part = f" in field {settings.field}, {', '.join(map(shown, values))}," if settings.field else ""
            wrong.append(Problem("wrong", f"{name(code)}{part} is not {_asked(settings)}", (code.box,)))
    if not settings.allow_other_codes:
        problems += wrong
    # With one expected content, a code that reads wrong or lacks the field says it already.
    if missing and not (problems and len(settings.expected) == 1) and judged:
        texts = ", ".join(map(shown, missing))
        problems.append(
            Problem("missing", f"{settings.match} {texts} of {settings.expected_from} not found", (searched,))
        )
    return problems


def _asked(settings: Settings) -> str:
    how = {Match.EXACT: "", Match.PREFIX: "a content beginning with ", Match.PATTERN: "a content of the pattern "}
    return f"{how[settings.match]}{' or '.join(map(shown, settings.expected))} ({settings.expected_from})"


def _duplicates(codes: Sequence[Code], elsewhere: Mapping[str, int]) -> list[Problem]:
    problems: list[Problem] = []
    first: dict[str, Code] = {}
    for code in codes:
        if code.digest in elsewhere:
            problems.append(
                Problem("duplicate", f"{name(code)} was read in step {elsewhere[code.digest]} already", (code.box,))
            )
        elif code.digest in first:
            other = first[code.digest]
            problems.append(Problem("duplicate", f"{name(code)} is there twice", (other.box, code.box)))
        first.setdefault(code.digest, code)
    return problems


def _quality(code: Code, settings: Settings) -> list[Problem]:
    problems: list[Problem] = []
    if code.contrast < settings.min_contrast:
        reason = f"{name(code)} has a contrast of {code.contrast:.2f}, at least {settings.min_contrast:g} is asked for"
        problems.append(Problem("poor", reason, (code.box,)))
    unused = code.facts.get("unused_error_correction")
    if unused is not None and unused < settings.min_unused_error_correction:
        reason = (
            f"{name(code)} has {unused:.2f} of its error correction left,"
            f" at least {settings.min_unused_error_correction:g} is asked for"
        )
        problems.append(Problem("poor", reason, (code.box,)))
    return problems
