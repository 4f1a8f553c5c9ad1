"""Which of a process's environment variables a vendor's code gets to see: a list of what is allowed.

Tokens and passwords of the platform's own are on no such list, whatever they are called. What else an algorithm
needs is named by the integrator.
Warning: a host imports this before anything of a vendor's: no imports here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PASS_VARIABLE = "PROCVISION_ENV"
"""The environment variable that names further ones, separated by commas."""
SUPERVISOR_VARIABLE = "PROCVISION_SUPERVISOR"
"""By which a supervisor tells its hosts its name."""
ALLOWED_NAMES = frozenset(
    {"HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TEMP", "TMP", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV"}
    | {"GLIBC_TUNABLES", "LD_LIBRARY_PATH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"}
    | {"XDG_STATE_HOME", "PROCVISION_COMPILED", SUPERVISOR_VARIABLE, "PROCVISION_COMPAT_COPY_PICTURES"}
)
"""What programs need to find themselves, their libraries and their caches, and how the C library is tuned."""
ALLOWED_PREFIXES = (
    "LC_",
    "PYTHON",
    # How numeric libraries and accelerators are told what to use.
    "OMP_",
    "KMP_",
    "OPENBLAS_",
    "MKL_",
    "NUMEXPR_",
    "OPENCV_",
    "CUDA_",
    "NVIDIA_",
    "HIP_",
    "ROCR_",
    "ONNX_",
    "OV_",
    "TORCH_",
    "COVERAGE_",
)
_HOST_HALFS_NAMES = frozenset(
    ("PROCVISION_HOOKS", "PROCVISION_CONFIG", "PROCVISION_SESSIONS", "PROCVISION_SESSION_KEY", PASS_VARIABLE)
)
_HOST_HALFS_VALUES = "PROCVISION_HOOK_"


def is_the_host_halfs(name: str) -> bool:
    """Return whether a variable names hooks or stores, or has a value for them: addresses and passwords among them."""
    return name in _HOST_HALFS_NAMES or name.startswith(_HOST_HALFS_VALUES)


def is_allowed(name: str, passed: Iterable[str] = ()) -> bool:
    """Return whether a vendor's code gets a variable; `passed` names further ones, by NAME or PREFIX*.

    What is the host half's it never gets.
    """
    if is_the_host_halfs(name):
        return False
    return name in ALLOWED_NAMES or name.startswith(ALLOWED_PREFIXES) or is_named(name, passed)


def is_named(name: str, passed: Iterable[str]) -> bool:
    """Return whether `passed` names a variable, by NAME or PREFIX*."""
    return any(name == one or (one.endswith("*") and name.startswith(one[:-1])) for one in passed)


def passed_names(value: str) -> tuple[str, ...]:
    """Return the names in a value of `PASS_VARIABLE`."""
    return tuple(name for name in value.split(",") if name)
