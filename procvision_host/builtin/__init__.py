"""What ships in the box, written as hook plugins like anyone's."""

from __future__ import annotations

from types import ModuleType


def plugins() -> dict[str, ModuleType]:
    """The built-in plugins by name. The modules are light: what they give is made when it is used."""
    from procvision_host.builtin import memory_sessions, posix_images

    return {"memory-sessions": memory_sessions, "posix-images": posix_images}
