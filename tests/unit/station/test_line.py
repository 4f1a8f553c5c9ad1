"""A line's products from trigger to verdict: nothing missing is an OK, and nothing is told before it is recorded."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procvision_station.line.machine import Line, LineOptions
from procvision_station.line.messages import (
    Answered,
    Call,
    Grab,
    PictureFailed,
    PictureTaken,
    Record,
    Recorded,
    RecordFailed,
    RecordKind,
    Tell,
    TimePassed,
    Triggered,
    Verdict,
)
from procvision_station.line.tables import TRANSITIONS, Act, Deed, ProductState

OK, NG, ERROR = Verdict.OK, Verdict.NG, Verdict.ERROR
DEADLINE_S = 1.0


def a_line(**numbers):
    return Line(LineOptions(deadline_s=DEADLINE_S, **numbers))


def test_an_ok_is_told_when_it_is_recorded():
    line = a_line()
    assert line.receive(Triggered("a", 1), 0.0) == [Grab("a", 0)]
    assert line.receive(PictureTaken("a", 0), 0.1) == [Call("a", 0, 1.0)]
    assert line.receive(Answered("a", 0, "OK"), 0.2) == [Record("a", RecordKind.PRODUCT, OK, OK, "")]
    assert line.next_time == 1.0
    assert line.receive(Recorded("a"), 0.3) == [Tell("a", OK, "")]
    assert line.idle
    assert line.next_time is None


def test_all_steps_are_inspected_and_the_worst_counts():
    line = a_line()
    line.receive(Triggered("a", 3), 0.0)
    for step, verdict in enumerate(["OK", "NG", "OK"]):
        assert line.receive(PictureTaken("a", step), 0.1) == [Call("a", step, 1.0)]
        commands = line.receive(Answered("a", step, verdict, f"why {step}"), 0.1)
    assert commands == [Record("a", RecordKind.PRODUCT, NG, NG, "why 1")]


def test_an_error_ends_the_inspection_at_its_step():
    line = a_line()
    line.receive(Triggered("a", 3), 0.0)
    line.receive(PictureTaken("a", 0), 0.1)
    (record,) = line.receive(Answered("a", 0, "ERROR", "it crashed"), 0.2)
    assert (record.found, record.told, record.reason) == (ERROR, ERROR, "it crashed")


@pytest.mark.parametrize("verdict", ["", "ok", "Ok", "OK ", "NONE", "true", None, 1, True, ["OK"]])
def test_an_answer_that_is_no_verdict_is_an_error(verdict):
    line = a_line()
    line.receive(Triggered("a", 1), 0.0)
    line.receive(PictureTaken("a", 0), 0.1)
    (record,) = line.receive(Answered("a", 0, verdict), 0.2)
    assert record.found is ERROR


def test_no_picture_is_an_error():
    line = a_line()
    line.receive(Triggered("a", 1), 0.0)
    (record,) = line.receive(PictureFailed("a", 0, "the camera is gone"), 0.1)
    assert (record.found, record.reason) == (ERROR, "the camera is gone")


@pytest.mark.parametrize("arrived", [0, 1])
def test_at_the_deadline_error_is_told_and_then_recorded(arrived):
    line = a_line()
    line.receive(Triggered("a", 1), 0.0)
    if arrived:
        line.receive(PictureTaken("a", 0), 0.5)
    told, record = line.receive(TimePassed(), 1.0)
    assert (type(told), told.verdict) == (Tell, ERROR)
    assert (record.kind, record.found, record.told) == (RecordKind.PRODUCT, ERROR, ERROR)
    assert line.receive(Recorded("a"), 1.1) == []
    assert line.idle


def test_an_answer_after_the_deadline_is_late_although_nobody_looked_at_the_clock():
    line = a_line()
    line.receive(Triggered("a", 1), 0.0)
    line.receive(PictureTaken("a", 0), 0.5)
    told, record = line.receive(Answered("a", 0, "OK"), 1.0)
    assert told.verdict is record.told is ERROR
    assert line.strays == 1


def test_a_record_that_is_finished_after_the_deadline_says_that_error_was_told():
    line = a_line()
    line.receive(Triggered("a", 1), 0.0)
    line.receive(PictureTaken("a", 0), 0.1)
    line.receive(Answered("a", 0, "OK"), 0.2)
    (told, record) = line.receive(Recorded("a"), 1.5)
    assert told.verdict is ERROR
    assert (record.kind, record.found, record.told) == (RecordKind.TOLD, OK, ERROR)
    assert "not on the disk" in record.reason


def test_a_verdict_that_cant_be_recorded_is_an_error_at_its_deadline_and_reconciled_later():
    line = a_line(retry_s=0.4)
    line.receive(Triggered("a", 1), 0.0)
    line.receive(PictureTaken("a", 0), 0.1)
    line.receive(Answered("a", 0, "NG", "a scratch"), 0.2)
    assert line.receive(RecordFailed("a", "disk full"), 0.3) == []
    assert line.receive(TimePassed(), 0.5) == []
    assert [type(each) for each in line.receive(TimePassed(), 0.7)] == [Record]
    line.receive(RecordFailed("a", "disk full"), 0.8)
    told, record = line.receive(TimePassed(), 1.0)
    assert told.verdict is ERROR
    assert (record.kind, record.found, record.told) == (RecordKind.PRODUCT, NG, ERROR)
    line.receive(RecordFailed("a", "disk full"), 1.1)
    assert line.next_time == pytest.approx(1.5)
    assert line.receive(TimePassed(), 9.0) == [record]
    assert line.receive(Recorded("a"), 9.1) == []
    assert line.idle


def test_a_product_too_many_is_an_error_with_a_record_at_once():
    line = a_line(max_products=2)
    line.receive(Triggered("a", 1), 0.0)
    line.receive(Triggered("b", 1), 0.0)
    (record,) = line.receive(Triggered("c", 1), 0.0)
    assert (record.key, record.found) == ("c", ERROR)
    assert line.receive(Recorded("c"), 0.1)[0].verdict is ERROR


def test_what_waits_for_its_record_is_bounded_and_the_rest_is_counted_in_a_record():
    line = a_line(max_owed=2, retry_s=10.0)
    for number in range(5):
        commands = line.receive(Triggered(str(number), 1), 0.0)
        line.receive(PictureFailed(str(number), 0, "none"), 0.0)
    assert [type(each) for each in commands] == [Tell]
    assert commands[0].verdict is ERROR
    assert line.lost_records == 3
    line.receive(RecordFailed("0", "disk full"), 0.1)
    assert [type(each) for each in line.receive(Recorded("1"), 0.1)] == [Tell]
    told, record = line.receive(TimePassed(), 1.0)
    assert (told.key, record.key, record.lost_before) == ("0", "0", 3)
    # A record that fails gives the number back, and the next one carries it.
    line.receive(RecordFailed("0", "disk full"), 1.1)
    assert line.lost_records == 3
    (record,) = line.receive(TimePassed(), 20.0)
    assert (record.lost_before, line.lost_records) == (3, 0)


def test_a_recipe_without_a_step_is_no_ok():
    line = a_line()
    (record,) = line.receive(Triggered("a", 0), 0.0)
    assert record.found is ERROR


def test_every_state_is_reached_and_every_state_leads_to_the_end():
    reached = {ProductState.NEW} | {to for row in TRANSITIONS.values() for to, _ in row.values()}
    assert reached == set(ProductState) == set(TRANSITIONS)
    ends = {ProductState.DONE}
    for _ in ProductState:
        ends |= {state for state, row in TRANSITIONS.items() if any(to in ends for to, _ in row.values())}
    assert ends == set(ProductState)


def test_the_table_tells_once_on_every_way_and_an_untold_product_has_a_deadline():
    def walk(state, told, on_disk, seen):
        if (state, told) in seen:
            return
        if state is ProductState.DONE:
            assert told == 1
            return
        if not told and state is not ProductState.NEW:
            assert Act.DEADLINE in TRANSITIONS[state]
        for to, deeds in TRANSITIONS[state].values():
            walk(to, told + deeds.count(Deed.TELL), on_disk, seen | {(state, told)})

    walk(ProductState.NEW, 0, False, frozenset())


KEYS = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.integers(0, 2)
EVENTS = st.one_of(
    st.builds(Triggered, KEYS, st.integers(0, 2)),
    st.builds(PictureTaken, KEYS, STEPS),
    st.builds(PictureFailed, KEYS, STEPS, st.just("gone")),
    st.builds(Answered, KEYS, STEPS, st.sampled_from(["OK", "OK", "OK", "NG", "ERROR", "what"])),
    st.builds(Recorded, KEYS),
    st.builds(RecordFailed, KEYS, st.just("full")),
    st.just(TimePassed()),
)
ORDERS = st.lists(st.tuples(st.integers(0, 1_000_000), EVENTS, st.floats(-0.2, 0.6)), max_size=80)


class Ledger:
    """What a careful reader would have seen of a line, and the rules that it holds it to."""

    def __init__(self):
        self.told, self.in_flight, self.on_disk, self.deadlines = {}, {}, {}, {}

    def triggered(self, key, now):
        self.deadlines.setdefault(key, now + DEADLINE_S)

    def take(self, command, now):
        if isinstance(command, Record):
            assert command.key not in self.in_flight, "one record of a product at a time"
            kinds = [record.kind for record in self.on_disk.get(command.key, [])]
            assert command.kind is (RecordKind.TOLD if kinds else RecordKind.PRODUCT)
            self.in_flight[command.key] = command
        elif isinstance(command, Tell):
            assert command.key not in self.told, "told once"
            self.told[command.key] = command.verdict
            if command.verdict is not ERROR:
                assert [record.told for record in self.on_disk[command.key]] == [command.verdict]
                assert now < self.deadlines[command.key]

    def check_end(self, used, not_yet_counted):
        """Every product was told, and has one record that agrees, or is counted in another's."""
        assert set(self.told) == used
        unrecorded = 0
        for key in used:
            records = self.on_disk.get(key, [])
            unrecorded += not records
            if records:
                assert [record.kind for record in records].count(RecordKind.PRODUCT) == 1
                assert records[-1].told is self.told[key]
            else:
                assert self.told[key] is ERROR  # since too many waited
        counted = sum(record.lost_before for records in self.on_disk.values() for record in records)
        assert unrecorded == counted + not_yet_counted

    def wrote(self, key):
        self.on_disk.setdefault(key, []).append(self.in_flight.pop(key))


