"""The rules of a line as data: what an event does to a product in which state, and what is commanded then.

*Recorded* and *told* are two things. An OK or NG is told when its record is on the disk, never before. At the deadline
a product without a told verdict is told ERROR, recorded or not; what is told then is recorded as soon as it can be.
What does not stand in the table changes nothing. `Line` interprets it; the reference page and its diagram are made
from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias


class ProductState(StrEnum):
    """Where a product is between its trigger and its end."""

    NEW = "new"
    """Its trigger has just come."""
    GRABBING = "grabbing"
    """A camera was asked for the picture of its current step."""
    INSPECTING = "inspecting"
    """An algorithm was asked for the answer of its current step."""
    RECORDING = "recording"
    """Its verdict stands and is being recorded; nothing was told."""
    UNRECORDED = "unrecorded"
    """Its verdict could not be recorded; nothing was told, and recording is tried again."""
    LATE = "late"
    """ERROR was told at the deadline while its record was being written."""
    RECONCILING = "reconciling"
    """ERROR was told at the deadline; the record that says so is being written."""
    OWED = "owed"
    """ERROR was told at the deadline; the record that says so could not be written, and is tried again."""
    DONE = "done"
    """Told once, and recorded."""


class Act(StrEnum):
    """What can happen to a product."""

    TRIGGER = "trigger"
    """It came, and the line has room for it."""
    BUSY = "busy"
    """It came while as many products as the line takes were on their way."""
    PICTURE = "picture"
    """The picture of the current step came."""
    NO_PICTURE = "no_picture"
    """The camera has no picture for the current step."""
    ANSWER = "answer"
    """The current step was judged OK or NG, and another step follows."""
    VERDICT = "verdict"
    """The last step was judged, or one could not be: the product's verdict stands."""
    RECORDED = "recorded"
    """The record is on the disk."""
    NOT_RECORDED = "not_recorded"
    """The record could not be written."""
    RETRY = "retry"
    """It is time to try the record again."""
    DEADLINE = "deadline"
    """The time from trigger to verdict is over."""


class Deed(StrEnum):
    """What a transition commands."""

    GRAB = "grab"
    """Take the picture of the current step."""
    CALL = "call"
    """Ask the algorithm of the current step."""
    RECORD = "record"
    """Write the record."""
    TELL = "tell"
    """Tell the verdict to the line: the recorded one, or ERROR at the deadline."""


Transition: TypeAlias = tuple[ProductState, tuple[Deed, ...]]

_S, _A, _D = ProductState, Act, Deed

TRANSITIONS: Mapping[ProductState, Mapping[Act, Transition]] = MappingProxyType(
    {
        _S.NEW: {
            _A.TRIGGER: (_S.GRABBING, (_D.GRAB,)),
            _A.BUSY: (_S.RECORDING, (_D.RECORD,)),
        },
        _S.GRABBING: {
            _A.PICTURE: (_S.INSPECTING, (_D.CALL,)),
            _A.NO_PICTURE: (_S.RECORDING, (_D.RECORD,)),
            _A.DEADLINE: (_S.RECONCILING, (_D.TELL, _D.RECORD)),
        },
        _S.INSPECTING: {
            _A.ANSWER: (_S.GRABBING, (_D.GRAB,)),
            _A.VERDICT: (_S.RECORDING, (_D.RECORD,)),
            _A.DEADLINE: (_S.RECONCILING, (_D.TELL, _D.RECORD)),
        },
        _S.RECORDING: {
            _A.RECORDED: (_S.DONE, (_D.TELL,)),
            _A.NOT_RECORDED: (_S.UNRECORDED, ()),
            _A.DEADLINE: (_S.LATE, (_D.TELL,)),
        },
        _S.UNRECORDED: {
            _A.RETRY: (_S.RECORDING, (_D.RECORD,)),
            _A.DEADLINE: (_S.RECONCILING, (_D.TELL, _D.RECORD)),
        },
        # Either way one more record is owed: that ERROR was told, or the product with it.
        _S.LATE: {
            _A.RECORDED: (_S.RECONCILING, (_D.RECORD,)),
            _A.NOT_RECORDED: (_S.OWED, ()),
        },
        _S.RECONCILING: {
            _A.RECORDED: (_S.DONE, ()),
            _A.NOT_RECORDED: (_S.OWED, ()),
        },
        _S.OWED: {
            _A.RETRY: (_S.RECONCILING, (_D.RECORD,)),
        },
        _S.DONE: {},
    }
)

UNDECIDED = frozenset({_S.GRABBING, _S.INSPECTING})
"""States of a product that has no verdict yet: so many of them are taken at a time."""
