"""What is checked, and how: `nox` for lint, types and tests, `nox -s NAME` for one of them, `nox -l` for the list."""

from __future__ import annotations

import tomllib
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PLUGINS = sorted(path.parent.relative_to(ROOT) for path in ROOT.glob("plugins/*/pyproject.toml"))

SIDE_BY_SIDE = ("-n", "auto", "--dist", "worksteal")
"""All tests, on every core."""

UNCOMPILED = ("calls", "failures", "malice", "pictures", "pings", "process_abuse", "runner", "sessions")
"""What of the tests with processes is about calls."""

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_missing_interpreters = True


def install_all(session: nox.Session, *more: str) -> None:
    """Ourselves and every plugin, editable, with what the tests need."""
    session.install("-r", "tests/requirements.txt", *more)


@nox.session
def lint(session: nox.Session) -> None:
    session.install("ruff>=0.6")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    install_all(session)
    many = {"MYPY_NUM_WORKERS": "auto"}
    session.run("mypy", env=many)
    sources = (package for plugin in PLUGINS for package in sorted((ROOT / plugin / "src").iterdir()))
    session.run("mypy", *(str(package) for package in sources if (package / "__init__.py").exists()), env=many)


@nox.session
def tests(session: nox.Session) -> None:
    """Everything that the README's second command runs; takes pytest's arguments."""
    install_all(session)
    session.run("pytest", *(session.posargs or SIDE_BY_SIDE))


@nox.session
def minimums(session: nox.Session) -> None:
    """The tests with the lowest versions of the core dependencies that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = [dependency.replace(">=", "==") for dependency in project["dependencies"]]
    constraints = Path(session.create_tmp()) / "minimums.txt"
    constraints.write_text("\n".join(pins) + "\n", "utf-8")
    session.log("lowest versions: %s", ", ".join(pins))
    install_all(session, "-c", str(constraints))
    session.run("pytest", *(session.posargs or SIDE_BY_SIDE))


@nox.session
def docs(session: nox.Session) -> None:
    """The pages as a site in `site/`; `nox -s docs -- serve` shows them while they are written."""
    session.install("-e", ".[docs]")
    session.run("mkdocs", *(session.posargs or ("build", "--strict")))


@nox.session
def bench(session: nox.Session) -> None:
    """Ours beside the floor and the peers, as ratios from one run."""
    install_all(session, "-r", "benchmarks/peers.txt")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """What CI installs beside ourselves, in `tests/locked.txt`: versions, and the hash of every file."""
    session.install("uv>=0.5")
    own = [tomllib.loads((ROOT / path / "pyproject.toml").read_text("utf-8"))["project"]["name"] for path in PLUGINS]
    left_out = [word for name in ("procvision", *own) for word in ("--no-emit-package", name)]
    session.run(
        "uv", "pip", "compile", "tests/requirements.txt", "--quiet", "--upgrade", "--generate-hashes", "--no-header",
        "--no-annotate", "--python-version", "3.11", "--python-platform", "x86_64-unknown-linux-gnu", *left_out,
        "--output-file", "tests/locked.txt",
    )  # fmt: skip


@nox.session
def sbom(session: nox.Session) -> None:
    """What an installation of ours consists of, as CycloneDX, in `sbom.cdx.json`; posargs are the extras."""
    session.install("cyclonedx-bom>=5")
    place = Path(session.create_tmp()) / "installed"
    session.run("python", "-m", "venv", "--clear", str(place))
    extras = ",".join(session.posargs or ("cli", "images"))
    session.run(str(place / "bin" / "pip"), "install", "--quiet", f".[{extras}]", external=True)
    session.run(
        "cyclonedx-py", "environment", "--output-reproducible", "--of", "JSON", "--pyproject", "pyproject.toml",
        "-o", "sbom.cdx.json", str(place / "bin" / "python"),
    )  # fmt: skip


@nox.session
def kill(session: nox.Session) -> None:
    """A host is killed in each of 500 sessions, on every session store that outlives it."""
    install_all(session)
    tests = ["tests/process/test_sessions.py", *(f"plugins/procvision-{name}/tests" for name in ("redis", "postgres"))]
    session.run(
        "pytest", "-k", "lost_to_a_kill", "-s", "--timeout=1800", *(session.posargs or tests),
        env={"PROCVISION_KILLS": "500"},
    )  # fmt: skip


@nox.session
def versions(session: nox.Session) -> None:
    """Commands of deployments killed at each change, a bundle flipped at each byte, 1,000 calls over swaps.

    And ProcVision with a bundle on a machine that has neither packages nor a network.
    """
    install_all(session)
    tests = ["tests/process/test_versions.py", "tests/process/test_signatures.py",
             "tests/docs/test_pages.py::test_the_how_to_of_a_machine_without_a_network_works"]  # fmt: skip
    session.run(
        "pytest", "--timeout=7200", *(session.posargs or tests),
        env={"PROCVISION_KILLS": "all", "PROCVISION_FLIPS": "all", "PROCVISION_CALLS": "1000"},
    )  # fmt: skip


REQUALIFICATION = {
    "compare": ("tests/unit/tools/requalification",),
    "engines": ("tests/process/test_engines.py",),
    "kills": ("tests/process/test_cli_requalify.py", "-k", "killed_at_random"),
    "same": ("tests/process/test_cli_requalify.py", "-k", "the_same_as_itself"),
    "command": ("tests/process/test_cli_requalify.py", "-k", "not killed_at_random and not the_same_as_itself"),
}
"""Parts of a session, by name."""


@nox.session
def requalification(session: nox.Session) -> None:
    """A million results compared, engines with workers that die, commands killed 50 times, a version against itself.

    posargs are names of its parts, the first ones, and what pytest takes.
    """
    install_all(session)
    given = list(session.posargs)
    parts = [given.pop(0) for name in session.posargs if name in REQUALIFICATION]
    for part in parts or REQUALIFICATION:
        session.run(
            "pytest", "-n0", "-s", "--timeout=7200", *REQUALIFICATION[part], *given,
            env={"PROCVISION_SYNTHETIC_RESULTS": "1000000", "PROCVISION_REQUALIFY_KILLS": "50"},
        )  # fmt: skip


@nox.session
def deeppcb(session: nox.Session) -> None:
    """The figures on every pair of the folder in `DEEPPCB_DIR`, by the evaluation and through a host."""
    install_all(session)
    tests = "plugins/procvision-pcb/tests/test_deeppcb.py"
    session.run("pytest", "--timeout=1800", *(session.posargs or (tests,)), env={"PROCVISION_EVERY": "1"})


@nox.session
def evidence(session: nox.Session) -> None:
    """A station's processes are killed a thousand times, its power cut at each write, its database away for minutes.

    And the database's file is damaged in each way, and its disk full: a tmpfs, which root alone can mount.
    """
    install_all(session)
    words = ("kills", "power", "database", "damage", "disk")
    for each in [session.posargs] if session.posargs else [(word,) for word in words]:
        session.run("python", "-m", "tests.evidence", *each)


@nox.session
def inputs(session: nox.Session) -> None:
    """Each key of a station's files wrong in each way: read, checked by the command, and taken to a running line."""
    install_all(session)
    session.run(
        "pytest", "-n0", "--timeout=7200", *(session.posargs or ("tests/unit/station/test_wrong_inputs.py",)),
        env={"PROCVISION_EVERY": "1"},
    )  # fmt: skip


