"""One tree of errors, drawn once, and one name for an error's code."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re

import pytest

from procvision_sdk import errors
from procvision_sdk.errors import ErrorCode, ProcVisionError

BRANCH = re.compile(r"^(?P<indent>(?:[│ ]   )*)[├└]── (?P<name>\w+)", re.MULTILINE)
PACKAGES = ("procvision_sdk", "procvision_runner")
EVERY_PACKAGE = (*PACKAGES, "procvision_host", "procvision_testing", "procvision_tools")


def imported(packages: tuple[str, ...]) -> None:
    """Everything of them that can be imported without another package's extra, and does nothing when it is."""
    for package in packages:
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            if not module.name.endswith(("__main__", ".run", ".testing", "misbehaving_host")):
                importlib.import_module(module.name)


def below(root: type[BaseException]) -> set[type[BaseException]]:
    return {root}.union(*(below(kind) for kind in root.__subclasses__()))


def drawn() -> set[tuple[str, str]]:
    """Each error of the drawing with the one that it stands below."""
    parents = ["ProcVisionError"]
    edges = set()
    for branch in BRANCH.finditer(errors.__doc__ or ""):
        depth = len(branch["indent"]) // 4
        parents[depth + 1 :] = [branch["name"]]
        edges.add((branch["name"], parents[depth]))
    return edges


def test_the_drawing_is_the_tree() -> None:
    """Of contract and runner, whole, and nothing else."""
    imported(PACKAGES)
    real = {
        (kind.__name__, kind.__mro__[1].__name__)
        for kind in below(ProcVisionError) - {ProcVisionError}
        if kind.__module__.partition(".")[0] in PACKAGES
    }
    assert drawn() == real
    assert len(real) > 20


def test_no_two_errors_have_one_name() -> None:
    imported(EVERY_PACKAGE)
    ours = [kind for kind in below(BaseException) if kind.__module__.partition(".")[0] in EVERY_PACKAGE]
    names = [kind.__name__ for kind in ours]
    assert len(names) > 30
    assert sorted(names) == sorted(set(names))


def test_an_errors_code_is_its_error_code() -> None:
    """Nowhere `code`: not as an attribute of the class or of the one that is made, not as an argument."""
    imported(EVERY_PACKAGE)
    for kind in below(ProcVisionError):
        if kind.__module__.partition(".")[0] in EVERY_PACKAGE:
            assert not hasattr(kind, "code"), kind
            assert "code" not in inspect.signature(kind.__init__).parameters, kind


@pytest.mark.parametrize("error_code", [ErrorCode.ASSET_NOT_FOUND, "V-17"])
def test_a_code_is_given_and_read_by_one_name(error_code: str) -> None:
    assert errors.ProgramError("no template", error_code=error_code).error_code == error_code
    assert errors.CallRefusedError(error_code, "kind", "text").error_code == error_code
    assert errors.ManifestError("text").error_code == ErrorCode.MANIFEST_INVALID
