"""Arguments of calls, as their callers spell them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from procvision_runner import Pool, Runner, Supervisor
from procvision_runner.requests import ARGUMENTS


@pytest.mark.parametrize("kind", [Runner, Supervisor, partial(Pool, hosts=2)], ids=["Runner", "Supervisor", "Pool"])
@pytest.mark.parametrize("method", ["execute", "pre_execute", "submit"])
def test_a_misspelt_argument_is_the_error_of_the_method_that_was_called(kind: Callable[..., Any], method: str) -> None:
    """And names the one that was meant, or all that there are."""
    call = getattr(kind(command=["never-started"]), method)
    call = partial(call, "execute") if method == "submit" else call
    with pytest.raises(TypeError, match=rf"^{method}\(\) got an .* 'sesion'; hint: did you mean 'session'\?$"):
        call(pid="A", sesion=1)
    with pytest.raises(TypeError, match=rf"^{method}\(\) got an .* 'zzz'; hint: it takes camera_id, final, session,"):
        call(pid="A", step_index=1, zzz=1)


def test_the_arguments_are_those_that_the_reference_names() -> None:
    """`Runner.execute` says what each is."""
    assert ARGUMENTS
    assert all(f"`{name}`" in str(Runner.execute.__doc__) for name in ARGUMENTS)