@settings(max_examples=400, deadline=None)
@given(ORDERS, st.integers(1, 3), st.integers(1, 4))
def test_whatever_comes_in_whatever_order_a_told_verdict_is_recorded_and_an_error_is_told_in_time(
    order, max_products, max_owed
):
    """Records are answered for only where one is in flight, as a recorder does; everything else comes as it likes."""
    line = Line(LineOptions(deadline_s=DEADLINE_S, max_products=max_products, max_owed=max_owed, retry_s=0.3))
    ledger, now, latest, used = Ledger(), 0.0, 0.0, set()

    def receive(event):
        nonlocal latest
        latest = max(latest, now)  # what the line knows of the time: an event that is left out tells it nothing
        for command in line.receive(event, now):
            ledger.take(command, latest)

    for number, event, step in order:
        now += step
        if isinstance(event, Triggered):
            if event.key in used and line.state(event.key) is ProductState.DONE:
                continue  # a key is never used again
            used.add(event.key)
            ledger.triggered(event.key, max(latest, now))
        if isinstance(event, (Recorded, RecordFailed)):
            keys = sorted(ledger.in_flight)
            if not keys:
                continue
            key = keys[number % len(keys)]
            if isinstance(event, Recorded):
                ledger.wrote(key)
                receive(Recorded(key))
            else:
                del ledger.in_flight[key]
                receive(RecordFailed(key, "full"))
        else:
            receive(event)
        for key, deadline in ledger.deadlines.items():
            if deadline <= latest:
                assert key in ledger.told, "told at the deadline"
    # At last the disk is there again: everything is told and recorded.
    for _ in range(200):
        now = latest = latest + 1.0
        for key in sorted(ledger.in_flight):
            ledger.wrote(key)
            receive(Recorded(key))
        receive(TimePassed())
    assert line.idle
    ledger.check_end(used, line.lost_records)
