"""A session as an algorithm sees it: what it keeps, what it refuses, and what is saved of it."""

from __future__ import annotations

import copy
import json
from enum import IntEnum
from typing import Any

import numpy as np
import pytest

from procvision_sdk.session import Session


def saved(session: Session) -> Any:
    """What the next call finds."""
    state = session.changed_state()
    return None if state is None else json.loads(state)


class Level(IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (2**80, 2**80),
        (0.5, 0.5),
        ("零件", "零件"),
        ((1, [2]), [1, [2]]),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (Level.HIGH, 3),
    ],
)
def test_what_json_can_carry_is_kept(value: object, kept: object) -> None:
    """As the plain value that it stands for."""
    session = Session("s")
    session.set("key", value)
    assert saved(session) == {"key": kept}
    assert type(session.get("key")) is type(kept)


@pytest.mark.parametrize("value", [float("nan"), b"bytes", np.zeros(3), {1: 2}, object(), {"a": [float("inf")]}])
def test_what_json_cannot_carry_is_refused_at_once(value: object) -> None:
    """With its place, and the state stays as it was."""
    session = Session("s")
    session.set("key", 1)
    with pytest.raises(ValueError, match="key"):
        session.set("key", value)
    assert saved(session) == {"key": 1}


def test_a_value_that_was_given_out_may_be_changed_in_place() -> None:
    """What it holds at the end is what is kept."""
    session = Session("s", state=b'{"found":[1],"area":{"x":1}}')
    session.get("found").append(2)
    session.get("area")["y"] = 2
    assert saved(session) == {"found": [1, 2], "area": {"x": 1, "y": 2}}


@pytest.mark.parametrize("added", [float("nan"), b"bytes", np.zeros(3)])
def test_what_json_cannot_carry_is_refused_at_the_end_where_it_was_put_in_place(added: object) -> None:
    """Nothing of it is saved."""
    session = Session("s", state=b'{"found":[1]}')
    session.get("found").append(added)
    with pytest.raises(ValueError, match="found"):
        session.changed_state()


def test_the_algorithms_own_list_is_not_the_sessions() -> None:
    """Changing what was set, after it was set, changes nothing."""
    mine: list[Any] = [1]
    session = Session("s")
    session.set("found", mine)
    mine.append(float("nan"))
    assert saved(session) == {"found": [1]}


def test_a_default_that_was_given_out_is_not_kept() -> None:
    """It is the algorithm's own."""
    session = Session("s")
    session.get("found", []).append(1)
    assert session.changed_state() is None


def test_only_what_has_changed_is_saved() -> None:
    """Looking is no change, and setting what is there already is none either."""
    session = Session("s", state=b'{"n":1}')
    assert session.get("n") == 1
    session.set("n", 1)
    assert session.changed_state() is None
    session.set("n", 2)
    assert saved(session) == {"n": 2}
    assert session.changed_state() is None
    session.clear()
    assert saved(session) == {}


def test_the_context_is_read_only() -> None:
    """It is the runner's."""
    with pytest.raises(TypeError):
        Session("s", {"product_code": "A"}).context["product_code"] = "B"  # type: ignore[index]


def test_keys_are_strings() -> None:
    """As JSON has them."""
    with pytest.raises(ValueError, match="keys are strings"):
        Session("s").set(1, 2)  # type: ignore[arg-type]


CHANGES: list[Any] = [
    lambda context: context.update(a=1),
    lambda context: context.clear(),
    lambda context: context.pop("deep"),
    lambda context: context.popitem(),
    lambda context: context.setdefault("b", 1),
    lambda context: context.__ior__({"a": 1}),
    lambda context: context.__delitem__("deep"),
    lambda context: context["deep"].__setitem__("a", 1),
    lambda context: context["deep"]["list"].append(1),
    lambda context: context["deep"]["list"].__setitem__(0, 1),
    lambda context: context["deep"]["list"].sort(),
    lambda context: context["deep"]["list"].__iadd__([1]),
    lambda context: context["deep"]["list"][1].update(x=2),
]


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_in_the_context_can_be_changed_at_any_depth(change: Any) -> None:
    """And what the runner gave stays as it was, whatever is done to what the algorithm sees."""
    given = {"deep": {"list": [3, {"x": 1}]}, "n": 10**30}
    before = json.dumps(given)
    session = Session("s", given)
    with pytest.raises(TypeError, match="the runner's: it can't be changed"):
        change(session.context)
    dict.clear(session.context)  # type: ignore[arg-type]
    assert json.dumps(given) == before


def test_the_context_is_read_encoded_and_kept_as_any() -> None:
    """It is made of dicts and lists, for those who ask."""
    given = {"deep": {"list": [3, {"x": 1}]}}
    session = Session("s", given)
    assert session.context == given
    assert json.loads(json.dumps(session.context)) == given
    assert isinstance(session.context["deep"]["list"], list)
    copied = copy.deepcopy(session.context)
    copied["deep"]["list"].append("in the copy")
    assert type(copied) is dict
    session.set("kept", session.context["deep"])
    session.get("kept")["list"].append("mine")
    assert saved(session) == {"kept": {"list": [3, {"x": 1}, "mine"]}}


def test_the_id_is_read_only() -> None:
    """It names the product's inspection."""
    with pytest.raises(AttributeError):
        Session("s").id = "another"  # type: ignore[misc]


@pytest.mark.parametrize("value", ["\ud800", "a\udfffb", ["\ud83d"], {"a": {"\udc00": 1}}, [{"a": ["x", "\ud800"]}]])
def test_a_lone_surrogate_is_refused_where_it_is_set(value: Any) -> None:
    """At any depth; what was there stays. A pair of them is a character."""
    session = Session("s")
    session.set("key", "\U0001f600")
    with pytest.raises(ValueError, match="lone surrogate"):
        session.set("key", value)
    assert saved(session) == {"key": "\U0001f600"}
    with pytest.raises(ValueError, match="lone surrogate"):
        session.set("\ud800", 1)


def test_a_lone_surrogate_that_was_put_into_a_list_is_refused_when_it_is_saved() -> None:
    """With its place."""
    session = Session("s", state=b'{"found":[1]}')
    session.get("found").append("\udfff")
    with pytest.raises(ValueError, match=r"session.*found.*lone surrogate"):
        session.changed_state()


def test_the_state_is_a_mapping_under_the_same_rules() -> None:
    """What `set` refuses is refused here, and both see the same."""
    session = Session("s", {}, b'{"a":1}')
    state = session.state_store
    state["b"] = [1]
    state["b"].append(2)
    assert dict(state) == {"a": 1, "b": [1, 2]}
    assert state.pop("a") == 1
    assert (session.get("b"), session.exists("a"), len(state), list(state)) == ([1, 2], False, 1, ["b"])
    state.update(c=None)
    assert state.setdefault("c", 7) is None
    for key, value in (("d", b"bytes"), ("d", float("nan")), (7, 1), ("d", {"deep": {1: 2}}), ("d", "\ud800")):
        with pytest.raises(ValueError):
            state[key] = value  # type: ignore[index]
    for missing in ("a", "d"):
        with pytest.raises(KeyError):
            state[missing]
        with pytest.raises(KeyError):
            del state[missing]
    assert session.changed_state() == b'{"b":[1,2],"c":null}'
    state.clear()
    assert session.changed_state() == b"{}"
