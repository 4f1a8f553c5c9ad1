"""What is found of a payload that can't be read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procvision_sdk.wire.codec import Codec
from procvision_sdk.wire.errors import RemoteProtocolError
from procvision_sdk.wire.salvage import outer_text
from procvision_sdk.wire.tables import Role

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.just("request_id"), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, JSON, max_size=4), TEXT, st.dictionaries(TEXT, JSON, max_size=4), st.booleans())
def test_the_outer_id_is_found_whatever_is_around_it(
    before: dict[str, object], request_id: str, after: dict[str, object], ascii_only: bool
) -> None:
    """Texts and objects around it may have ids, quotes, brackets and backslashes of their own."""
    for other in (before, after):
        other.pop("request_id", None)
    pieces = [json.dumps(piece, ensure_ascii=ascii_only)[1:-1] for piece in (before, {"request_id": request_id}, after)]
    text = "{" + ",".join(filter(None, [*pieces, '"broken": NaN'])) + "}"
    assert outer_text(text.encode(), "request_id") == request_id
    with pytest.raises(RemoteProtocolError) as refused:
        Codec(Role.HOST).decode(text.encode())
    assert (refused.value.kind, refused.value.request_id) == ("bad_json", request_id)


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_no_id_is_invented(fields: dict[str, object]) -> None:
    """One that stands deeper, or in a text, is not the frame's."""
    fields.pop("request_id", None)
    assert outer_text(json.dumps(fields).encode() + b",", "request_id") is None


@given(st.binary(max_size=200))
def test_any_bytes_will_do(data: bytes) -> None:
    """What comes out is a text, or nothing."""
    found = outer_text(b'{"request_id"' + data, "request_id")
    assert found is None or found.encode()


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (b'{"request_id":"a","request_id":"b"', "b"),
        (b'{"request_id":"a","request_id":7,', "a"),
        (b' \n{ "request_id" \t: "a"', "a"),
        (b'{"request_id":"\\ud800"', None),
        (b'{"request_id":"\\ud83d\\ude00"', "\U0001f600"),
        (b'{"request_id":"\xff"', None),
        (b'{"request_id":"tab\t"', None),
        (b'{"request_id":"cut', None),
        (b'{"a":"request_id","b"', None),
        (b'{"a":["request_id",{"request_id":"c"}]', None),
        (b'{"a":"b\\\\","request_id":"c"', "c"),
        (b'[{"request_id":"a"}', None),
        (b'}{"request_id":"a"', None),
        (b"", None),
        (b'{"request_id":"a","x":' + b"[" * 1_000_000, "a"),
        (b'{"x":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b',"request_id":"a"', "a"),
        (b"{" + b'"request_id":"a",' * 1_000_000, None),  # nonsense, and not worth the time
    ],
    ids=range(17),
)
def test_odd_payloads(payload: bytes, found: str | None) -> None:
    """Each by its bytes."""
    assert outer_text(payload, "request_id") == found
