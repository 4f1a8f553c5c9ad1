"""What a product is, and when it is over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procvision_sdk.records import MAX_OPEN_PRODUCTS, Products

Call = tuple[str, int, str]


def ended(*calls: Call, session: str | None = "s") -> tuple[str, ...]:
    """What a session's calls give, of which the last is final."""
    products = Products()
    told: tuple[str, ...] = ()
    for number, (phase, step, outcome) in enumerate(calls):
        assert told == ()
        told = products.call_ended(phase, step, session, outcome, final=number == len(calls) - 1)
    return told


@pytest.mark.parametrize(
    ("calls", "verdict"),
    [
        ([("execute", 1, "OK")], "OK"),
        ([("pre", 1, "NONE"), ("execute", 1, "OK")], "OK"),
        ([("pre", 1, "NONE")], "ERROR"),
        ([("pre", 1, "ERROR"), ("execute", 1, "OK")], "ERROR"),
        ([("pre", 1, "ERROR"), ("pre", 1, "NONE"), ("execute", 1, "OK")], "OK"),
        ([("execute", 1, "OK"), ("execute", 2, "NG"), ("execute", 3, "OK")], "NG"),
        ([("execute", 1, "timeout"), ("execute", 1, "OK")], "OK"),
        ([("execute", 1, "OK"), ("execute", 2, "crashed")], "ERROR"),
        ([("execute", 1, "crashed"), ("execute", 2, "NG")], "NG"),
        ([("execute", 1, "NONE")], "ERROR"),
    ],
)
def test_a_session_is_one_product(calls: list[Call], verdict: str) -> None:
    """Of the last call of each step; nothing that is missing becomes OK."""
    assert ended(*calls) == (verdict,)


CALLS = st.tuples(st.sampled_from(["pre", "execute"]), st.integers(1, 3), st.sampled_from(["OK", "ERROR", "x"]))


@given(st.lists(CALLS))
def test_ok_needs_an_execute_and_no_failure_that_stands(calls: list[Call]) -> None:
    """Whatever the order: the last word of every step that was tried is OK."""
    told = ended(*calls)
    if told == ("OK",):
        last = {(phase, step): outcome for phase, step, outcome in calls}
        assert set(last.values()) == {"OK"}
    elif calls:
        assert told == ("ERROR",)


def test_calls_of_no_session_are_products_of_their_own() -> None:
    """A `pre` alone is none, and neither is what asks or forgets."""
    assert ended(("execute", 1, "NG"), session=None) == ("NG",)
    assert ended(("execute", 1, "timeout"), session=None) == ("ERROR",)
    for phase in ("pre", "info", "reset"):
        assert ended((phase, 1, "NONE"), session=None) == ()


def test_a_session_that_was_reset_begins_anew() -> None:
    """What was found before isn't the new inspection's."""
    products = Products()
    products.call_ended("execute", 1, "s", "NG", final=False)
    products.call_ended("reset", None, "s", "NONE", final=False)
    assert products.call_ended("execute", 1, "s", "OK", final=True) == ("OK",)


def test_what_never_ends_is_unfinished_and_bounded() -> None:
    """The oldest, and none of them as OK."""
    products = Products()
    told = [products.call_ended("execute", 1, str(n), "OK", final=False) for n in range(MAX_OPEN_PRODUCTS + 3)]
    assert [verdict for verdicts in told for verdict in verdicts] == ["UNFINISHED"] * 3
