"""ISO/IEC 15418 data identifiers (ANSI MH10.8.2): up to three digits and a letter, then the value.

Any well-formed identifier is taken, since trades agree on their own; those in the table are checked further.
"""

from __future__ import annotations

import re

from procvision_codes.checks import check_long_date
from procvision_codes.elements import Element, readable, shown
from procvision_codes.errors import ContentError

_IDENTIFIER = re.compile(r"\d{0,3}[A-Z]")
_PRINTABLE = re.compile(r"[ -~]*")
_NUMBER = re.compile(r"\d+(\.\d+)?")
_CAGE = re.compile(r"[A-HJ-NP-Z0-9]{5}")
TITLES = {
    "P": "item, customer's number", "1P": "item, supplier's number", "2P": "revision", "S": "serial number",
    "3S": "package", "18S": "serial number, enterprise and item", "25S": "unique identification",
    "T": "lot, customer's", "1T": "lot, supplier's", "Q": "quantity", "K": "order, customer's",
    "1K": "order, supplier's", "V": "supplier", "17V": "CAGE code", "18V": "enterprise", "4L": "country of origin",
    "9D": "date code", "10D": "date YYWW", "14D": "expiry YYYYMMDD", "16D": "production YYYYMMDD",
    "J": "license plate", "1J": "license plate", "2J": "license plate", "3J": "license plate", "4J": "license plate",
    "5J": "license plate", "6J": "license plate",
}  # fmt: skip
_LONG_DATES = frozenset(["14D", "16D"])


def parse_element(text: str, at: int) -> Element:
    """One data identifier with its value.

    Args:
        text: what stands between two separators.
        at: where it begins, for errors.

    Raises ContentError with the place and the reason.
    """
    found = _IDENTIFIER.match(text)
    if found is None:
        raise ContentError(
            at, f"no data identifier (up to three digits and a capital letter) begins with '{readable(text[:4])}'"
        )
    identifier, value = found.group(), text[found.end() :]
    start = at + found.end()
    if not value:
        raise ContentError(start, f"{identifier} has no value")
    printable = _PRINTABLE.match(value)
    assert printable is not None
    if printable.end() < len(value):
        place = printable.end()
        raise ContentError(start + place, f"{identifier} has '{readable(value[place])}' here, which is not printable")
    _check(identifier, value, start)
    return Element(identifier, value, TITLES.get(identifier, ""), at)


def _check(identifier: str, value: str, at: int) -> None:
    if identifier == "Q" and not _NUMBER.fullmatch(value):
        raise ContentError(at, f"Q is {shown(value)}: a quantity is a number")
    if identifier == "17V" and not _CAGE.fullmatch(value):
        raise ContentError(at, f"17V is {shown(value)}: a CAGE code has 5 digits or capital letters without I and O")
    if identifier in _LONG_DATES:
        if not re.fullmatch(r"\d{8}", value, re.ASCII):
            raise ContentError(at, f"{identifier} is {shown(value)}: a date YYYYMMDD has 8 digits")
        try:
            check_long_date(value)
        except ValueError as error:
            raise ContentError(at, f"{identifier}: {error}") from None
