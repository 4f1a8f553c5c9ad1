"""ISO/IEC 15434: messages of formats in an envelope.

    [)> RS  05 GS element GS element RS  06 GS element RS  EOT

Formats that are read: 05 (GS1 application identifiers), 06 (data identifiers, ISO/IEC 15418) and 12 (text element
identifiers, as in ATA Spec 2000: three characters, a space and the value). Others are refused by name, because what
can't be parsed can't be verified. Data Matrix' macros 05 and 06 arrive here expanded.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from procvision_codes import data_identifiers, gs1
from procvision_codes.elements import EOT, GS, RS, Element, readable
from procvision_codes.errors import ContentError

HEADER = "[)>"
FORMATS = {
    "01": "transportation", "02": "EDI message", "03": "ASC X12 segments", "04": "UN/EDIFACT segments",
    "05": "GS1 application identifiers", "06": "data identifiers", "07": "free form text", "08": "CII",
    "09": "binary data", "10": "binary data", "11": "binary data", "12": "text element identifiers",
}  # fmt: skip
READ = ("05", "06", "12")
_TEXT_ELEMENT = re.compile(r"[A-Z0-9]{3} ")
TEXT_TITLES = {
    "MFR": "manufacturer", "SPL": "supplier", "CAG": "CAGE code", "DUN": "DUNS number", "EUC": "enterprise",
    "PNR": "part number", "PNO": "original part number", "SER": "serial number", "SEQ": "serial number within the part",
    "UCN": "serial number", "USN": "unique serial number", "UST": "unique serial number",
    "UID": "unique identification", "LOT": "lot", "BII": "lot",
}  # fmt: skip


class Format(NamedTuple):
    """One format of a message."""

    indicator: str
    """05, 06 or 12."""
    elements: tuple[Element, ...]


def parse(message: str) -> tuple[Format, ...]:
    """The formats of a message, one at least. Raises ContentError with the place and the reason."""
    _check_envelope(message)
    formats: list[Format] = []
    at = len(HEADER) + 1
    while at < len(message) - 1:
        end = message.index(RS, at)
        formats.append(_format(message[at:end], at))
        at = end + 1
    if not formats:
        raise ContentError(at, "the envelope is empty: no format stands before EOT")
    return tuple(formats)


def build(formats: list[tuple[str, list[str]]]) -> str:
    """The message of these format indicators and elements as texts. Nothing is checked."""
    return f"{HEADER}{RS}" + "".join(f"{GS.join([name, *texts])}{RS}" for name, texts in formats) + EOT


def _check_envelope(message: str) -> None:
    if not message.startswith(HEADER):
        raise ContentError(0, f"the message header '{HEADER}' is missing, '{readable(message[:4])}' stands here")
    if message[3:4] != RS:
        raise ContentError(3, f"RS (1E hex) belongs after '{HEADER}', '{readable(message[3:4])}' stands here")
    last = len(message) - 1
    if message[last] != EOT:
        raise ContentError(last, f"the message ends with '{readable(message[last])}', not with EOT (04 hex)")
    if message[last - 1] != RS:
        raise ContentError(last - 1, "RS (1E hex) belongs before EOT")
    early = message.find(EOT)
    if early != last:
        raise ContentError(early, "EOT (04 hex) stands here, and the message goes on")


def _format(text: str, at: int) -> Format:
    indicator, separator, body = text.partition(GS)
    if not re.fullmatch(r"\d\d|DD", indicator, re.ASCII):
        raise ContentError(at, f"a format begins with its two digits and GS, '{readable(text[:4])}' stands here")
    if indicator not in READ:
        meaning = FORMATS.get(indicator, "unknown")
        raise ContentError(at, f"format {indicator} ({meaning}) isn't read here, only {', '.join(READ)}")
    if not separator:
        raise ContentError(at + len(indicator), f"format {indicator} has no elements")
    start = at + len(indicator) + 1
    if indicator == "05":
        return Format(indicator, gs1.parse(body, start))
    elements: list[Element] = []
    for piece in body.split(GS):
        if not piece:
            raise ContentError(start, "an element is empty: two separators follow one another")
        elements.append(data_identifiers.parse_element(piece, start) if indicator == "06" else _text(piece, start))
        start += len(piece) + 1
    return Format(indicator, tuple(elements))


def _text(piece: str, at: int) -> Element:
    if not _TEXT_ELEMENT.match(piece):
        raise ContentError(
            at, f"a text element is three characters, a space and a value, '{readable(piece[:4])}' stands here"
        )
    identifier, value = piece[:3], piece[4:]
    if not value:
        raise ContentError(at + 4, f"{identifier} has no value")
    for index, character in enumerate(value):
        if not " " <= character <= "~":
            raise ContentError(at + 4 + index, f"{identifier} has '{readable(character)}' here, which is not printable")
    return Element(identifier, value, TEXT_TITLES.get(identifier, ""), at)
