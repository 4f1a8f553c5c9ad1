"""Where an installed algorithm's manifest lies, no matter what makes Python find the package."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from procvision_sdk.errors import ManifestError
from procvision_sdk.manifest.finding import manifest_folder


class Mapped:
    """A finder as editable installations have one: names of packages, and where they lie instead."""

    def __init__(self, places: dict[str, Path]) -> None:
        self.places = places

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Answer for the names that are mapped."""
        place = self.places.get(name)
        if place is None:
            return None
        file = place / "__init__.py"
        return importlib.util.spec_from_file_location(name, file, submodule_search_locations=[str(place)])


@pytest.fixture
def finders() -> Iterator[list[object]]:
    """The finders of Python, as they were after the test."""
    before = list(sys.meta_path)
    try:
        yield sys.meta_path  # type: ignore[misc]
    finally:
        sys.meta_path[:] = before


def package(folder: Path) -> Path:
    (folder / "deep").mkdir(parents=True)
    for init in (folder / "__init__.py", folder / "deep" / "__init__.py"):
        init.write_text("raise AssertionError('nothing is imported')")
    (folder / "algorithm.py").write_text("raise AssertionError('nothing is imported')")
    (folder / "manifest.json").write_text("{}")
    return folder


def test_an_editable_installations_own_finder_is_asked(tmp_path: Path, finders: list[object]) -> None:
    """Its package is on no path; a module in a package below it is found too. Nothing is imported."""
    place = package(tmp_path / "elsewhere" / "under_another_name")
    finders.append(Mapped({"flatalgo": place}))
    assert manifest_folder("flatalgo.algorithm:Algo") == place
    assert manifest_folder("flatalgo.deep:Algo") == place
    (place / "deep" / "manifest.json").write_text("{}")
    assert manifest_folder("flatalgo.deep:Algo") == place / "deep"
    assert "flatalgo" not in sys.modules


def test_a_finder_that_raises_hides_nothing(
    tmp_path: Path, finders: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies on the path is found all the same."""

    class Broken:
        def find_spec(self, *_: object) -> None:
            raise ImportError("half an editable installation")

    monkeypatch.syspath_prepend(str(tmp_path))
    place = package(tmp_path / "plainalgo")
    finders.insert(0, Broken())
    assert manifest_folder("plainalgo.algorithm:Algo") == place


def test_a_module_that_is_nowhere_is_named() -> None:
    with pytest.raises(ManifestError, match="names 'nowhere', which isn't there"):
        manifest_folder("nowhere.algorithm:Algo")
