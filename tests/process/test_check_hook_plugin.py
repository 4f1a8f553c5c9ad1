"""`check_hook_plugin`: what is in the box holds to it, and it finds what is wrong with plugins that don't."""

from __future__ import annotations

from pathlib import Path

import pytest

from procvision_host import builtin
from procvision_testing import check_hook_plugin


@pytest.fixture(autouse=True)
def peers_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken plugins are found by hosts, too."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "peers"))


@pytest.mark.parametrize("name", [name for name in builtin.PLUGINS if name not in ("memory-sessions", "posix-images")])
def test_what_is_in_the_box_holds_to_it(name: str, tmp_path: Path) -> None:
    """What a host can't be without is left out: without it there is nothing to compare with."""
    values = {"json-lines": {"directory": tmp_path / "log"}, "file-images": {"folders": tmp_path}}
    arguments = {"sqlite-sessions": ("--sessions", f"sqlite:{tmp_path / 'sessions.db'}")}
    check_hook_plugin(name, options=values.get(name), arguments=arguments.get(name, ()))


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        ("broken:RaisesAlways", "nothing to say"),
        ("broken:BlocksFiveSeconds", "nothing to say"),
        ("broken:YieldsTwice", "nothing to say"),
        ("broken:RaisesInConfigure", "can use it"),
        ("broken:Misspelt", "can use it"),
        ("broken:BadSignature", "can use it"),
        ("import_error", "can use it"),
    ],
)
def test_what_is_wrong_with_a_plugin_is_found(broken: str, rule: str) -> None:
    """By the rule that it breaks."""
    with pytest.raises(AssertionError, match=rule):
        check_hook_plugin("mine", installed=f"peer_hooks.{broken}")


def test_a_plugin_without_a_hook_is_found() -> None:
    """It would do nothing."""
    with pytest.raises(AssertionError, match="implements a hook"):
        check_hook_plugin("mine", installed="peer_hooks")
