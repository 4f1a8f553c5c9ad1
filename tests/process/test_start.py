"""What a start imports: each module costs every start its time, and one that is left for later costs a call's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from launching import Launch
from peer_plugins import install_algorithm
from wire_client import WireClient, eventually

VENDOR = """
import sys
from procvision_sdk import BaseAlgorithm, Ok

class Vendor(BaseAlgorithm):
    def setup(self): self.at_setup = set(sys.modules)
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        loaded = set(sys.modules)
        return Ok(debug={"loaded": sorted(loaded), "since_setup": sorted(loaded - self.at_setup)})
"""

NO_MORE = {
    *("_blake2", "_ctypes", "_distutils_hack", "_sitebuiltins", "_struct", "ctypes", "ctypes._endian", "errno"),
    *("faulthandler", "fcntl", "gc", "importlib._abc", "importlib.util", "mmap", "resource", "runpy", "select"),
    *("signal", "site", "sitecustomize", "struct", "termios", "zlib"),
}
"""What a cell loads beside what every algorithm does by importing the contract."""
STEADY = ("procvision_host.conversation.steady_", "procvision_host.halves", "procvision_sdk.compiled", "termios")
"""What steady calls are made with: after the runner has heard that the algorithm is set up, before it has called."""
MOST_OF_OURS = 93
"""Modules of ours in a cell. Each takes some tenth of a millisecond of every start."""


def host_of(launch: Launch, folder: Path, *, reads_picture: bool) -> WireClient:
    """Launch a host of an algorithm that imports nothing."""
    place = install_algorithm(folder, "vendor", VENDOR, supported_pids=["*"], reads_picture=reads_picture)
    return launch("vendor", environment={"PYTHONPATH": f"{place}:{launch.environment['PYTHONPATH']}"})


def loaded(host: WireClient, which: str = "loaded") -> set[str]:
    """The modules that the algorithm sees in its process, in a call."""
    answer = host.call(user_params={}, session={"id": "s"})
    return set(answer["data"]["debug"][which])


def contracts() -> set[str]:
    """What an interpreter has loaded that has imported the contract."""
    program = "import sys; from procvision_sdk import BaseAlgorithm, Ok; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_a_start_imports_what_it_needs_and_a_call_nothing(launch: Launch, tmp_path: Path) -> None:
    """No click without a line that needs it, no pluggy without hooks, no NumPy without a picture.

    The first call may import what steady calls take: where it comes at once they aren't made yet.
    """
    host = host_of(launch, tmp_path, reads_picture=False)
    told = loaded(host, "since_setup")
    assert all(name.startswith(STEADY) for name in told), told
    first = loaded(host)
    assert loaded(host) == first
    ours = {name for name in first if name.startswith("procvision_")}
    assert len(ours) <= MOST_OF_OURS
    more = {name for name in first - ours - contracts() if not name.startswith(("vendor", "encodings", "__"))}
    assert more <= NO_MORE


def test_what_reads_pictures_is_imported_before_the_first_call(launch: Launch, tmp_path: Path) -> None:
    """While nobody calls, which takes that call's time; pings are answered meanwhile."""
    host = host_of(launch, tmp_path, reads_picture=True)
    mapped = Path(f"/proc/{host.hello['process_id']}/maps")
    eventually(lambda: "/numpy/" in mapped.read_text(), "the host has mapped NumPy")
    assert host.ping()["state"] == "ready"
    assert "numpy" in loaded(host, "since_setup")
