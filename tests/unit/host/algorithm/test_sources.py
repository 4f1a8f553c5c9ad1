"""Algorithms by scheme: what a source offers is a row like any other, what goes wrong in it is a reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from peer_plugins import install

from procvision_host.algorithm.discovery import UnknownAlgorithmError, find
from procvision_host.algorithm.loader import load
from procvision_host.algorithm.sources import sources
from procvision_sdk.manifest.model import Manifest, Step

SOURCE = """
from pathlib import Path
from procvision_sdk import BaseAlgorithm, Ok
from procvision_sdk.errors import ManifestError
from procvision_sdk.manifest.model import Manifest, Step
from procvision_sdk.sources import Made, Offer

class Shelved(BaseAlgorithm):
    def execute(self, *call):
        return Ok()

def manifest(version):
    return Manifest(name="shelved", version=version, entry_point="shelf:Shelved", supported_pids=["*"],
                    steps=[Step(index=1, name="look")])

def shelf(rest):
    if rest == "empty":
        raise ManifestError("nothing lies there; hint: look elsewhere")
    return Offer(manifest(rest), Path(__file__).parent, lambda: Made(Shelved(), manifest("9.9")))

def nothing(rest):
    return None
"""


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with three sources, one of which can't be imported."""
    (tmp_path / "shelf_of_test.py").write_text(SOURCE)
    brings = {"shelf": "shelf_of_test:shelf", "nothing": "shelf_of_test:nothing", "gone": "not_there_at_all:shelf"}
    install(tmp_path, "shelf-of-test", {"procvision.algorithm_sources": brings}, "1.0")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "shelf_of_test", raising=False)


def test_sources_are_listed_without_importing_them(shelf: None) -> None:
    """By scheme, with the distribution that brings them."""
    rows = {row.scheme: row for row in sources()}
    assert {"gone", "nothing", "shelf"} <= set(rows)
    assert (rows["shelf"].distribution, rows["shelf"].distribution_version) == ("shelf-of-test", "1.0")
    assert "shelf_of_test" not in sys.modules


def test_what_a_source_offers_is_loaded_by_the_source(shelf: None) -> None:
    """The manifest that came with the made algorithm is the one that counts."""
    row = find("shelf:2.0")
    assert (row.name, row.version, row.distribution) == ("shelved", "2.0", "shelf-of-test")
    assert "make" not in repr(row)
    made = load(row)
    assert type(made.algorithm).__name__ == "Shelved"
    assert made.manifest == Manifest(
        name="shelved",
        version="9.9",
        entry_point="shelf:Shelved",
        supported_pids=["*"],
        steps=[Step(index=1, name="look")],
    )


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("shelf:empty", "shelf:empty can't be used: nothing lies there; hint"),
        ("nothing:x", "gave NoneType, a source gives procvision_sdk.sources.Offer"),
        ("gone:x", "ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("unheard:x", "no source of algorithms is installed .* for 'unheard'; installed: .*shelf:"),
    ],
)
def test_a_broken_source_is_a_reason(shelf: None, asked: str, reason: str) -> None:
    """The other sources and every installed algorithm stay usable."""
    with pytest.raises(UnknownAlgorithmError, match=reason):
        find(asked)
    assert find("shelf:1").error is None
