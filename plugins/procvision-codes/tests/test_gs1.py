"""GS1 element strings, without pictures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procvision_codes import gs1
from procvision_codes.checks import check_digit
from procvision_codes.errors import ContentError
from procvision_codes.gs1_identifiers import identifiers

GS = "\x1d"
SET_82 = "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"


def test_an_element_string_is_parsed_with_places_and_titles() -> None:
    """GTIN and expiry end by themselves, the lot by its separator."""
    parsed = gs1.parse(f"01095011010209171719050810ABCD1234{GS}2110")
    assert [(e.identifier, e.value, e.title, e.at) for e in parsed] == [
        ("01", "09501101020917", "GTIN", 0),
        ("17", "190508", "USE BY OR EXPIRY", 16),
        ("10", "ABCD1234", "BATCH/LOT", 24),
        ("21", "10", "SERIAL", 35),
    ]


@pytest.mark.parametrize(
    "digits", ["09501101020917", "5901234123457", "96385074", "012345678905", "106141412345678908", "4000001000005"]
)
def test_published_keys_have_the_right_check_digit(digits: str) -> None:
    """GTIN of 14, 13, 8 and 12 digits, an SSCC, a GLN."""
    assert check_digit(digits[:-1]) == int(digits[-1])


@pytest.mark.parametrize(
    ("message", "at", "text"),
    [
        ("", 0, "message is empty"),
        ("0109501101020918", 2, "check digit of 09501101020918 is 8, it should be 7"),
        ("00106141412345678900", 2, "check digit"),
        ("010950110102091", 2, r"\(01\) has 13 characters, 14 are asked for"),
        ("0109501101O20917", 10, r"\(01\) has 'O' here, allowed are digits"),
        ("17191308", 2, "month 13, allowed are 01..12"),
        ("17190431", 2, "day 31, allowed are 00..30"),
        ("17190230", 2, "day 30, allowed are 00..28"),
        ("7006190500", 4, "day 00, allowed are 01..31"),
        ("70031905082460", 4 + 6, "time 2460"),
        ("10", 2, r"\(10\) has 0 characters, allowed are 1..20"),
        ("10" + 21 * "A", 22, "is a separator missing"),
        (f"10A{GS}", 3, r"separator after \(10\), and nothing follows"),
        (f"10A{GS}{GS}21B", 4, "separator without an element"),
        ("10A B", 3, "' ' here"),
        ("(01)09501101020917", 0, "brackets belong to print"),
        ("05123", 0, "no application identifier begins with '0512'"),
        ("3106123456", 0, "no application identifier"),
        (f"10A{GS}10B", 4, r"\(10\) stands here with 'B' and before with 'A'"),
        ("800609501101020917" + "0302", 18, "piece 3 of 2"),
        ("80031" + "4000001000005", 4, "fill digit is 1"),
        ("43212", 4, "neither 0 nor 1"),
        ("010950110102091\x1d21A", 2, "13 characters"),
        ("8008990101" + "24", 4, "hour 24"),
    ],
)
def test_malformed_element_strings_say_where_and_what(message: str, at: int, text: str) -> None:
    """A number to look at and a sentence."""
    with pytest.raises(ContentError, match=text) as raised:
        gs1.parse(message)
    assert raised.value.at == at
    assert str(raised.value).startswith(f"character {at + 1}: ")


def test_the_same_element_twice_with_one_value_is_allowed() -> None:
    """GS1 General Specifications, section 4.13: it is when they differ that it is wrong."""
    assert len(gs1.parse(f"10A{GS}10A")) == 2


def test_leap_days_are_days() -> None:
    """29 February 2024 and 2000."""
    assert gs1.parse("17240229")[0].value == "240229"
    assert gs1.parse("17000229")[0].value == "000229"
    with pytest.raises(ContentError):
        gs1.parse("17230229")


def test_a_separator_after_predefined_length_is_tolerated() -> None:
    """Readers must cope with it (General Specifications, section 7.8.6)."""
    assert [e.identifier for e in gs1.parse(f"17190508{GS}10A")] == ["17", "10"]


def test_retail_symbols_say_a_gtin() -> None:
    """Without an identifier."""
    assert gs1.gtin_elements("5901234123457")[0].value == "05901234123457"
    for wrong in ("5901234123458", "123", "59012341234AB"):
        with pytest.raises(ContentError):
            gs1.gtin_elements(wrong)


def test_no_identifier_begins_with_another() -> None:
    """Otherwise the shorter would hide the longer."""
    known = list(identifiers())
    assert not [(a, b) for a in known for b in known if a != b and b.startswith(a)]
    assert len(known) > 500


def _keyed(length: int) -> st.SearchStrategy[str]:
    digits = st.text("0123456789", min_size=length - 1, max_size=length - 1)
    return digits.map(lambda text: f"{text}{check_digit(text)}")


_ELEMENTS = st.lists(
    st.one_of(
        st.tuples(st.just("01"), _keyed(14)),
        st.tuples(st.just("00"), _keyed(18)),
        st.tuples(st.just("414"), _keyed(13)),
        st.tuples(st.sampled_from(["11", "15", "17"]), st.dates().map(lambda day: day.strftime("%y%m00"))),
        st.tuples(st.sampled_from(["10", "21", "22"]), st.text(SET_82, min_size=1, max_size=20)),
        st.tuples(st.just("3103"), st.text("0123456789", min_size=6, max_size=6)),
        st.tuples(st.just("37"), st.text("0123456789", min_size=1, max_size=8)),
        st.tuples(st.just("99"), st.text(SET_82, min_size=1, max_size=90)),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda element: element[0],
)


@given(_ELEMENTS)
def test_what_is_built_is_parsed(elements: list[tuple[str, str]]) -> None:
    """The same identifiers and values, and places that point at them."""
    message = gs1.build(elements)
    parsed = gs1.parse(message)
    assert [(e.identifier, e.value) for e in parsed] == elements
    for element in parsed:
        assert message[element.at :].startswith(element.identifier + element.value)


@given(st.text(st.sampled_from("0123456789ABC(\x1d\x1e "), max_size=40))
def test_any_text_is_parsed_or_refused_with_a_place(message: str) -> None:
    """Nothing else is raised, and the place is in the text or at its end."""
    try:
        parsed = gs1.parse(message)
    except ContentError as error:
        assert 0 <= error.at <= len(message)
    else:
        assert "".join(e.identifier + e.value for e in parsed) == message.replace(GS, "")
