"""What ships in the box, written as hook plugins like anyone's."""

from __future__ import annotations

from importlib import import_module
from typing import Any

PLUGINS = {
    "memory-sessions": "procvision_host.builtin.memory_sessions:MemorySessions",
    "sqlite-sessions": "procvision_host.builtin.sqlite_sessions:SqliteSessions",
    "posix-images": "procvision_host.builtin.posix_images_plugin",
    "file-images": "procvision_host.builtin.file_images:FileImagesPlugin",
    "json-lines": "procvision_host.builtin.json_lines:JsonLines",
}
"""Entry points by name. The modules are light: what they give is made, and what it needs imported, when it is used."""


def load(name: str) -> Any:
    """Load the module or object that an entry point above names."""
    module, _, attribute = PLUGINS[name].partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found
