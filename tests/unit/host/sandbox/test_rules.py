"""What each level keeps a process from, tried: as this user, as an ordinary one, and on a machine that lacks some."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from procvision_host.sandbox.rules import RULES, Level, table, try_rules

ROOT = Path(__file__).parents[4]
OPEN_TO_ALL = {
    "has no capabilities and gains none", "mounts nothing", "starts nothing in other namespaces",
    "changes no settings of the kernel",
}  # fmt: skip
"""An ordinary user may have none of these even where nothing refuses them."""

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


def run(code: str) -> str:
    """Runs a program with the product on its path; what it printed."""
    paths = [str(ROOT), *(path for path in sys.path if path.endswith("-packages"))]
    program = f"import sys; sys.path[:0] = {paths!r}\n{textwrap.dedent(code)}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


BECOME = """
# Imported before it becomes the other user, who may not be let into this checkout.
import json, os, tempfile
from procvision_host.sandbox import confinement, kernel, landlock, namespaces, privileges, rules, seccomp
import procvision_host.sandbox.rules as rules
os.setgroups([]); os.setresgid(12345, 12345, 12345); os.setresuid(12345, 12345, 12345)
kernel.prctl(4, 1)  # as after an exec: its files in /proc are its own
os.environ["HOME"] = "/root"
"""


def test_nothing_is_held_where_nothing_is_given_up() -> None:
    """So that each attempt is one that works: a rule that can't be broken proves nothing."""
    broken = {tried.rule.name for tried in try_rules(Level.OFF) if not tried.held}
    wanted = {rule.name for rule in RULES if rule.level is Level.BASIC}
    assert wanted - broken <= OPEN_TO_ALL if os.getuid() else wanted == broken, wanted - broken


@pytest.mark.parametrize("level", [Level.BASIC, Level.STRICT])
def test_every_rule_of_a_level_is_held(level: Level) -> None:
    """As the user that these tests run as."""
    assert not [(tried.rule.name, tried.detail) for tried in try_rules(level) if not tried.held]


@as_root
def test_strict_attempts_work_for_a_process_that_is_free() -> None:
    """Those of `strict` as well, in a process that gave up nothing."""
    code = """
    from procvision_host.sandbox.rules import RULES, _outcome, _scene
    with _scene() as scene:
        print({rule.name: _outcome(rule, scene) for rule in RULES})
    """
    found = dict(eval(run(code)))
    assert {name: text for name, text in found.items() if text != "it could be done"} == {}


@as_root
@pytest.mark.parametrize("level", ["basic", "strict"])
def test_every_rule_is_held_for_an_ordinary_user(level: str) -> None:
    """Who has no capabilities to begin with, and may make a user namespace."""
    found = json.loads(
        run(
            BECOME
            + f"""
print(json.dumps([
    [tried.rule.name, tried.held, tried.detail] for tried in rules.try_rules(rules.Level({level!r}))
] + [["namespaces", rules.try_namespaces() is None, ""]]))
"""
        )
    )
    assert len(found) > 10
    assert not [row for row in found if not row[1]]


WITHOUT_LANDLOCK = """
import errno, json
from procvision_host.sandbox import rules, seccomp
from procvision_host.sandbox.confinement import Confinement, Level, confine
calls = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")
seccomp.refuse([seccomp.Refusal(calls, seccomp.refusing(errno.{error}))])
missing = confine(Confinement(level=Level.STRICT))
print(json.dumps([[one.mechanism, str(one)] for one in missing]))
"""


@pytest.mark.parametrize(
    ("error", "text"),
    [("ENOSYS", "needs Linux 5.13"), ("EOPNOTSUPP", "lsm="), ("EPERM", "a container's seccomp profile")],
)
def test_a_machine_without_landlock_says_so_by_name(error: str, text: str) -> None:
    """A filter that refuses its calls stands for an old kernel; the reason is told from the errno."""
    missing = json.loads(run(WITHOUT_LANDLOCK.replace("{error}", error)))
    assert [mechanism for mechanism, _ in missing] == ["Landlock"]
    assert text in missing[0][1]


def test_what_is_not_held_is_a_row_with_its_reason() -> None:
    """On a machine without Landlock the other rules are held, and those of Landlock say what is missing."""
    code = WITHOUT_LANDLOCK.partition("missing =")[0].replace("{error}", "ENOSYS")
    code += "print(json.dumps([[r.name, r.by, r.held, r.detail] for r in rules.table()]))\n"
    rows = json.loads(run(code))
    lost = {by for _, by, held, _ in rows if not held}
    assert lost
    assert lost <= {"Landlock", "Landlock's scopes"}
    assert all("Linux 5.13" in detail for _, _, held, detail in rows if not held)
    assert {"seccomp", "capabilities, no_new_privs"} <= {by for _, by, held, _ in rows if held}


def test_the_table_has_a_row_for_each_rule() -> None:
    """And for the namespaces."""
    rows = table()
    assert [row.name for row in rows][: len(RULES)] == [rule.name for rule in RULES]
    assert {row.by for row in rows[len(RULES) :]} == {"namespaces"}
    assert all(row.held for row in rows), [row for row in rows if not row.held]
