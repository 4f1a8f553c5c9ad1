"""Needs by their names: one name for one thing, and nothing that stands for more than it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procvision_sdk.errors import ManifestError
from procvision_sdk.manifest.needs import EXAMPLES, grants_of, parse_grant, parse_need, parse_needs
from procvision_sdk.manifest.reading import parse_manifest

MANIFEST = (
    b'{"name": "a", "version": "1", "entry_point": "m:C", "supported_pids": ["*"], '
    b'"steps": [{"index": 1, "name": "x"}], "needs": %s}'
)


@pytest.mark.parametrize("text", EXAMPLES.values())
def test_an_example_is_its_own_name(text: str) -> None:
    """What the pages show can be granted as it stands."""
    assert str(parse_need(text)) == text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("network:PLC-1.Line.local:502", "network:plc-1.line.local:502"),
        ("network:[0:0:0:0:0:0:0:1]:502", "network:[::1]:502"),
        ("read://srv//models/", "read:/srv/models"),
        ("write:/srv/./a", "write:/srv/a"),
        ("device:/dev/bus//usb/001", "device:/dev/bus/usb/001"),
        ("device:/dev/nvidia*", "device:/dev/nvidia*"),
    ],
)
def test_a_need_has_one_name(text: str, name: str) -> None:
    """However it is written: what is granted under one name can't be asked for under another."""
    assert str(parse_need(text)) == name


@pytest.mark.parametrize(
    "text",
    [
        "", "plc", "network", "network:", "network:10.0.0.5", "network:10.0.0.5:0", "network:10.0.0.5:65536",
        "network:10.0.0.0/8:502", "network:*:502", "network::502", "network:10.0.5:502", "network:10.0.0.5:+502",
        "network:10.0.0.5:\uff15\uff10\uff12", "network:a b:502", "network:[10.0.0.5]:502",
        "network:[::1:502", "network:::1:502",
        "device:/dev", "device:/dev/", "device:/dev/*", "device:/dev/*a", "device:/etc/passwd", "device:/dev/*/a",
        "device:/dev/../etc/passwd", "device:nvidia0", "device:/dev/[a]", "read:/", "read://", "write:/", "read:srv",
        "read:/srv/../etc", "read:/proc", "read:/proc/1/environ", "read:/dev/mem", "write:/dev/shm", "read:/a\0b",
        "read:/" + "a" * 2000, "memory:8000", "memory:0MB", "memory:-1MB", "memory:8000GB", "memory:99999999999MB",
        "memory:MB", "processes:", "processes:0", "processes:many", "processes:9999999",
        "Network:10.0.0.5:502", "root:/", "everything",
    ],
)  # fmt: skip
def test_what_is_no_need_is_refused(text: str) -> None:
    """With its text."""
    with pytest.raises(ValueError, match=r"\S"):
        parse_need(text)


@given(
    st.sampled_from(["network:", "device:/dev/", "read:/", "write:/", "memory:", "processes:", ""]),
    st.text(max_size=40),
)
def test_any_text_is_a_need_of_one_name_or_refused(kind: str, text: str) -> None:
    """The name of a need is a need of the same name."""
    try:
        need = parse_need(kind + text)
    except ValueError:
        return
    assert parse_need(str(need)) == need
    assert ".." not in need.path.split("/")
    assert need.kind in ("network", "memory", "processes") or need.path.startswith("/")


def test_the_same_need_twice_is_one() -> None:
    """Of names; a manifest that has it twice is wrong, since two reasons were given for it."""
    assert len(parse_needs(["read:/srv", "read:/srv/"])) == 1
    with pytest.raises(ManifestError, match="one need"):
        parse_manifest(MANIFEST % b'{"read:/srv": "a", "read:/srv/": "b"}')


def test_a_manifest_names_every_wrong_need() -> None:
    """Each with what is wrong."""
    with pytest.raises(ManifestError, match=r"(?s)'plc'.*'read:/'"):
        parse_manifest(MANIFEST % b'{"plc": "x", "read:/": "y", "memory:8000MB": "z"}')
    assert parse_manifest(MANIFEST % b'{"memory:8000MB": "z"}').needs == {"memory:8000MB": "z"}
    with pytest.raises(ManifestError):
        parse_manifest(MANIFEST % b'["memory:8000MB"]')


def test_a_grant_is_every_algorithms_or_ones_alone() -> None:
    """A path may have `=` in it."""
    grants = ("read:/srv/a=b", "weld=memory:8000MB", "seam=read:/srv/a=b", "weld=read:/srv/a=b")
    assert grants_of("weld", grants) == ("read:/srv/a=b", "memory:8000MB")
    assert grants_of("other", grants) == ("read:/srv/a=b",)
    assert parse_grant("weld=memory:8000MB") == ("weld", parse_need("memory:8000MB"))
    assert parse_grant("read:/srv/a=b") == (None, parse_need("read:/srv/a=b"))
    for wrong in ("weld=", "=read:/srv", "weld=seam=read:/srv", "weld"):
        with pytest.raises(ValueError):
            parse_grant(wrong)
