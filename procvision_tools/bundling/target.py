"""The machine that a bundle is for: which wheels fit it, and what environment markers say there."""

from __future__ import annotations

import platform as this_machine
import re
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import packaging.tags
from attrs import frozen

from procvision_sdk.errors import ProcVisionError

_PLATFORM = re.compile(r"(manylinux_2_\d+|musllinux_1_\d+|linux|win|macosx_\d+_\d+)_?([a-z0-9_]*)")
_PYTHON = re.compile(r"3\.(\d+)")
_ABI = re.compile(r"cp3\d+t?")
_LEGACY_MANYLINUX: Mapping[int, str] = MappingProxyType({17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"})
"""glibc 2.N -> its name before PEP 600."""
_UV_GLIBC = (17, 28, *range(31, 41))
"""The manylinux_2_N that uv resolves for."""
_SYSTEMS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {"win": ("nt", "win32", "Windows"), "macosx": ("posix", "darwin", "Darwin"), "": ("posix", "linux", "Linux")}
)
"""The platform tag's beginning -> os_name, sys_platform, platform_system."""
_MACHINES: Mapping[str, str] = MappingProxyType({"win_amd64": "AMD64", "win_arm64": "ARM64", "win32": "x86"})


class NoTargetError(ProcVisionError, ValueError):
    """Not the name of a target. The text ends with a hint."""


def _this_platform() -> str:
    """The most specific tag; `linux_x86_64` comes before it and says nothing of the C library."""
    tags = list(packaging.tags.platform_tags())
    return next((tag for tag in tags if not tag.startswith("linux_")), tags[0])


@frozen
class Target:
    """CPython of one version on one platform, by the words of wheel file names."""

    platform: str
    """Such as `manylinux_2_28_x86_64`: what runs there runs with that glibc and any later one."""
    python: str
    """Such as `3.11`."""
    abi: str
    """Such as `cp311`."""

    @classmethod
    def of(cls, platform: str | None = None, python: str | None = None, abi: str | None = None) -> Target:
        """Give the target with these names, this machine's where none is given. Raises NoTargetError."""
        platform = platform or _this_platform()
        python = python or f"{sys.version_info.major}.{sys.version_info.minor}"
        if _PLATFORM.fullmatch(platform) is None:
            raise NoTargetError(f"{platform[:60]!r} is no platform of wheels; hint: manylinux_2_28_x86_64, win_amd64")
        found = _PYTHON.fullmatch(python)
        if found is None:
            raise NoTargetError(f"{python[:20]!r} is no version of Python; hint: 3.11")
        abi = abi or f"cp3{found[1]}"
        if _ABI.fullmatch(abi) is None:
            raise NoTargetError(f"{abi[:20]!r} is no ABI of CPython; hint: cp311")
        return cls(platform, python, abi)

    def __str__(self) -> str:
        return f"{self.platform}, Python {self.python}, ABI {self.abi}"

    @property
    def is_here(self) -> bool:
        """Whether what is made for it runs in this interpreter."""
        return (
            sys.implementation.name == "cpython"
            and self.python == f"{sys.version_info.major}.{sys.version_info.minor}"
            and self.platform in set(packaging.tags.platform_tags())
        )

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags of wheels that run there, the most specific first."""
        found = re.fullmatch(r"(manylinux|musllinux)_(\d+)_(\d+)_(.+)", self.platform)
        if found is None:
            return (self.platform,)
        kind, major, minor, machine = found[1], found[2], int(found[3]), found[4]
        names = []
        for number in range(minor, -1, -1):
            names.append(f"{kind}_{major}_{number}_{machine}")
            if kind == "manylinux" and number in _LEGACY_MANYLINUX:
                names.append(f"{_LEGACY_MANYLINUX[number]}_{machine}")
        return (*names, f"linux_{machine}")

    @property
    def tags(self) -> frozenset[packaging.tags.Tag]:
        """Every tag of a wheel that it takes."""
        version = tuple(int(part) for part in self.python.split("."))
        platforms = list(self.platforms)
        return frozenset(
            [
                *packaging.tags.cpython_tags(version, [self.abi], platforms),
                *packaging.tags.compatible_tags(version, f"cp{version[0]}{version[1]}", platforms),
            ]
        )

    @property
    def abis(self) -> tuple[str, ...]:
        """The ABI tags that it takes."""
        return (self.abi, *(() if self.abi.endswith("t") else ("abi3",)), "none")

    @property
    def environment(self) -> dict[str, Any]:
        """What environment markers are evaluated with: the target's facts, not this machine's."""
        kind = next(kind for kind in _SYSTEMS if self.platform.startswith(kind))
        os_name, sys_platform, system = _SYSTEMS[kind]
        machine = _MACHINES.get(self.platform) or re.sub(
            r"^(\w+?linux_\d+_\d+|linux|macosx_\d+_\d+)_", "", self.platform
        )
        full = this_machine.python_version() if self.is_here else f"{self.python}.0"
        return {
            "implementation_name": "cpython",
            "implementation_version": full,
            "os_name": os_name,
            "platform_machine": machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": system,
            "platform_version": "",
            "python_full_version": full,
            "python_version": self.python,
            "sys_platform": sys_platform,
        }

    @property
    def uv_platform(self) -> str | None:
        """What uv calls it, None where it has no word for it."""
        if self.platform == "win_amd64":
            return "x86_64-pc-windows-msvc"
        found = re.fullmatch(r"manylinux_2_(\d+)_(x86_64|aarch64)", self.platform)
        known = [] if found is None else [number for number in _UV_GLIBC if number <= int(found[1])]
        return f"{found[2]}-manylinux_2_{known[-1]}" if found is not None and known else None
