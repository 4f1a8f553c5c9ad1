"""Native code in wheels, held against the target: machine, C library, and the symbols of glibc that it needs.

A wheel's tags say what its builder believes. `linux_x86_64` says nothing of the C library, and `any` is no promise
that no binary is in it: so the ELF files themselves are asked, for what their loader will ask.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Iterator
from functools import partial
from typing import IO, Any

from procvision_sdk.errors import ErrorCode
from procvision_tools.bundling.archives import opened_archive
from procvision_tools.bundling.errors import BundleError
from procvision_tools.bundling.target import Target
from procvision_tools.bundling.wheels import Wheel
from procvision_tools.extras import need

_ELF = b"\x7fELF"
_IN_MEMORY_BYTES = 16 << 20
_MACHINES = {
    ("EM_X86_64", 64): "x86_64",
    ("EM_386", 32): "i686",
    ("EM_AARCH64", 64): "aarch64",
    ("EM_ARM", 32): "armv7l",
    ("EM_PPC64", 64): "ppc64le",
    ("EM_S390", 64): "s390x",
    ("EM_RISCV", 64): "riscv64",
}
_GLIBC = re.compile(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?")
_RELR = "GLIBC_ABI_DT_RELR"
"""Packed relocations: glibc 2.36 is the first that reads them."""
_EXTENSION = re.compile(r"\.(?:cpython-[\w-]+|abi3)\.so$")


def misfits(wheel: Wheel, target: Target) -> Iterator[BundleError]:
    """Give an error 2004 for what of a wheel's native code can't run on the target."""
    pure = all(tag.platform == "any" for tag in wheel.tags)
    versions: list[tuple[int, int]] = []
    libraries: set[str] = set()
    with opened_archive(wheel.path) as archive:
        for name in _elf_files(archive):
            try:
                machine, needed, found = _facts(archive, name, wheel)
            except BundleError as error:
                yield error
                continue
            if machine != target.machine:
                if pure and _EXTENSION.search(name) is None:
                    continue  # one of several machines' binaries, of which the program chooses
                yield _misfit(f"{wheel.path.name}: {name} is for {machine}, the target is {target.machine}")
            libraries |= needed
            versions += found
    unsaid = any(tag.platform.startswith("linux_") or tag.platform == "any" for tag in wheel.tags)
    said = " says nothing of the C library and" if unsaid else ""
    musl = any(library.startswith(("libc.musl-", "ld-musl-")) for library in libraries)
    glibc = "libc.so.6" in libraries or bool(versions)
    if target.musl and glibc:
        yield _misfit(f"{wheel.path.name}{said} needs glibc, the target has musl")
    if target.glibc is None:
        return
    if musl:
        yield _misfit(f"{wheel.path.name}{said} needs musl, the target has glibc")
    if versions and max(versions) > target.glibc:
        needed_text, has = ("{}.{}".format(*pair) for pair in (max(versions), target.glibc))
        yield _misfit(f"{wheel.path.name}{said} needs GLIBC_{needed_text}; the target has {has}")


def _misfit(text: str) -> BundleError:
    return BundleError(ErrorCode.WHEELS_MISSING, text)


def _elf_files(archive: zipfile.ZipFile) -> Iterator[str]:
    for entry in archive.infolist():
        if entry.file_size > len(_ELF):
            with archive.open(entry) as file:
                if file.read(len(_ELF)) == _ELF:
                    yield entry.filename


def _facts(archive: zipfile.ZipFile, name: str, wheel: Wheel) -> tuple[str, set[str], list[tuple[int, int]]]:
    """Give an ELF file's machine, the libraries that it needs, and the versions of glibc among its symbols."""
    need("elftools", "pyelftools", "a wheel with native code", "bundle")
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as copy:
        with archive.open(name) as file:
            for piece in iter(partial(file.read, 1 << 20), b""):
                copy.write(piece)
        try:
            return _read_elf(copy)
        except Exception as error:  # pyelftools lets odd files out as errors of many kinds
            raise _misfit(f"{wheel.path.name}: {name} is no ELF file that can be read: {error}") from error


def _read_elf(file: IO[bytes]) -> tuple[str, set[str], list[tuple[int, int]]]:
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile
    from elftools.elf.gnuversions import GNUVerNeedSection

    elf: Any = ELFFile(file)
    machine = _MACHINES.get((elf["e_machine"], elf.elfclass), f"{elf['e_machine']}, {elf.elfclass} bits")
    libraries: set[str] = set()
    versions: list[tuple[int, int]] = []
    for section in elf.iter_sections():
        if isinstance(section, DynamicSection):
            tags: list[Any] = list(section.iter_tags())
            libraries |= {str(tag.needed) for tag in tags if tag.entry.d_tag == "DT_NEEDED"}
        if isinstance(section, GNUVerNeedSection):
            for _, auxiliaries in section.iter_versions():
                names = [auxiliary.name for auxiliary in auxiliaries]
                found = (_GLIBC.fullmatch(name) for name in names)
                versions += [(int(match[1]), int(match[2])) for match in found if match]
                versions += [(2, 36)] if _RELR in names else []
    return machine, libraries, versions
