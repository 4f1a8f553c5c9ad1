"""Real hosts, real scrapes."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from procvision_prometheus.metrics import HostMetrics
from procvision_prometheus.page import open_page
from procvision_sdk.records import MAX_LABEL_VALUES, OTHER
from procvision_testing import check_hook_plugin
from procvision_testing.hook_hosts import PATIENCE_S, HookHost


class Scraped:
    """The samples of one scrape."""

    def __init__(self, target: str) -> None:
        with urlopen(f"http://{target}/metrics", timeout=PATIENCE_S) as page:
            text = page.read().decode()
        self.samples = [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name with these labels."""
        return sum(value for found, has, value in self.samples if found == name and labels.items() <= has.items())


def scraped_when(target: str, name: str, value: float, **labels: str) -> Scraped:
    """The first scrape in which a sample has got this value: the observer counts after the answer."""
    deadline = monotonic() + PATIENCE_S
    while (page := Scraped(target))(name, **labels) != value:
        assert monotonic() < deadline, (name, labels, page(name, **labels), value)
        sleep(0.01)
    return page


def targets(folder: Path) -> list[str]:
    """What Prometheus would read from the discovery folder."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return [target for groups in found for group in groups for target in group["targets"]]


def announced(folder: Path, number: int) -> list[str]:
    """The targets, once there are so many."""
    deadline = monotonic() + PATIENCE_S
    while len(found := targets(folder)) != number:
        assert monotonic() < deadline, found
        sleep(0.01)
    return found


Start = Callable[..., HookHost]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts hosts that announce their pages in one folder."""
    with ExitStack() as stack:

        def begin(**options: object) -> HookHost:
            values = {"port": 0, "discovery": tmp_path / "targets", **options}
            return stack.enter_context(
                HookHost(
                    tmp_path,
                    "--hook",
                    "prometheus",
                    options={f"prometheus.{key}": value for key, value in values.items()},
                )
            )

        yield begin


def free_ports(number: int) -> int:
    """The first of so many free ports in a row, below the range that the system gives away by itself."""
    for first in random.sample(range(20_000, 32_000, number), 100):
        with ExitStack() as stack:
            try:
                for port in range(first, first + number):
                    listening = stack.enter_context(socket.socket())
                    listening.bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    pytest.skip("no free ports in a row")


def test_everything_a_call_can_become_is_counted(start: Start, tmp_path: Path) -> None:
    """Calls, verdicts, errors with code and kind, times by step, sessions."""
    host = start()
    (target,) = announced(tmp_path / "targets", 1)
    for does in ("ok", "ok", "ng", "error", "raise"):
        host.call(does)
    host.call("ok", step_index=2, wait_ms=30, session="other", final=True)
    host.call("ok", step_index=77)
    page = scraped_when(target, "procvision_calls_total", 7)
    assert page("procvision_calls_total", status="OK", step="1") == 3
    assert page("procvision_verdicts_total", verdict="OK") == 3
    assert page("procvision_verdicts_total", verdict="NG", algorithm="plugged", step="1") == 1
    assert page("procvision_errors_total") == 3
    assert page("procvision_errors_total", code="1003", kind="returned") == 1
    assert page("procvision_errors_total", kind="recoverable") == 1
    assert page("procvision_errors_total", code="1006", kind="step_index", step="77") == 1
    assert page("procvision_call_seconds_count", phase="execute", step="1") == 5
    assert page("procvision_call_seconds_bucket", step="2", le="0.025") == 0
    assert page("procvision_call_seconds_bucket", step="2", le="30.0") == 1
    page = scraped_when(target, "procvision_sessions_opened_total", 2)
    assert page("procvision_sessions_open") == 1
    assert page("procvision_host_info", version="1.0", process_id=str(host.process_id)) == 1
    assert page("procvision_host_ready") == 1
    assert page("process_resident_memory_bytes") > 1e6


def test_hosts_at_once_have_pages_of_their_own(start: Start, tmp_path: Path) -> None:
    """Three hosts under load, three targets, each with its own host's count."""
    hosts = [start() for _ in range(3)]
    found = announced(tmp_path / "targets", 3)
    assert len(set(found)) == 3

    def drive(number: int) -> None:
        for _ in range(10 + number):
            hosts[number].call("ng" if number else "ok")

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(drive, range(3)))
    by_process = {str(host.process_id): number for number, host in enumerate(hosts)}
    seen = {}
    for target in found:
        (process_id,) = [
            has["process_id"] for name, has, _ in Scraped(target).samples if name == "procvision_host_info"
        ]
        number = by_process[process_id]
        scraped_when(target, "procvision_calls_total", 10 + number)
        seen[number] = target
    assert sorted(seen) == [0, 1, 2]


