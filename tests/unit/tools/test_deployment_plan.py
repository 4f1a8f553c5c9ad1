"""The plan of a station's versions, as a table: from a state and a wish to steps, or to an error with its code."""

from __future__ import annotations

import pytest

pytest.importorskip("packaging.metadata", reason="packaging reads wheels")

from procvision_tools.bundling.errors import BundleError
from procvision_tools.deployments.plan import State, Wish, plan

ONE, TWO = ("weld", "1"), ("weld", "2")
BOTH = State({ONE: "a", TWO: "b"}, recorded={"a": ONE, "b": TWO})


def with_active(*versions, pid="*", **changes):
    active = {("weld", pid): versions[-1]}
    facts = {
        "installed": BOTH.installed,
        "recorded": BOTH.recorded,
        "active": active,
        "wanted": {("weld", pid): versions},
    }
    return State(**(facts | changes))


def words(steps):
    return [" ".join(filter(None, (step.kind, step.name, step.version, step.pid, step.event))) for step in steps]


INSTALL_ONE, INSTALL_THREE = Wish("install", "weld", "1"), Wish("install", "weld", "3")
NEW = ["build weld 3", "publish weld 3", "record_installed weld 3"]
TABLE = {
    "into nothing": (State(), INSTALL_ONE, ["build weld 1", "publish weld 1", "record_installed weld 1"]),
    "beside others": (BOTH, INSTALL_THREE, NEW),
    "after a build that was killed": (
        State(BOTH.installed, recorded=BOTH.recorded, left=frozenset({"weld/.3.part"})), INSTALL_THREE,
        ["clear weld/.3.part", *NEW]),
    "published, not recorded": (State({ONE: "a"}), Wish("mend"), ["record_installed weld 1"]),
    "activate": (BOTH, Wish("activate", "weld", "1", ("*",)),
                 ["record_active weld 1 * activated", "link weld 1 *"]),
    "activate for two products": (
        BOTH, Wish("activate", "weld", "2", ("A", "B")),
        ["record_active weld 2 A activated", "link weld 2 A", "record_active weld 2 B activated", "link weld 2 B"]),
    "activate what is active": (with_active("1"), Wish("activate", "weld", "1", ("*",)), []),
    "recorded, not linked": (
        with_active("1", active={("weld", "*"): "1"}, wanted={("weld", "*"): ("1", "2")}), Wish("mend"),
        ["link weld 2 *"]),
    "recorded, not linked, and wanted again": (
        with_active("1", active={}, wanted={("weld", "*"): ("1",)}), Wish("activate", "weld", "1", ("*",)),
        ["link weld 1 *"]),
    "roll back": (with_active("1", "2"), Wish("rollback", "weld", pids=("*",)),
                  ["record_active weld 1 * rolled back", "link weld 1 *"]),
    "uninstall": (with_active("2"), Wish("uninstall", "weld", "1"),
                  ["record_removed weld 1", "hide weld 1", "clear weld/.1.gone"]),
    "removal on record, folder there": (
        State({ONE: "a", TWO: "b"}, recorded=BOTH.recorded, removed=frozenset({"a"})), Wish("mend"),
        ["hide weld 1", "clear weld/.1.gone"]),
    "half removed": (State(left=frozenset({"weld/.1.gone"})), Wish("mend"), ["clear weld/.1.gone"]),
    "installed again after it was removed": (
        State({ONE: "c"}, recorded=BOTH.recorded, removed=frozenset({"a"})), Wish("mend"), ["record_installed weld 1"]),
    "a link that was half made": (
        State(BOTH.installed, recorded=BOTH.recorded, left=frozenset({"weld/active/.A.new"})), Wish("mend"),
        ["clear weld/active/.A.new"]),
    "nothing to do": (with_active("1", "2"), Wish("mend"), []),
}  # fmt: skip
REFUSED = {
    "installed twice": (BOTH, INSTALL_ONE, "2005", "is installed already"),
    "activate what isn't there": (BOTH, Wish("activate", "weld", "9", ("*",)), "2006", "installed is weld==1, weld==2"),
    "roll back the first": (with_active("1"), Wish("rollback", "weld", pids=("*",)), "2006", "before 1"),
    "roll back nothing": (BOTH, Wish("rollback", "weld", pids=("A",)), "2006", "active for A before now"),
    "roll back to what is gone": (
        with_active("0", "1"), Wish("rollback", "weld", pids=("*",)), "2006", "weld==0 is not installed"),
    "uninstall what is active": (with_active("1"), Wish("uninstall", "weld", "1"), "2007", "is active for *"),
    "uninstall what isn't there": (BOTH, Wish("uninstall", "weld", "9"), "2006", "is not installed"),
}  # fmt: skip


@pytest.mark.parametrize("row", TABLE)
def test_steps_follow_from_state_and_wish(row):
    state, wish, expected = TABLE[row]
    assert words(plan(state, wish)) == expected


@pytest.mark.parametrize("row", REFUSED)
def test_what_cannot_be_is_refused_with_its_code(row):
    state, wish, code, text = REFUSED[row]
    with pytest.raises(BundleError) as caught:
        plan(state, wish)
    assert caught.value.error_code == code
    assert text in str(caught.value)
    assert "hint: " in str(caught.value)
