"""What is compiled is of the sources that are here, and runs only where it fits and is wanted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from procvision_runner.connection.steady_calls import CORE
from procvision_sdk.compiled import COMPILED_VARIABLE, compiled, is_built
from procvision_tools.diagnosis import STEADY_CORES

ROOT = Path(__file__).parents[2]
BUILT = [name for name in STEADY_CORES.values() if is_built(name)]
needs_the_core = pytest.mark.skipif(not is_built(CORE), reason="no C compiler was there at the installation")


@pytest.mark.parametrize("name", BUILT)
def test_a_core_is_of_its_source(name: str) -> None:
    """If this fails, a C file has changed since: pip install -e . --no-deps"""
    module = compiled(name)
    if module is None:
        pytest.skip(f"{COMPILED_VARIABLE} turns it off")
    code = f"import hatch_build, pathlib; print(hatch_build.source_of(pathlib.Path('.'), {name.replace('.', '/')!r}))"
    assert _run(code).stdout.strip() == module.SOURCE


@needs_the_core
def test_the_environment_turns_it_off() -> None:
    """0 alone does."""
    code = f"from procvision_sdk.compiled import compiled; print(compiled({CORE!r}) is not None)"
    for value, there in (("0", "False"), ("1", "True"), ("", "True")):
        assert _run(code, **{COMPILED_VARIABLE: value}).stdout.strip() == there


@needs_the_core
@pytest.mark.parametrize(
    "text",
    [
        '{"a":[1,-2,0.5,1e3,-0.0,true,false,null,"é"],"b":{}}',
        "0.1",
        "123456789012345678",
        "1e-7",
        "0.1234567890123456789",
    ],
)
def test_the_reader_reads_as_the_decoder_does(text: str) -> None:
    """To the last bit."""
    padded = f"[{text}]".encode()
    assert repr(compiled(CORE).read_value(padded)) == repr(msgspec.json.decode(padded))


@needs_the_core
@pytest.mark.parametrize(
    "text",
    ["", "[", '"', "[01]", "[1.]", "[.5]", "[1e]", "[1e999]", "[ 1]", "[1,]", '{"a"}', '{"a":1,}', "[" * 17 + "]" * 17,
     '"\\n"', '"\x1f"', "[nul]", "1234567890123456789", "[]x", "[-]", "[+1]", '["a]', "[NaN]"],
)  # fmt: skip
def test_the_reader_leaves_what_it_is_not_sure_of(text: str) -> None:
    """To those who tell what is wrong with it."""
    with pytest.raises(ValueError, match="left"):
        compiled(CORE).read_value(text.encode())
    with pytest.raises(ValueError, match="left"):
        compiled(CORE).read_value(b'"\xff"')


def _run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
