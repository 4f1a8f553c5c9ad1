"""The long form of `tests/property/test_steady_fuzz.py`: `python -m tests.fuzz --inputs 10000000`.

The cores are compiled anew, with AddressSanitizer and UBSan, and used in place of those that are installed. What a
sanitizer reports ends the process, as a difference does; the input is shown.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "peers")]
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g")
FOLDER_VARIABLE = "PROCVISION_SANITIZED"
LARGEST_LATENCY_US = 10**15
PROGRESS_S = 30.0
EXCHANGE_COSTS = 1000
"""A call to three runners takes so much longer than an input of the others."""


def load_sanitized(folder: Path) -> None:
    """Put the sanitized cores in the place of those that are installed."""
    from hatch_build import CORES

    for core in CORES:
        name = core.replace("/", ".")
        (path,) = folder.glob(f"{core}.*.so")
        spec = spec_from_file_location(name, path, loader=ExtensionFileLoader(name, str(path)))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = module_from_spec(spec)
        spec.loader.exec_module(module)


def again_sanitized(arguments: list[str]) -> int:
    """Compile the cores, and run a Python module once more with the sanitizers in its process. Return its status."""
    from hatch_build import compile_cores

    compiler = os.environ.get("CC", "gcc")
    with tempfile.TemporaryDirectory() as folder:
        compile_cores(ROOT, Path(folder), SANITIZED)
        found = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
        environment = {
            **os.environ,
            FOLDER_VARIABLE: folder,
            "LD_PRELOAD": found.stdout.strip(),
            "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter keeps what it has until its end
            "PYTHONMALLOC": "malloc",  # so that the ends of Python's objects are seen, too
        }
        return subprocess.run([sys.executable, "-m", *arguments], env=environment, cwd=ROOT).returncode


def fuzz(inputs: int, seed: int, only: str | None) -> None:
    """Give every target so many inputs, or one of them."""
    from hostile_answers import deceive
    from steady_fuzz import answers, calls, counts, latencies, mutated, values
    from steady_rig import Host

    from procvision_host.conversation.steady_calls import CORE as HOST_CORE
    from procvision_host.halves import ring as rings
    from procvision_host.halves.messages import Plan
    from procvision_runner.connection.steady_calls import CORE as RUNNER_CORE
    from procvision_sdk.compiled import compiled

    runner_core, host_core = compiled(RUNNER_CORE), compiled(HOST_CORE)
    logging.disable(logging.CRITICAL)
    rings.PATIENCE_S = 0.0
    host, observed = Host("compiled"), Host("compiled", Plan(calls=True))
    for name, (seeds, check) in {
        "values": values(runner_core),
        "answers": answers(runner_core),
        "calls": calls(host),
        "counts": counts(observed),
    }.items():
        if only not in (None, name):
            continue
        began = told = time.monotonic()
        taken = count = 0
        for data in mutated(seeds, inputs, seed):
            taken += check(data)
            count += 1
            if not count % 4096 and time.monotonic() - told > PROGRESS_S:
                told = time.monotonic()
                print(f"{name}: {count} inputs, {taken} taken", flush=True)
        print(f"{name}: {count} inputs, {taken} taken, 0 differences, {time.monotonic() - began:.0f} s", flush=True)
    if only in (None, "exchanges"):
        _exchanges(deceive, inputs // EXCHANGE_COSTS, seed)
    if only is not None:
        return
    chance, check_latency = random.Random(seed), latencies(host_core)
    for _ in range(inputs):
        check_latency(int(10 ** (chance.random() * 15)))
    print(f"latencies: {inputs} inputs, 0 differences", flush=True)
    host.ends.close()
    observed.ends.close()


def _exchanges(deceive: Callable[..., tuple[int, int, int]], inputs: int, seed: int) -> None:
    """Give a runner's three forms so many hostile answers."""
    began = told = time.monotonic()

    def tell(count: int, errors: int) -> None:
        nonlocal told
        if time.monotonic() - told > PROGRESS_S:
            told = time.monotonic()
            print(f"exchanges: {count} answers, {errors} errors", flush=True)

    results, oks, errors = deceive(inputs, seed, tell)
    counts = f"{inputs} answers, {results} results, {oks} OK, {errors} errors"
    print(f"exchanges: {counts}, 0 differences, {time.monotonic() - began:.0f} s", flush=True)


def main() -> int:
    """Run it, in a process that has the sanitizers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("values", "answers", "calls", "counts", "exchanges"))
    given = parser.parse_args()
    folder = os.environ.pop(FOLDER_VARIABLE, None)
    if folder is None:
        return again_sanitized(["tests.fuzz", *sys.argv[1:]])
    load_sanitized(Path(folder))
    fuzz(given.inputs, given.seed, given.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