def test_a_range_is_shared_and_a_killed_hosts_port_taken_over(start: Start, tmp_path: Path) -> None:
    """Without agreement; its successor has the same target, and the killed one's answers nothing meanwhile."""
    first = free_ports(3)
    hosts = []
    for number in range(3):
        hosts.append(start(port=first, ports=3))
        assert announced(tmp_path / "targets", number + 1)[-1] == f"127.0.0.1:{first + number}"
    hosts[1].kill()
    assert len(targets(tmp_path / "targets")) == 3
    with pytest.raises(URLError):
        Scraped(f"127.0.0.1:{first + 1}")
    successor = start(port=first, ports=3)
    deadline = monotonic() + PATIENCE_S
    while True:
        try:
            page = Scraped(f"127.0.0.1:{first + 1}")
            break
        except URLError:
            assert monotonic() < deadline
            sleep(0.02)
    assert page("procvision_host_info", process_id=str(successor.process_id)) == 1
    assert len(targets(tmp_path / "targets")) == 3


def test_without_a_free_port_the_verdicts_stay_and_the_log_says_why(start: Start) -> None:
    """The one port of the range is somebody else's."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        host = start(port=listening.getsockname()[1], ports=1)
        assert host.call("ng")["data"]["result_status"] == "NG"
        assert host.shut_down() == 0
        assert "no page of metrics: none of the ports" in host.log()


def test_an_orderly_end_takes_the_announcement_back(start: Start, tmp_path: Path) -> None:
    """So that what stopped on purpose isn't an alarm."""
    host = start()
    announced(tmp_path / "targets", 1)
    assert host.shut_down() == 0
    assert targets(tmp_path / "targets") == []


def test_a_scraper_that_hangs_holds_nobody_up(start: Start, tmp_path: Path) -> None:
    """Connections that say nothing: calls, other scrapes and the end go on."""
    host = start()
    (target,) = announced(tmp_path / "targets", 1)
    address, _, port = target.partition(":")
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection((address, int(port))))
        assert host.call()["status"] == "OK"
        scraped_when(target, "procvision_calls_total", 1)
        assert host.shut_down() == 0


def test_labels_are_bounded() -> None:
    """However many steps and kinds a peer thinks of."""
    metrics = HostMetrics("a", "1", 1)
    for number in range(3 * MAX_LABEL_VALUES):
        call = {"phase": f"phase {number}", "step_index": number}
        answer = {"type": "error", "status": "ERROR", "error_code": "1006", "data": {"kind": f"kind {number}"}}
        metrics.call_finished(call, answer, 0.1)
    page = Scraped(open_page(metrics.registry, "127.0.0.1", 0, 1).target)
    assert page("procvision_errors_total") == 3 * MAX_LABEL_VALUES
    steps = {has["step"] for name, has, _ in page.samples if name == "procvision_errors_total"}
    assert len(steps) == MAX_LABEL_VALUES + 1
    assert OTHER in steps


@pytest.mark.parametrize("options", [{"discovery": ""}, {"port": 70_000}])
def test_a_configuration_that_nobody_could_scrape_is_refused(start: Start, options: dict[str, object]) -> None:
    """With 78: the plugin was asked for by name."""
    host = start(**options)
    assert "hook plugin prometheus" in host.receive()["message"]
    assert host.wait() == 78


def test_it_holds_to_what_a_host_relies_on(tmp_path: Path) -> None:
    """The SDK's own check."""
    check_hook_plugin("prometheus", options={"port": 0, "discovery": tmp_path})


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_a_page_on_all_addresses_is_announced_by_one_that_can_be_asked(
    start: Start, tmp_path: Path, address: str
) -> None:
    """By whom the address is asked from elsewhere; here the machine asks itself by it."""
    with start(address=address):
        (target,) = announced(tmp_path / "targets", 1)
        host, _, port = target.rpartition(":")
        assert host.strip("[]") not in ("", "0.0.0.0", "::", "127.0.0.1")
        with socket.create_connection((host.strip("[]"), int(port)), 10):
            pass


def test_what_is_advertised_is_the_integrators_word(start: Start, tmp_path: Path) -> None:
    """As behind a gateway or with a name of its own."""
    with start(address="0.0.0.0", advertise="press-4.plant.example"):
        (target,) = announced(tmp_path / "targets", 1)
    assert target.startswith("press-4.plant.example:")


def test_nothing_is_left_of_killed_hosts_once_the_next_is_there(start: Start, tmp_path: Path) -> None:
    """With any port, where no successor has the same; those that live are left alone."""
    with start() as living:
        (alive,) = announced(tmp_path / "targets", 1)
        left: set[str] = set()
        for _ in range(2):
            with start():  # which ends it by SIGKILL
                left = _without(tmp_path / "targets", left) - {alive}
        with start() as last:
            assert alive in _without(tmp_path / "targets", left)
            last.shut_down()
        assert targets(tmp_path / "targets") == [alive]
        living.call("ok")


def _without(folder: Path, left: set[str]) -> set[str]:
    """Two targets, once none of those that were left is among them."""
    deadline = monotonic() + PATIENCE_S
    while len(found := set(targets(folder))) != 2 or found & left:
        assert monotonic() < deadline, (found, left)
        sleep(0.01)
    return found
