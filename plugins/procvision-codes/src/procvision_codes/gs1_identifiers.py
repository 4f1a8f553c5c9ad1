"""The GS1 application identifiers as a table: what may follow each.

GS1 General Specifications (release 24), section 3, and the published GS1 Syntax Dictionary. A format is a list of
parts. A part is a character set (N digits, X the 82 characters of ISO/IEC 646, Y the 39, Z base64url), a length
(`18`, or `..20` for 1 to 20) and a check after a comma; a part in brackets may be missing.

Not checked: country and currency codes, GS1 company prefixes, IBANs, coupons, the check characters of a GMN, and
which identifiers require or exclude one another.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from procvision_codes import checks

# Identifier or first-last, format, title.
_TABLE = (
    ("00", "N18,checked", "SSCC"),
    ("01", "N14,checked", "GTIN"),
    ("02", "N14,checked", "CONTENT"),
    ("03", "N14,checked", "MTO GTIN"),
    ("10", "X..20", "BATCH/LOT"),
    ("11", "N6,month", "PROD DATE"),
    ("12", "N6,month", "DUE DATE"),
    ("13", "N6,month", "PACK DATE"),
    ("15", "N6,month", "BEST BEFORE"),
    ("16", "N6,month", "SELL BY"),
    ("17", "N6,month", "USE BY OR EXPIRY"),
    ("20", "N2", "VARIANT"),
    ("21", "X..20", "SERIAL"),
    ("22", "X..20", "CPV"),
    ("235", "X..28", "TPX"),
    ("240", "X..30", "ADDITIONAL ID"),
    ("241", "X..30", "CUST. PART No."),
    ("242", "N..6", "MTO VARIANT"),
    ("243", "X..20", "PCN"),
    ("250", "X..30", "SECONDARY SERIAL"),
    ("251", "X..30", "REF. TO SOURCE"),
    ("253", "N13,checked [X..17]", "GDTI"),
    ("254", "X..20", "GLN EXTENSION COMPONENT"),
    ("255", "N13,checked [N..12]", "GCN"),
    ("30", "N..8", "VAR. COUNT"),
    ("37", "N..8", "COUNT"),
    ("3900-3909", "N..15", "AMOUNT"),
    ("3910-3919", "N3 N..15", "AMOUNT"),
    ("3920-3929", "N..15", "PRICE"),
    ("3930-3939", "N3 N..15", "PRICE"),
    ("3940-3943", "N4", "PRCNT OFF"),
    ("3950-3955", "N6", "PRICE/UoM"),
    ("400", "X..30", "ORDER NUMBER"),
    ("401", "X..30", "GINC"),
    ("402", "N17,checked", "GSIN"),
    ("403", "X..30", "ROUTE"),
    ("410", "N13,checked", "SHIP TO LOC"),
    ("411", "N13,checked", "BILL TO"),
    ("412", "N13,checked", "PURCHASE FROM"),
    ("413", "N13,checked", "SHIP FOR LOC"),
    ("414", "N13,checked", "LOC No."),
    ("415", "N13,checked", "PAY TO"),
    ("416", "N13,checked", "PROD/SERV LOC"),
    ("417", "N13,checked", "PARTY"),
    ("420", "X..20", "SHIP TO POST"),
    ("421", "N3 X..9", "SHIP TO POST"),
    ("422", "N3", "ORIGIN"),
    ("423", "N3 [N..12]", "COUNTRY - INITIAL PROCESS"),
    ("424", "N3", "COUNTRY - PROCESS"),
    ("425", "N3 [N..12]", "COUNTRY - DISASSEMBLY"),
    ("426", "N3", "COUNTRY - FULL PROCESS"),
    ("427", "X..3", "ORIGIN SUBDIVISION"),
    ("4300-4301", "X..35", "SHIP TO"),
    ("4302-4306", "X..70", "SHIP TO"),
    ("4307", "X2", "SHIP TO COUNTRY"),
    ("4308", "X..30", "SHIP TO PHONE"),
    ("4309", "N20", "SHIP TO GEO"),
    ("4310-4311", "X..35", "RTN TO"),
    ("4312-4316", "X..70", "RTN TO"),
    ("4317", "X2", "RTN TO COUNTRY"),
    ("4318", "X..20", "RTN TO POST"),
    ("4319", "X..30", "RTN TO PHONE"),
    ("4320", "X..35", "SRV DESCRIPTION"),
    ("4321-4323", "N1,flag", "HANDLING"),
    ("4324-4325", "N6,month N4,time", "DELIVERY TIME"),
    ("4326", "N6,date", "REL DATE"),
    ("4330-4333", "N6 [X1]", "TEMPERATURE"),
    ("7001", "N13", "NSN"),
    ("7002", "X..30", "MEAT CUT"),
    ("7003", "N6,date N4,time", "EXPIRY TIME"),
    ("7004", "N..4", "ACTIVE POTENCY"),
    ("7005", "X..12", "CATCH AREA"),
    ("7006", "N6,date", "FIRST FREEZE DATE"),
    ("7007", "N6,date [N6,date]", "HARVEST DATE"),
    ("7008", "X..3", "AQUATIC SPECIES"),
    ("7009", "X..10", "FISHING GEAR TYPE"),
    ("7010", "X..2", "PROD METHOD"),
    ("7011", "N6,date [N4,time]", "TEST BY DATE"),
    ("7020", "X..20", "REFURB LOT"),
    ("7021", "X..20", "FUNC STAT"),
    ("7022", "X..20", "REV STAT"),
    ("7023", "X..30", "GIAI - ASSEMBLY"),
    ("7030-7039", "N3 X..27", "PROCESSOR"),
    ("7040", "N1 X3", "UIC+EXT"),
    ("710-715", "X..20", "NHRN"),
    ("7230-7239", "X2 X..28", "CERT"),
    ("7240", "X..20", "PROTOCOL"),
    ("7241", "N2", "AIDC MEDIA TYPE"),
    ("7242", "X..25", "VCN"),
    ("8001", "N14", "DIMENSIONS"),
    ("8002", "X..20", "CMT No."),
    ("8003", "N1,zero N13,checked [X..16]", "GRAI"),
    ("8004", "X..30", "GIAI"),
    ("8005", "N6", "PRICE PER UNIT"),
    ("8006", "N14,checked N4,piece", "ITIP"),
    ("8007", "X..34", "IBAN"),
    ("8008", "N8,hour [N..4]", "PROD TIME"),
    ("8009", "X..50", "OPTSEN"),
    ("8010", "Y..30", "CPID"),
    ("8011", "N..12", "CPID SERIAL"),
    ("8012", "X..20", "VERSION"),
    ("8013", "X..25", "GMN"),
    ("8017", "N18,checked", "GSRN - PROVIDER"),
    ("8018", "N18,checked", "GSRN - RECIPIENT"),
    ("8019", "N..10", "SRIN"),
    ("8020", "X..25", "REF No."),
    ("8026", "N14,checked N4,piece", "ITIP CONTENT"),
    ("8030", "Z..90", "DIGSIG"),
    ("8110", "X..70", "COUPON"),
    ("8111", "N4", "POINTS"),
    ("8112", "X..70", "COUPON"),
    ("8200", "X..70", "PRODUCT URL"),
    ("90", "X..30", "INTERNAL"),
    ("91-99", "X..90", "INTERNAL"),
)
_MEASURES = (
    ("310", "NET WEIGHT (kg)"), ("311", "LENGTH (m)"), ("312", "WIDTH (m)"), ("313", "HEIGHT (m)"),
    ("314", "AREA (m2)"), ("315", "NET VOLUME (l)"), ("316", "NET VOLUME (m3)"), ("320", "NET WEIGHT (lb)"),
    ("321", "LENGTH (in)"), ("322", "LENGTH (ft)"), ("323", "LENGTH (yd)"), ("324", "WIDTH (in)"),
    ("325", "WIDTH (ft)"), ("326", "WIDTH (yd)"), ("327", "HEIGHT (in)"), ("328", "HEIGHT (ft)"),
    ("329", "HEIGHT (yd)"), ("330", "GROSS WEIGHT (kg)"), ("331", "LENGTH (m), log"), ("332", "WIDTH (m), log"),
    ("333", "HEIGHT (m), log"), ("334", "AREA (m2), log"), ("335", "VOLUME (l), log"), ("336", "VOLUME (m3), log"),
    ("337", "KG PER m2"), ("340", "GROSS WEIGHT (lb)"), ("341", "LENGTH (in), log"), ("342", "LENGTH (ft), log"),
    ("343", "LENGTH (yd), log"), ("344", "WIDTH (in), log"), ("345", "WIDTH (ft), log"), ("346", "WIDTH (yd), log"),
    ("347", "HEIGHT (in), log"), ("348", "HEIGHT (ft), log"), ("349", "HEIGHT (yd), log"), ("350", "AREA (in2)"),
    ("351", "AREA (ft2)"), ("352", "AREA (yd2)"), ("353", "AREA (in2), log"), ("354", "AREA (ft2), log"),
    ("355", "AREA (yd2), log"), ("356", "NET WEIGHT (t oz)"), ("357", "NET VOLUME (oz)"), ("360", "NET VOLUME (qt)"),
    ("361", "NET VOLUME (gal.)"), ("362", "VOLUME (qt), log"), ("363", "VOLUME (gal.), log"), ("364", "VOLUME (in3)"),
    ("365", "VOLUME (ft3)"), ("366", "VOLUME (yd3)"), ("367", "VOLUME (in3), log"), ("368", "VOLUME (ft3), log"),
    ("369", "VOLUME (yd3), log"),
)  # fmt: skip
"""Trade and logistic measures: a fourth digit 0 to 5 says how many decimals the six digits have."""

PREDEFINED = frozenset(["00", "01", "02", "03", "04", *map(str, range(11, 21)), *map(str, range(31, 37)), "41"])
"""First two digits of the identifiers of predefined length, which no separator needs to follow
(GS1 General Specifications, figure "element strings with predefined length")."""

_SETS = {
    "N": "0-9",
    "X": r"!\"%&'()*+,\-./0-9:;<=>?A-Z_a-z",
    "Y": r"#\-/0-9A-Z",
    "Z": r"\-0-9=A-Z_a-z",
}
SET_NAMES = {
    "N": "digits",
    "X": "the 82 characters of GS1's set",
    "Y": "capitals, digits, #, - and /",
    "Z": "base64url",
}
_CHECKS: dict[str, Callable[[str], None]] = {
    "checked": checks.check_checked,
    "date": checks.check_date,
    "month": checks.check_date_or_month,
    "time": checks.check_time,
    "hour": checks.check_date_and_hour,
    "piece": checks.check_piece_of_total,
    "flag": checks.check_yes_or_no,
    "zero": checks.check_zero,
}
_PART = re.compile(r"(\[?)([NXYZ])(\.\.)?(\d+)(?:,(\w+))?\]?")


class Part(NamedTuple):
    """A stretch of a value."""

    characters: str
    """N, X, Y or Z."""
    shortest: int
    longest: int
    optional: bool
    check: Callable[[str], None] | None

    @property
    def allowed(self) -> re.Pattern[str]:
        """One character that may stand in it."""
        return _one_of(self.characters)


@cache
def _one_of(characters: str) -> re.Pattern[str]:
    return re.compile(f"[{_SETS[characters]}]")


class Identifier(NamedTuple):
    """An application identifier."""

    digits: str
    parts: tuple[Part, ...]
    title: str

    @property
    def longest(self) -> int:
        """How many characters its value may have."""
        return sum(part.longest for part in self.parts)

    @property
    def predefined(self) -> bool:
        """Whether its end is known without a separator."""
        return self.digits[:2] in PREDEFINED


def _parts(text: str) -> tuple[Part, ...]:
    parts = []
    for optional, characters, variable, length, check in _PART.findall(text):
        shortest = 1 if variable else int(length)
        parts.append(Part(characters, shortest, int(length), bool(optional), _CHECKS[check] if check else None))
    return tuple(parts)


@cache
def identifiers() -> dict[str, Identifier]:
    """All application identifiers by their digits."""
    table: dict[str, Identifier] = {}
    for span, text, title in _TABLE:
        first, _, last = span.partition("-")
        for number in range(int(first), int(last or first) + 1):
            digits = f"{number:0{len(first)}}"
            table[digits] = Identifier(digits, _parts(text), title)
    for prefix, title in _MEASURES:
        for decimals in range(6):
            digits = f"{prefix}{decimals}"
            table[digits] = Identifier(digits, _parts("N6"), title)
    return table
