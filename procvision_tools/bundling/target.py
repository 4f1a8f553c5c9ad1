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

_PLATFORM = re.compile(r"(?:manylinux_2_(?P<glibc>\d+)|(?P<musl>musllinux_1_\d+)|linux)_(?P<machine>[a-z][a-z0-9_]*)")
_ELSEWHERE = re.compile(r"(?:win(?:32|_)|macosx_|ios_|android_)")
_PYTHON = re.compile(r"3\.(\d+)")
_ABI = re.compile(r"cp3\d+t?")
_LEGACY_MANYLINUX: Mapping[int, str] = MappingProxyType({17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"})
"""glibc 2.N -> its name before PEP 600."""
_UV_GLIBC = (17, 28, *range(31, 41))
"""The manylinux_2_N that uv resolves for."""


class NoTargetError(ProcVisionError, ValueError):
    """Not the name of a target. The text ends with a hint."""


def _this_platform() -> str:
    """Return the most specific tag; `linux_x86_64` comes before it and says nothing of the C library."""
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
        if _ELSEWHERE.match(platform) is not None:
            raise NoTargetError(f"{platform[:60]!r} is a platform without hosts; hint: hosts run on Linux alone")
        if _PLATFORM.fullmatch(platform) is None:
            hint = "hint: manylinux_2_28_x86_64, musllinux_1_2_aarch64"
            raise NoTargetError(f"{platform[:60]!r} is no platform of wheels; {hint}")
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
    def machine(self) -> str:
        """The processor's kind, such as `x86_64`."""
        return self._words["machine"]

    @property
    def glibc(self) -> tuple[int, int] | None:
        """The C library's version; None where the platform's name says nothing of it, or it is musl."""
        return (2, int(self._words["glibc"])) if self._words["glibc"] else None

    @property
    def musl(self) -> bool:
        """Whether the C library is musl."""
        return self._words["musl"] is not None

    @property
    def _words(self) -> re.Match[str]:
        found = _PLATFORM.fullmatch(self.platform)
        assert found is not None
        return found

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
        full = this_machine.python_version() if self.is_here else f"{self.python}.0"
        return {
            "implementation_name": "cpython",
            "implementation_version": full,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": full,
            "python_version": self.python,
            "sys_platform": "linux",
        }

    @property
    def uv_platform(self) -> str | None:
        """What uv calls it, None where it has no word for it."""
        if self.musl and self.machine in ("x86_64", "aarch64"):
            return f"{self.machine}-unknown-linux-musl"
        found = re.fullmatch(r"manylinux_2_(\d+)_(x86_64|aarch64)", self.platform)
        known = [] if found is None else [number for number in _UV_GLIBC if number <= int(found[1])]
        return f"{found[2]}-manylinux_2_{known[-1]}" if found is not None and known else None
