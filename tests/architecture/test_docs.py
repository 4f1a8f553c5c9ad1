"""The reference says what the code says, and leaves nothing out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from generating import protocol_words as words

from procvision_sdk.errors import ErrorCode
from procvision_sdk.images.meta import ImageMeta
from procvision_sdk.wire import messages
from procvision_sdk.wire.errors import REFUSALS
from procvision_sdk.wire.greeting import HOST_CAPABILITIES
from procvision_sdk.wire.tables import STATUS_TRANSITIONS, ConnectionState, HostStatus

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "protocol.md").read_text("utf-8")
KIND_AT = {"CallRefusedError": 1, "error_message": 1, "_send_error": 1, "loading_failed": 1, "_bad": 0}
"""Which argument of a call is a kind."""


def section(heading: str) -> str:
    """The text under a heading, up to the next of its rank or above."""
    marks, body = re.search(rf"^(#+) {re.escape(heading)}\n(.*)", PAGE, re.MULTILINE | re.DOTALL).groups()  # type: ignore[union-attr]
    return re.split(rf"^#{{1,{len(marks)}}} ", body, flags=re.MULTILINE)[0]


def kinds_in_code() -> Iterator[tuple[str, str]]:
    """Every kind that the host or the SDK writes out as a literal, and where."""
    for path in sorted([*(ROOT / "procvision_host").rglob("*.py"), *(ROOT / "procvision_sdk").rglob("*.py")]):
        at = dict(KIND_AT, _refused=0) if path.name == "call_checker.py" else KIND_AT
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            place = at.get(name)
            if place is not None and len(node.args) > place and isinstance(node.args[place], ast.Constant):
                yield str(node.args[place].value), f"{path.relative_to(ROOT)}:{node.lineno}"  # type: ignore[attr-defined]


def test_nothing_is_described_that_is_gone() -> None:
    """The words of the page are all used."""
    described = {name.split(".")[0] for name in words.FIELDS}
    assert described == {
        cls.__name__
        for cls in [*vars(messages).values(), ImageMeta]
        if isinstance(cls, type) and hasattr(cls, "__struct_fields__") and f"{cls.__name__}." in str(words.FIELDS)
    }
    for name in words.FIELDS:
        cls, field = name.split(".")
        assert field in getattr(messages, cls, ImageMeta).__struct_fields__, name
    assert set(words.CODES) == set(ErrorCode)
    assert set(words.STATES) == set(ConnectionState)
    assert set(words.STATUS_EVENTS) == {event for events in STATUS_TRANSITIONS.values() for event in events}


@pytest.mark.parametrize("name", messages.MESSAGE_TYPES)
def test_every_message_has_a_section(name: str) -> None:
    """Under its own name, ping and pong together."""
    text = section("ping and pong" if name in {"ping", "pong"} else name)
    assert len(text) > 100


@pytest.mark.parametrize(
    "cls",
    [
        cls
        for cls in vars(messages).values()
        if isinstance(cls, type) and issubclass(cls, messages.Struct) and cls is not messages.Struct
    ],
    ids=lambda cls: cls.__name__,
)
def test_every_field_is_described(cls: type) -> None:
    """Of every class that travels; what `data` repeats is described with the call."""
    described = section("Messages")
    for field in cls.__struct_fields__:  # type: ignore[attr-defined]
        assert f"| `{field}` |" in described


@pytest.mark.parametrize("kind", REFUSALS)
def test_every_refusal_of_the_wire_is_described(kind: str) -> None:
    """In the section Refusals."""
    assert f"| `{kind}` |" in section("Refusals")


def test_every_kind_that_the_code_raises_is_described() -> None:
    """A kind on the wire that the page doesn't know is a hole in the contract."""
    kinds = dict(kinds_in_code())
    assert len(kinds) > 15
    missing = {
        kind: where for kind, where in kinds.items() if f"| `{kind}` |" not in section("Kinds") + section("Refusals")
    }
    assert missing == {}
    gone = set(words.KINDS) - set(kinds) - {"recoverable", "gpu_out_of_memory", "fatal", "program"}
    assert gone <= {"load_failed", "setup_failed"}  # put together from the stage


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_is_described(code: ErrorCode) -> None:
    """In the section Error codes."""
    assert f"| `{code}` |" in section("Error codes")


@pytest.mark.parametrize("status", [0, 64, 65, 69, 70, 78])
def test_every_exit_status_is_described(status: int) -> None:
    """In the section Exit statuses."""
    assert f"| {status} |" in section("Exit statuses")


def test_every_state_status_phase_and_capability_is_described() -> None:
    """Both machines, and the words a hello may carry."""
    for state in ConnectionState:
        assert f"**{state}**" in section("The host's")
        assert f"**{state}**" in section("The runner's")
    for status in HostStatus:
        assert str(status) in section("Host status")
    for phase in messages.PHASES:
        assert f"| `{phase}` |" in section("call")
    for capability in HOST_CAPABILITIES:
        assert f"`{capability}`" in section("hello")


def test_diagrams_are_there() -> None:
    """Two of connection states, one of the host status."""
    assert PAGE.count("```mermaid\nstateDiagram-v2") == 3
