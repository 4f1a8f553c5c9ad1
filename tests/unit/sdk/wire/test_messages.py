"""The message classes."""

from __future__ import annotations

import pytest

from procvision_sdk.wire import messages
from procvision_sdk.wire.messages import MESSAGE_TYPES, Call, CallFields, Message, SessionRef


def message_classes() -> list[type[Message]]:
    """All but their base."""
    found = [cls for cls in vars(messages).values() if isinstance(cls, type) and issubclass(cls, Message)]
    return [cls for cls in found if cls is not Message]


@pytest.mark.parametrize("cls", message_classes(), ids=lambda cls: cls.__name__)
def test_type_is_the_tag(cls: type[Message]) -> None:
    """The name that code compares is the one on the wire."""
    assert cls.__struct_config__.tag == cls.TYPE
    assert cls.TYPE in MESSAGE_TYPES


def test_every_type_has_a_class() -> None:
    """And hello has two."""
    names = sorted(cls.TYPE for cls in message_classes())
    assert names == sorted([*MESSAGE_TYPES, "hello"])


def test_data_repeats_the_fields_of_a_call() -> None:
    """All that a call has of its own, and nothing else."""
    own = set(Call.__struct_fields__) - set(Message.__struct_fields__) - {"data"}
    assert set(CallFields.__struct_fields__) == own


def test_field_at_the_top_wins() -> None:
    """Zero and empty objects are values too."""
    inner = CallFields(step_index=1, user_params={"a": 1}, timeout_ms=5, session=SessionRef(id="in"), pid="in")
    call = Call(step_index=0, user_params={}, timeout_ms=0, session=SessionRef(id="top"), pid="", data=inner)
    flat = call.flattened()
    assert (flat.step_index, flat.user_params, flat.timeout_ms) == (0, {}, 0)
    assert flat.session == SessionRef(id="top")
    assert flat.data is None


def test_what_the_top_lacks_is_taken_from_data() -> None:
    """As hosts in the field read it."""
    call = Call(data=CallFields(phase="pre", step_index=2, shared_mem_id="x", image_meta={"width": 1})).flattened()
    assert call == Call(phase="pre", step_index=2, shared_mem_id="x", image_meta={"width": 1})