@nox.session
def ray(session: nox.Session) -> None:
    """The engine of the how-to passes the check of engines."""
    install_all(session, "ray>=2.40")
    session.run("pytest", "tests/process/test_engines.py", "-k", "how_tos_engine", "--timeout=600")


@nox.session
def page(session: nox.Session) -> None:
    """A verdict's way from its trigger to a browser's screen, and minutes of requests that schemathesis makes."""
    install_all(session)
    session.run(
        "pytest", "-n0", "-s", "--timeout=7200", "-k", "how_long or schemathesis",
        *(session.posargs or ("tests/unit/station/test_web_browser.py", "tests/unit/station/test_web_rest.py")),
        env={"PROCVISION_PAGE_LONG": "100"},
    )  # fmt: skip


@nox.session
def uncompiled(session: nox.Session) -> None:
    """The tests of calls where steady calls run in Python, as they do where there was no C compiler."""
    install_all(session)
    tests = ["tests/conformance", "tests/property", *(f"tests/process/test_{name}.py" for name in UNCOMPILED)]
    session.run("pytest", *SIDE_BY_SIDE, *(session.posargs or tests), env={"PROCVISION_COMPILED": "0"})


@nox.session
def fuzz(session: nox.Session) -> None:
    """Ten million inputs for each part of the compiled steady calls, ten thousand hostile answers, all sanitized."""
    install_all(session)
    session.run("python", "-m", "tests.fuzz", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Three minutes of everything going wrong at once."""
    install_all(session)
    session.run("python", "-m", "tests.chaos", *(session.posargs or ("--seconds", "180")))
