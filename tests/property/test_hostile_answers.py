"""What a hostile host writes in answer to a call; `nox -s fuzz` gives the runner thousands of these, sanitized."""

from __future__ import annotations

from hostile_answers import KINDS, deceive

INPUTS = 150


def test_a_hostile_host_gets_no_ok_out_of_what_is_none() -> None:
    """And the general code, the steady calls in Python and their compiled form say the same of every answer."""
    results, oks, errors = deceive(INPUTS, seed=len(KINDS))
    assert results + errors == INPUTS
    assert oks > INPUTS / 20  # so that it is seen what an OK is
    assert errors > INPUTS / 20
