"""The tables as data. What they say, tests/conformance holds against a table of its own."""

from __future__ import annotations

import pytest

from procvision_sdk.wire.messages import MESSAGE_TYPES
from procvision_sdk.wire.tables import STATUS_TRANSITIONS, TRANSITIONS, ConnectionState, HostStatus, Role


@pytest.mark.parametrize("role", Role)
def test_every_state_has_a_row(role: Role) -> None:
    """And every act is one that the other tables know."""
    assert set(TRANSITIONS[role]) == set(ConnectionState)
    acts = {act for row in TRANSITIONS[role].values() for act in row}
    assert {name for way, name in acts if way == "send"} <= set(MESSAGE_TYPES)
    assert {name for way, name in acts if way == "receive"} <= {*MESSAGE_TYPES, "end", "garbage"}
    assert {name for way, name in acts if way == "local"} <= {"drain"}


@pytest.mark.parametrize("role", Role)
def test_every_state_can_be_reached(role: Role) -> None:
    """From the first one, by the table alone."""
    reached = {ConnectionState.STARTING}
    for _ in ConnectionState:
        reached |= {target for state in reached for target in TRANSITIONS[role][state].values()}
    assert reached == set(ConnectionState)


def test_what_one_side_may_send_the_other_can_receive() -> None:
    """Somewhere: a message that nobody takes would be dead letters."""
    for role, peer in ((Role.HOST, Role.RUNNER), (Role.RUNNER, Role.HOST)):
        sent = {name for row in TRANSITIONS[role].values() for way, name in row if way == "send"}
        taken = {name for row in TRANSITIONS[peer].values() for way, name in row if way == "receive"}
        assert sent == taken & set(MESSAGE_TYPES)


def test_tables_cannot_be_changed() -> None:
    """They are the contract."""
    with pytest.raises(TypeError):
        TRANSITIONS[Role.HOST] = {}  # type: ignore[index]


def test_host_status_only_ends_in_draining() -> None:
    """From where nothing leads back."""
    assert set(STATUS_TRANSITIONS) == set(HostStatus)
    assert set(STATUS_TRANSITIONS[HostStatus.DRAINING].values()) == {HostStatus.DRAINING}
    assert all(events["drain"] is HostStatus.DRAINING for events in STATUS_TRANSITIONS.values())
