"""The names that others build on: a change to one of these lists is a change of the interface, and meant."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

SDK = """
AlgorithmError BaseAlgorithm Defect Diagnostics ErrorCode Failed FatalError GPUOutOfMemoryError Ng Ok Prepared
ProcVisionError ProgramError RecoverableError Rect Session StructuredLogger hookimpl read_image_from_shared_memory
"""
RUNNER = """
AlgorithmRunner BrokenError CallError CallFacts CallFailedError CallResult CallTimeoutError EnvironmentPolicy Event
GoldenPicture HostDiedError Inspected InspectionSession JsonLines LaunchError Lease Picture Pool ProtocolViolationError
ResourceLimits RestartPolicy RetryPolicy Runner RunnerError RunnerOptions RunnerStoppedError SessionLostError
SlotsExhaustedError SuspectPictureError Supervisor SupervisorOptions SupervisorState SwapError SwapReport
"""
TESTING = """
AlgorithmRunner CallFailedError ContractBrokenError Finding HookHost Kills PlacedDefect SamplePictures check_algorithm
check_hook_plugin check_image_backend check_session_store check_survives_kills examine make_plate snapshot with_marks
"""
CONFORMANCE = """
ConformanceError ConnectionTarget HostFacts Inspectable Outcome ProcessTarget Row RowSkippedError TableError Target
ask_host by_paragraph fitted load_rows play read_table run_row table_files
"""
NAMES = {
    "procvision_sdk": SDK,
    "procvision_runner": RUNNER,
    "procvision_testing": TESTING,
    "procvision_testing.conformance": CONFORMANCE,
}


@pytest.mark.parametrize("module", NAMES)
def test_public_names_are_these(module: str) -> None:
    """No more, no fewer, each of them there, and `dir` and `import *` give them."""
    imported = importlib.import_module(module)
    assert sorted(imported.__all__) == sorted(NAMES[module].split())
    for name in imported.__all__:
        assert getattr(imported, name) is not None
    assert set(imported.__all__) <= set(dir(imported))
    starred: dict[str, object] = {}
    exec(f"from {module} import *", starred)
    assert set(imported.__all__) <= set(starred)


def test_a_public_name_is_one_thing() -> None:
    """Whatever package it is imported from."""
    things: dict[str, set[int]] = {}
    for module in NAMES:
        imported = importlib.import_module(module)
        for name in imported.__all__:
            things.setdefault(name, set()).add(id(getattr(imported, name)))
    assert {name for name, found in things.items() if len(found) > 1} == set()


@pytest.mark.parametrize("module", ["procvision_sdk", "procvision_testing"])
def test_name_that_is_not_there_is_an_attribute_error(module: str) -> None:
    """As of any module, although these load their names when they are first used."""
    with pytest.raises(AttributeError, match="Unheard"):
        _ = importlib.import_module(module).Unheard


@pytest.mark.parametrize(
    ("imported", "absent"),
    [
        ("procvision_sdk", ["numpy", "msgspec", "attrs", "typing", "procvision_sdk.algorithm"]),
        ("procvision_sdk.wire.connection", ["numpy", "procvision_sdk.algorithm", "importlib_metadata"]),
        ("procvision_sdk.wire.greeting", ["typing", "msgspec", "attrs", "json"]),
        ("procvision_host.process.channels", ["typing", "msgspec", "logging", "procvision_sdk.algorithm"]),
        ("procvision_host.run", ["numpy", "importlib_metadata", "procvision_host.hooks.manager"]),
    ],
)
def test_importing_a_part_costs_that_part_alone(imported: str, absent: list[str]) -> None:
    """What a start before its hello, or a vendor's own import, would pay for."""
    program = f"import sys, {imported}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", _with_paths(program)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def _with_paths(program: str) -> str:
    return f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}; {program}"
