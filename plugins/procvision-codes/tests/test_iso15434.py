"""ISO/IEC 15434 messages, without pictures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procvision_codes import iso15434
from procvision_codes.errors import ContentError

RS, GS, EOT = "\x1e", "\x1d", "\x04"


def test_format_06_is_data_identifiers() -> None:
    """With their titles and places."""
    message = iso15434.build([("06", ["17V1JCK0", "1P4711-A", "S42"])])
    (only,) = iso15434.parse(message)
    assert only.indicator == "06"
    assert [(e.identifier, e.value) for e in only.elements] == [("17V", "1JCK0"), ("1P", "4711-A"), ("S", "42")]
    assert [message[e.at :].startswith(e.identifier) for e in only.elements] == [True] * 3
    assert only.elements[2].title == "serial number"


def test_several_formats_stand_in_one_message() -> None:
    """GS1 and text elements."""
    first, second = iso15434.parse(
        iso15434.build([("05", ["0109501101020917", "21A"]), ("12", ["MFR 0CVA5", "SER 786950"])])
    )
    assert [(e.identifier, e.value) for e in first.elements] == [("01", "09501101020917"), ("21", "A")]
    assert [(e.identifier, e.value) for e in second.elements] == [("MFR", "0CVA5"), ("SER", "786950")]


@pytest.mark.parametrize(
    ("message", "at", "text"),
    [
        ("", 0, "header .* is missing"),
        ("[)06", 0, "header"),
        (f"[)>06{GS}S1{RS}{EOT}", 3, "RS .* belongs after"),
        (f"[)>{RS}06{GS}S1{RS}", 9, "ends with '<RS>', not with EOT"),
        (f"[)>{RS}06{GS}S1{EOT}", 8, "RS .* belongs before EOT"),
        (f"[)>{RS}06{GS}S1{EOT}{RS}{EOT}", 9, "and the message goes on"),
        (f"[)>{RS}{EOT}", 4, "empty"),
        (f"[)>{RS}6{GS}S1{RS}{EOT}", 4, "two digits"),
        (f"[)>{RS}07{GS}HELLO{RS}{EOT}", 4, r"format 07 \(free form text\) isn't read here"),
        (f"[)>{RS}DD{GS}HELLO{RS}{EOT}", 4, r"format DD \(unknown\)"),
        (f"[)>{RS}06{RS}{EOT}", 6, "no elements"),
        (f"[)>{RS}06{GS}S1{GS}{GS}P2{RS}{EOT}", 10, "an element is empty"),
        (f"[)>{RS}06{GS}1234X5{RS}{EOT}", 7, "no data identifier .* begins with '1234'"),
        (f"[)>{RS}06{GS}S{RS}{EOT}", 8, "S has no value"),
        (f"[)>{RS}06{GS}SA\tB{RS}{EOT}", 9, "'<HT>' here"),
        (f"[)>{RS}06{GS}Q12A{RS}{EOT}", 8, "a quantity is a number"),
        (f"[)>{RS}06{GS}17VIOIOI{RS}{EOT}", 10, "CAGE"),
        (f"[)>{RS}06{GS}16D20230229{RS}{EOT}", 10, "day 29"),
        (f"[)>{RS}06{GS}16D2302{RS}{EOT}", 10, "8 digits"),
        (f"[)>{RS}05{GS}0109501101020918{RS}{EOT}", 9, "check digit"),
        (f"[)>{RS}12{GS}SERIAL{RS}{EOT}", 7, "three characters, a space"),
        (f"[)>{RS}12{GS}SER {RS}{EOT}", 11, "SER has no value"),
    ],
)
def test_malformed_messages_say_where_and_what(message: str, at: int, text: str) -> None:
    """Counted in the whole message, whatever envelope is around."""
    with pytest.raises(ContentError, match=text) as raised:
        iso15434.parse(message)
    assert raised.value.at == at


_TEXT = st.text([chr(c) for c in range(0x20, 0x7F)], min_size=1, max_size=12)
_DATA = st.tuples(st.from_regex(r"\A[1-9]{0,3}[A-PR-Z]\Z"), _TEXT).filter(
    lambda pair: pair[0] not in {"17V", "14D", "16D"}
)
_TEI = st.tuples(st.from_regex(r"\A[A-Z]{3}\Z"), _TEXT)


@given(st.lists(st.one_of(st.lists(_DATA, min_size=1, max_size=4), st.just([])), min_size=1, max_size=3), st.data())
def test_what_is_built_is_parsed(groups: list[list[tuple[str, str]]], data: st.DataObject) -> None:
    """Data identifiers and text elements, in any number of formats."""
    told: list[tuple[str, list[tuple[str, str]]]] = [
        ("06", group) if group else ("12", data.draw(st.lists(_TEI, min_size=1, max_size=4))) for group in groups
    ]
    texts = [(name, [f"{i}{' ' if name == '12' else ''}{v}" for i, v in pairs]) for name, pairs in told]
    parsed = iso15434.parse(iso15434.build(texts))
    assert [(each.indicator, [(e.identifier, e.value) for e in each.elements]) for each in parsed] == told


@given(st.text(st.sampled_from("[)>056123SPQ D\x1d\x1e\x04"), max_size=30), st.booleans())
def test_any_text_is_parsed_or_refused_with_a_place(message: str, enveloped: bool) -> None:
    """Nothing else is raised."""
    if enveloped:
        message = f"[)>{RS}{message}{RS}{EOT}"
    try:
        iso15434.parse(message)
    except ContentError as error:
        assert 0 <= error.at <= len(message)
