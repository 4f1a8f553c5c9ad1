"""Everything there is to measure, and the targets."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from benchmarks import floors, hooks, isolation, ours, peers, recovery
from benchmarks.measure import Case
from benchmarks.pictures import SIZES

HOSTS = 2
"""How many hosts work at once: the machines that this runs on have two cores."""
_PER_ROUND = 400 * 1920 * 1200
"""Pixels a round of a case with pictures."""

AT_MOST: Mapping[str, float] = MappingProxyType(
    {
        "ours: control path": 1.5,
        **{f"ours: {size} copied": 1.15 for size in ("2MP", "12MP", "20MP")},
        **{f"ours: {size} lent": 1.2 for size in SIZES},
        **hooks.TARGETS,
        **isolation.AT_MOST,
        "ours: 2MP pipelined": round(1 / 0.9, 2),
        "ours: spawn to hello": 2.0,
    }
)
"""The ratio to the case's reference that is aimed at; pipelined it is 0.9 of the copy's bandwidth, upside down."""

AT_LEAST: Mapping[str, float] = MappingProxyType(
    {
        "procvision-algorithm-sdk: 2MP copied": 12,
        "pyzmq ipc: 2MP copied": 5,
        "grpc unix unary: 2MP copied": 20,
        "multiprocessing: 2MP copied": 1,
        "iceoryx2 event: 2MP copied": 1,
    }
)
"""How many times ours a peer is to take."""


NO_CPU_RATIO = frozenset({"recovery"})
"""Groups whose processes start and end beside what is measured."""


def cases() -> list[Case]:
    """All, each after what it is divided by."""
    found = [
        Case(name="floor: pipe", group="control", open=floors.pipe, calls=1000),
        Case(name="ours: control path", group="control", open=ours.call, calls=1000, reference="floor: pipe"),
        Case(name="ours: host alone", group="control", open=ours.host_alone, calls=1000, reference="floor: pipe"),
    ]
    for size in SIZES:
        found += _sized(size)
    return [
        *found,
        *_colours(),
        *_encoded(),
        *_at_work(),
        *_many(),
        *hooks.cases(),
        *_peers(),
        *_starts(),
        *recovery.cases(),
        *isolation.cases(),
    ]


def _sized(size: str) -> list[Case]:
    width, height = SIZES[size]
    calls = max(10, min(1000, _PER_ROUND // (width * height)))
    floor = f"floor: {size} pipe, copy, touch"
    return [
        Case(name=f"floor: {size} copy", group=size, open=partial(floors.copy, width, height), calls=calls),
        Case(name=floor, group=size, open=partial(floors.pipe, width, height), calls=calls),
        Case(
            name=f"ours: {size} copied",
            group=size,
            open=partial(ours.call, width, height),
            calls=calls,
            reference=floor,
        ),
        Case(
            name=f"ours: {size} lent",
            group=size,
            open=partial(ours.call, width, height, lent=True),
            calls=1000,
            reference="ours: control path",
        ),
    ]


def _colours() -> list[Case]:
    return [
        Case(
            name=f"ours: 2MP {color} copied",
            group="colours",
            open=partial(ours.call, *SIZES["2MP"], color_space=color),
            calls=400,
            reference="ours: 2MP copied",
        )
        for color in ("BGR", "MONO")
    ]


def _at_work() -> list[Case]:
    given_back = "ours: 2MP at work, memory given back"
    return [
        Case(
            name=name,
            group="arrays",
            open=partial(ours.at_work, *SIZES["2MP"], given_back=name == given_back),
            calls=30,
            reference=reference,
        )
        for name, reference in ((given_back, None), ("ours: 2MP at work", given_back))
    ]


def _encoded() -> list[Case]:
    found = []
    for encoding in ("jpeg", "png"):
        floor = f"floor: 2MP {encoding} decoded"
        found += [
            Case(name=floor, group="encoded", open=partial(floors.decoded, encoding, *SIZES["2MP"]), calls=20),
            Case(
                name=f"ours: 2MP {encoding}",
                group="encoded",
                open=partial(ours.call, *SIZES["2MP"], encoding=encoding),
                calls=20,
                reference=floor,
            ),
        ]
    return found


def _many() -> list[Case]:
    # As many pictures are on their way at once as that many slots: no cache holds them all.
    floor = f"floor: 2MP copy, {ours.IN_FLIGHT} mappings in turn"
    return [
        Case(name=floor, group="throughput", open=partial(floors.copy, *SIZES["2MP"], ours.IN_FLIGHT), calls=300),
        Case(
            name="ours: 2MP pipelined",
            group="throughput",
            open=partial(ours.pipelined, *SIZES["2MP"]),
            calls=300,
            reference=floor,
            every_core=True,
        ),
        Case(name="floor: work", group="throughput", open=floors.work, calls=30),
        Case(
            name=f"ours: work in {HOSTS} hosts at once",
            group="throughput",
            open=partial(ours.hosts, HOSTS),
            calls=30,
            reference="floor: work",
            every_core=True,
        ),
    ]


def _peers() -> list[Case]:
    found = []
    for peer in peers.installed()[0]:
        found.append(
            Case(
                name=f"{peer.name}: control path",
                group="peers",
                open=partial(peer.open, 0, 0),
                calls=500,
                reference="ours: control path",
            )
        )
        if peer.pictures:
            found.append(
                Case(
                    name=f"{peer.name}: 2MP copied",
                    group="peers",
                    open=partial(peer.open, *SIZES["2MP"]),
                    calls=30,
                    reference="ours: 2MP copied",
                )
            )
    return found


def _starts() -> list[Case]:
    start = "floor: python start"
    return [
        Case(name=start, group="start", open=floors.python_start, calls=5, timed_by_itself=True),
        Case(
            name="ours: spawn to hello",
            group="start",
            open=ours.spawn_to_hello,
            calls=5,
            reference=start,
            timed_by_itself=True,
        ),
        Case(name="ours: spawn to ready and end", group="start", open=ours.spawn_to_ready, calls=3, reference=start),
    ]


def chosen(only: str | None) -> list[Case]:
    """The cases whose name holds `only`, or whose group it is, with the references they need."""
    return with_references({case.name for case in cases() if only is None or only in case.name or only == case.group})


def with_references(wanted: set[str]) -> list[Case]:
    """These cases, with what they are divided by."""
    every = {case.name: case for case in cases()}
    wanted = set(wanted)
    for _ in range(2):  # a reference may have one of its own
        wanted |= {case.reference for name, case in every.items() if name in wanted and case.reference}
    return [case for name, case in every.items() if name in wanted]
