"""GS1 element strings: application identifiers and their values in one string.

GS1 General Specifications, section 7.8: the symbol's FNC1 in the first position says that this is what follows; a
value of variable length ends with a separator (FNC1, which readers transmit as GS, 1D hex) or with the message.
"""

from __future__ import annotations

from collections.abc import Iterable

from procvision_codes.checks import check_checked
from procvision_codes.elements import GS, Element, readable, shown
from procvision_codes.errors import ContentError
from procvision_codes.gs1_identifiers import SET_NAMES, Identifier, Part, identifiers


def parse(message: str, offset: int = 0) -> tuple[Element, ...]:
    """The elements of a message, without the leading FNC1.

    Args:
        message: as a reader transmits it, separators as GS.
        offset: added to the positions, where the message is a part of something larger.

    Raises ContentError with the place and the reason.
    """
    if not message:
        raise ContentError(offset, "there is no element string, the message is empty")
    elements: list[Element] = []
    seen: dict[str, str] = {}
    at = 0
    while at < len(message):
        identifier = _identifier(message, at, offset)
        start = at + len(identifier.digits)
        end = _end(message, start, identifier, offset)
        value = message[start:end]
        _check_value(identifier, value, offset + start)
        before = seen.setdefault(identifier.digits, value)
        if before != value:
            raise ContentError(
                offset + at, f"({identifier.digits}) stands here with {shown(value)} and before with {shown(before)}"
            )
        elements.append(Element(identifier.digits, value, identifier.title, offset + at))
        at = _after(message, end, identifier, offset)
    return tuple(elements)


def build(elements: Iterable[tuple[str, str]]) -> str:
    """The message of these identifiers and values, with separators where they are needed. Nothing is checked."""
    out = ""
    separated = True
    for digits, value in elements:
        out += f"{'' if separated else GS}{digits}{value}"
        separated = digits in identifiers() and identifiers()[digits].predefined
    return out


def gtin_elements(digits: str) -> tuple[Element, ...]:
    """What an EAN, UPC or ITF-14 symbol says: a GTIN without an identifier, 8 to 14 digits.

    Raises ContentError for other contents and a wrong check digit.
    """
    if not (digits.isascii() and digits.isdigit()) or len(digits) not in {8, 12, 13, 14}:
        raise ContentError(0, f"{shown(digits)} is no GTIN, which has 8, 12, 13 or 14 digits")
    try:
        check_checked(digits)
    except ValueError as error:
        raise ContentError(len(digits) - 1, str(error)) from None
    return (Element("01", digits.zfill(14), "GTIN", 0),)


def _identifier(message: str, at: int, offset: int) -> Identifier:
    known = identifiers()
    for length in (2, 3, 4):
        digits = message[at : at + length]
        if digits in known:
            return known[digits]
    if message[at] == GS:
        raise ContentError(offset + at, "a separator without an element before it")
    if message[at] == "(":
        raise ContentError(offset + at, "brackets belong to print, not into a code: an identifier is digits alone")
    raise ContentError(offset + at, f"no application identifier begins with '{readable(message[at : at + 4])}'")


def _end(message: str, start: int, identifier: Identifier, offset: int) -> int:
    stop = message.find(GS, start)
    if stop < 0:
        stop = len(message)
    if identifier.predefined:
        end = start + identifier.longest
        if stop < end:
            raise ContentError(
                offset + start,
                f"({identifier.digits}) has {stop - start} characters, {identifier.longest} are asked for",
            )
        return end
    if stop - start > identifier.longest:
        raise ContentError(
            offset + start + identifier.longest,
            f"({identifier.digits}) has {stop - start} characters, at most {identifier.longest} are allowed:"
            " is a separator missing?",
        )
    return stop


def _after(message: str, end: int, identifier: Identifier, offset: int) -> int:
    if end == len(message):
        return end
    if message[end] != GS:
        return end
    if end + 1 == len(message):
        raise ContentError(offset + end, f"a separator after ({identifier.digits}), and nothing follows")
    return end + 1


def _check_value(identifier: Identifier, value: str, at: int) -> None:
    place = 0
    name = f"({identifier.digits})"
    for part in identifier.parts:
        rest = value[place : place + part.longest]
        if not rest and part.optional:
            continue
        if len(rest) < part.shortest:
            least = sum(each.shortest for each in identifier.parts if not each.optional)
            most = identifier.longest
            allowed = str(most) if least == most else f"{least}..{most}"
            raise ContentError(at + place, f"{name} has {len(value)} characters, allowed are {allowed}")
        _check_part(name, part, rest, at + place)
        place += len(rest)


def _check_part(name: str, part: Part, text: str, at: int) -> None:
    for index, character in enumerate(text):
        if not part.allowed.fullmatch(character):
            allowed = SET_NAMES[part.characters]
            raise ContentError(at + index, f"{name} has '{readable(character)}' here, allowed are {allowed}")
    if part.check is not None:
        try:
            part.check(text)
        except ValueError as error:
            raise ContentError(at, f"{name}: {error}") from None
