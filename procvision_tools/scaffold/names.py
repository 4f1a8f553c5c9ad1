"""One name, spelt as each place wants it: the distribution's and manifest's, the package's, the class's."""

from __future__ import annotations

import keyword
import re
import sys

from attrs import frozen

MAX_NAME_LENGTH = 64
"""The manifest's bound."""
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_.][a-z0-9]+)*")
_OURS = ("host", "runner", "sdk", "station", "testing", "tools")
_TAKEN = frozenset({"cv2", "numpy", "procvision", "tests", *(f"procvision_{name}" for name in _OURS)})


class NameProblemError(ValueError):
    """A name that can't serve. The text says what is wrong, and ends with a hint."""


@frozen
class Names:
    """`weld-check`, `weld_check`, `WeldCheck`."""

    name: str
    package: str
    class_name: str

    @classmethod
    def of(cls, name: str) -> Names:
        """Spell a name out. Raises NameProblemError."""
        if _NAME.fullmatch(name) is None or len(name) > MAX_NAME_LENGTH:
            spelt = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:MAX_NAME_LENGTH] or "weld-check"
            raise NameProblemError(
                f"{name[:80]!r} is no algorithm's name: lower-case letters and digits, parts joined by -, "
                f"a letter first, at most {MAX_NAME_LENGTH} characters; hint: {spelt}"
            )
        words = re.split(r"[-_.]", name)
        package = "_".join(words)
        if package in _TAKEN or package in sys.stdlib_module_names or keyword.iskeyword(package):
            raise NameProblemError(
                f"a package {package!r} would hide the one of that name that is there already; hint: {name}-check"
            )
        return cls(name, package, "".join(word.capitalize() for word in words))
