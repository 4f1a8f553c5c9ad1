"""What a host may use and see."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from procvision_runner.supervision.limits import EnvironmentPolicy, ResourceLimits


def test_secrets_do_not_reach_the_host() -> None:
    own = {"PATH": "/bin", "LC_ALL": "C", "CUDA_VISIBLE_DEVICES": "0", "MES_PASSWORD": "x", "AWS_SECRET": "y"}
    assert EnvironmentPolicy().environment(own) == {"PATH": "/bin", "LC_ALL": "C", "CUDA_VISIBLE_DEVICES": "0"}


def test_how_the_c_library_is_tuned_reaches_the_host() -> None:
    """As the documents tell who would rather have memory given back."""
    own = {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072", "GLIBC_SECRET": "x"}
    assert EnvironmentPolicy().environment(own) == {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}


def test_extra_wins() -> None:
    policy = EnvironmentPolicy(names={"PATH"}, prefixes=(), extra={"PATH": "/opt", "MODEL": "m"})
    assert policy.environment({"PATH": "/bin", "HOME": "/root"}) == {"PATH": "/opt", "MODEL": "m"}


def test_core_dumps_are_off_by_default_and_the_rest_is_as_it_was() -> None:
    limits = ResourceLimits()
    assert limits.core_bytes == 0
    assert {value for name, value in limits.as_dict().items() if name != "core_bytes"} == {None}


def test_limits_hold_in_the_process() -> None:
    """Soft and hard; the CPU's hard limit lies higher, since it kills without a word."""
    code = "import sys; sys.stdin.readline(); import resource as r; print([r.getrlimit(n) for n in (2, 0, 7, 6, 4)])"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        limits = ResourceLimits(memory_bytes=900_000_000, cpu_s=77, open_files=99, processes=555)
        limits.apply(process.pid)
        seen = eval(process.communicate("go\n")[0])
    assert (resource.RLIMIT_DATA, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE) == (2, 0, 7)
    assert seen == [(900_000_000,) * 2, (77, 79), (99, 99), (555, 555), (0, 0)]
    limits.apply(process.pid)  # it is gone: nothing to limit, nothing to raise


@pytest.mark.parametrize("wrong", [{"memory_bytes": 0}, {"cpu_s": -1}, {"core_bytes": -1}])
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ResourceLimits(**wrong)
