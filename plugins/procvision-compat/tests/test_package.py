"""Field packages as they may be: what can be used is, the rest is a reason."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from procvision_compat.package import FieldPackage, host_name
from procvision_compat.steps import UNDECLARED_STEPS
from procvision_sdk.errors import ManifestError

GOOD: dict[str, Any] = {"name": "weld", "version": "1.0", "entry_point": "weld.main:Weld"}


def written(folder: Path, fields: Any) -> Path:
    folder.joinpath("manifest.json").write_text(fields if isinstance(fields, str) else json.dumps(fields))
    return folder


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ("{", "not JSON"),
        ([], "holds list"),
        ({}, "name, version, entry_point must be there"),
        ({**GOOD, "entry_point": None}, "entry_point must be there"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_manifest_that_can_t_be_used_says_why(tmp_path: Path, fields: Any, text: str) -> None:
    """With the file's path."""
    with pytest.raises(ManifestError, match=text):
        FieldPackage.read(written(tmp_path, fields))


def test_steps_count_from_1_whatever_they_counted_from(tmp_path: Path) -> None:
    """The field's templates number from 0."""
    declared = [{"index": 1, "name": "b"}, {"index": 0, "name": "a", "params": [{"key": "n", "type": "int"}]}]
    package = FieldPackage.read(written(tmp_path, {**GOOD, "supported_pids": ["A"], "steps": declared}))
    manifest = package.manifest()
    assert [(step.index, step.name) for step in manifest.steps] == [(1, "a"), (2, "b")]
    assert [parameter.key for parameter in manifest.steps[0].params] == ["n"]
    assert manifest.supported_pids == ["A"]


def test_one_that_declares_no_steps_takes_any_of_a_good_many(tmp_path: Path) -> None:
    """As SDK 0.3.x has it: each with the arguments of its execute."""
    manifest = FieldPackage.read(written(tmp_path, GOOD)).manifest()
    assert len(manifest.steps) == UNDECLARED_STEPS
    assert [parameter.key for parameter in manifest.steps[-1].params] == ["step_desc", "guide_info"]
    assert manifest.supported_pids == ["*"]


def test_what_get_info_tells_fills_what_the_manifest_leaves_out(tmp_path: Path) -> None:
    """SDK 0.0.x asks for the steps in neither place."""
    package = FieldPackage.read(written(tmp_path, {**GOOD, "supported_pids": ["A"]}))
    info = {"supported_pids": ["B"], "steps": [{"index": 0, "name": "seam", "params": [{"key": "w", "type": "float"}]}]}
    manifest = package.manifest(guided=False, info=info)
    assert [step.name for step in manifest.steps] == ["seam"]
    assert manifest.supported_pids == ["A"]


def test_parameters_that_contradict_themselves_are_left_out_and_named(tmp_path: Path) -> None:
    """The step is usable without them."""
    params = [{"key": "a", "type": "int", "min": 3, "max": 1}, {"key": "b", "type": "select", "options": ["x"]}, 7]
    fields = {**GOOD, "supported_pids": ["A"], "steps": [{"index": 1, "name": "s", "params": params}]}
    step = FieldPackage.read(written(tmp_path, fields)).manifest().steps[0]
    assert [parameter.key for parameter in step.params] == ["b"]
    assert "can't express: a, 7" in step.description


@pytest.mark.parametrize(("name", "expected"), [("My Algo", "my-algo"), ("焊缝检测", "legacy"), ("a_b.c-", "a_b.c")])
def test_any_name_becomes_an_algorithm_s(name: str, expected: str) -> None:
    """Lower case, and what a name may hold."""
    assert host_name(name) == expected


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("class Weld:\n    pass", "has no method execute"),
        ("class Weld:\n    def execute(self, picture): ...", "takes \\(picture\\)"),
        ("class Weld:\n    def execute(self, a, b, c, d, e, f): ...", "doesn't implement get_info, pre_execute"),
        ("Weld = 3", "names a class"),
        ("Other = 3", "has no 'Weld'"),
        ("import nothing_of_that_name", "nothing_of_that_name"),
        ("raise SystemExit(4)", "SystemExit"),
    ],
)
def test_an_entry_point_that_can_t_be_used_says_why(tmp_path: Path, source: str, text: str) -> None:
    """procvision-host check, exit status 70."""
    written(tmp_path, GOOD)
    package = tmp_path / "weld"
    package.mkdir()
    (package / "main.py").write_text(source)
    command = [sys.executable, "-m", "procvision_host", "check", f"legacy:{tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert re.search(text, done.stderr), done.stderr
