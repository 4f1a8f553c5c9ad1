"""What is installed, found without importing any of it; and from a row to an algorithm."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from peer_plugins import install_algorithm

from procvision_host.algorithm.discovery import AlgorithmRow, UnknownAlgorithmError, discover, find
from procvision_host.algorithm.loader import LoadError, load, made
from procvision_sdk import BaseAlgorithm, Ok

SOURCE = """
raise RuntimeError("nobody may import this")
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs packages for one test."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def more(name: str, source: str = SOURCE, **manifest: Any) -> Path:
        return install_algorithm(tmp_path, name, source, **manifest)

    return more


def row(name: str) -> AlgorithmRow:
    """The one row of this name."""
    (found,) = [found for found in discover() if found.name == name]
    return found


def test_row_tells_what_is_declared_and_nothing_was_imported(installed: Any) -> None:
    """A package that would fail is a row like any other."""
    installed("one-algorithm")
    found = row("one-algorithm")
    assert (found.error, found.version, found.distribution) == (None, "1.2.3", "one-algorithm")
    assert found.manifest is not None
    assert "vendor_one_algorithm" not in sys.modules


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        ({"steps": []}, "steps"),
        ({"version": "9.9.9"}, "9.9.9"),
        ({"entry_point": "elsewhere:Vendor"}, "elsewhere"),
    ],
    ids=str,
)
def test_broken_package_is_a_row_with_its_reason(installed: Any, manifest: dict[str, Any], text: str) -> None:
    """And leaves the others usable."""
    installed("sound-algorithm")
    installed("broken-algorithm", **manifest)
    assert text in str(row("broken-algorithm").error)
    assert row("sound-algorithm").error is None
    with pytest.raises(UnknownAlgorithmError, match="installed but broken"):
        find("broken-algorithm")


def test_package_that_is_gone_is_a_row(installed: Any) -> None:
    """Its metadata is all that is left of it."""
    folder = installed("gone-algorithm")
    for file in (folder / "vendor_gone_algorithm").iterdir():
        file.unlink()
    (folder / "vendor_gone_algorithm").rmdir()
    assert "isn't there" in str(row("gone-algorithm").error)


def rows(*versions: str, error: str | None = None) -> list[AlgorithmRow]:
    """Rows of one algorithm in these versions."""
    return [AlgorithmRow("weld", "weld:Weld", "weld", version, None, None, error) for version in versions]


def test_version_is_found_by_its_number() -> None:
    """And what is there instead is told."""
    known = rows("1.0", "2.0")
    assert find("weld==2.0", known) is known[1]
    assert find("weld", known) is known[0]
    with pytest.raises(UnknownAlgorithmError, match=r"in version 1\.0, 2\.0, asked for is 3\.0"):
        find("weld==3.0", known)
    with pytest.raises(UnknownAlgorithmError, match="installed: weld"):
        find("solder", known)
    with pytest.raises(UnknownAlgorithmError, match="installed: none"):
        find("solder", [])


def test_usable_row_goes_before_a_broken_one() -> None:
    """Of the same name."""
    known = rows("1.0", error="no manifest") + rows("2.0")
    assert find("weld", known) is known[1]


class Whole(BaseAlgorithm):
    def execute(self, *_: Any) -> Ok:
        return Ok()


class Unfinished(BaseAlgorithm):
    pass


class Forgetful(Whole):
    def __init__(self) -> None:
        pass


class Sessionless(BaseAlgorithm):
    def execute(self, step_index: Any, pid: Any, user_params: Any, shared_mem_id: Any, image_meta: Any) -> Ok:
        return Ok()


class Asking(Whole):
    def pre_execute(self, *_: Any, gain: float) -> Ok:  # type: ignore[override]
        return Ok()


class AskingMore(Whole):
    def pre_execute(self, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any) -> Ok:  # type: ignore[override]
        return Ok()


class Lenient(Whole):
    def pre_execute(self, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any = 1, *, gain: float = 1.0) -> Ok:
        return Ok()

    execute = functools.partialmethod(Whole.execute)  # type: ignore[assignment]


def test_what_an_entry_point_names_is_made() -> None:
    """One algorithm, with its tools, however its phases spell what they are called with."""
    assert isinstance(made(Whole, "m:Whole"), Whole)
    assert isinstance(made(Lenient, "m:Lenient"), Lenient)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (object, "not a subclass"),
        (Whole(), "not a subclass"),
        (None, "not a subclass"),
        (Unfinished, "doesn't implement execute"),
        (Forgetful, r"super\(\).__init__\(\)"),
        (
            Sessionless,
            r"m:Named.execute takes \(self, step_index, pid, user_.*hint: def execute\(self, step_index, pid, s",
        ),
        (Asking, r"m:Named.pre_execute takes \(self, gain\)"),
        (AskingMore, "m:Named.pre_execute takes .*, a host calls it with 6 arguments"),
    ],
    ids=["stranger", "instance", "none", "unfinished", "forgetful", "sessionless", "asking", "asking-more"],
)
def test_what_is_no_algorithm_is_told(target: Any, text: str) -> None:
    """By the entry point that named it."""
    with pytest.raises(LoadError, match=text):
        made(target, "m:Named")


def test_attribute_that_is_not_there_is_told(installed: Any) -> None:
    """With the place where it is named."""
    installed("empty-algorithm", "")
    with pytest.raises(LoadError, match="has no 'Vendor'"):
        load(row("empty-algorithm"))


def test_asset_that_is_missing_is_told_before_anything_is_imported(installed: Any) -> None:
    """1003, with its file and its product."""
    installed("modelless-algorithm", required_assets={"A": ["models/a.onnx"]})
    with pytest.raises(LoadError, match=r"models/a\.onnx \(for A\)") as caught:
        load(row("modelless-algorithm"))
    assert caught.value.error_code == "1003"


def test_asking_for_one_reads_nothing_of_another(installed: Any) -> None:
    """A manifest that can't be read, or that nobody would end to read, keeps no other algorithm from starting."""
    installed("wanted-algorithm")
    place = installed("slow-algorithm")
    (manifest,) = place.rglob("vendor_slow_algorithm/manifest.json")
    manifest.unlink()
    os.mkfifo(manifest)
    assert find("wanted-algorithm").error is None
    assert "manifest.json" in str(row("slow-algorithm").error)
    with pytest.raises(UnknownAlgorithmError, match="did you mean wanted-algorithm"):
        find("wantd-algorithm")
