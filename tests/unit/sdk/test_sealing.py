"""What lies in a store is exactly what was sealed under that id, or an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procvision_sdk.sealing import seal, unseal
from procvision_sdk.session import SessionStoreError


@given(st.text(max_size=40), st.binary(max_size=200))
def test_what_is_sealed_can_be_unsealed(session_id: str, state: bytes) -> None:
    """For every id and state."""
    assert unseal(session_id, seal(session_id, state)) == state


@given(st.binary(max_size=100), st.data())
def test_one_changed_byte_is_an_error(state: bytes, data: st.DataObject) -> None:
    """Wherever it stands."""
    sealed = bytearray(seal("s", state))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SessionStoreError):
        unseal("s", bytes(sealed))


def test_a_cut_is_an_error() -> None:
    """At every place, the beginning included."""
    sealed = seal("s", b'{"n":1}')
    for length in range(len(sealed)):
        with pytest.raises(SessionStoreError):
            unseal("s", sealed[:length])


def test_another_sessions_state_is_an_error() -> None:
    """A store that mixes up two ids doesn't mix up two products."""
    with pytest.raises(SessionStoreError, match="damaged"):
        unseal("A", seal("a", b"{}"))


@pytest.mark.parametrize(("version", "text"), [(b"1", "an older release"), (b"3", "a newer release")])
def test_another_releases_state_is_named(version: bytes, text: str) -> None:
    """With both formats."""
    with pytest.raises(SessionStoreError, match=text) as caught:
        unseal("s", seal("s", b"{}").replace(b"/2 ", b"/%s " % version))
    assert f"format {version.decode()}, this one has 2" in str(caught.value)


@pytest.mark.parametrize("value", [b"", b"{}", '{"n":1}', memoryview(b"{}"), 7])
def test_what_was_never_sealed_is_an_error(value: object) -> None:
    """Bytes of another program, or no bytes at all."""
    with pytest.raises(SessionStoreError):
        unseal("s", value)  # type: ignore[arg-type]


@given(st.text(max_size=40), st.binary(max_size=100), st.binary(min_size=1, max_size=32))
def test_who_has_not_the_secret_makes_no_session_up(key: str, state: bytes, secret: bytes) -> None:
    """Neither without one nor with another; who has it, finds what was sealed."""
    sealed = seal(key, state, secret)
    assert unseal(key, sealed, secret) == state
    for other in (b"", secret + b"x", b"x" * 32):
        with pytest.raises(SessionStoreError, match="another secret"):
            unseal(key, seal(key, state, other), secret)


def test_key_and_state_are_told_apart() -> None:
    """What moves from one into the other changes the seal."""
    assert seal("a", b"b{}", b"s")[21:53] != seal("ab", b"{}", b"s")[21:53]
