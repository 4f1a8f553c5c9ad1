"""Requests that schemathesis makes of the interface's description, right ones and wrong ones, sent to a page."""

from __future__ import annotations

from typing import Any

import hypothesis
import schemathesis
from schemathesis.generation import GenerationMode
from web_client import Site

from procvision_station.web.accounts import Role
from procvision_station.web.app import described

LEFT_OUT = {("GET", "/api/live")}
"""A stream that doesn't end; tests with a real server follow it."""


def fuzzed(here: Site, examples: int) -> list[str]:
    """Send so many requests of each operation as an administrator; return what was answered with a server's error."""
    schema = schemathesis.openapi.from_dict(described(here.litestar))
    browser = here.as_role(Role.ADMINISTRATOR)
    failures: list[str] = []
    for found in schema.get_all_operations():
        operation = found.ok()
        if (operation.method.upper(), operation.path) in LEFT_OUT:
            continue
        for mode in GenerationMode:
            strategy = operation.as_strategy(generation_mode=mode)

            @hypothesis.settings(
                max_examples=examples, database=None, deadline=None, derandomize=True,
                suppress_health_check=list(hypothesis.HealthCheck),
                phases=[hypothesis.Phase.generate],
            )  # fmt: skip
            @hypothesis.given(case=strategy)
            def send(case: Any) -> None:
                answer = _sent(browser, case)
                # 503 is said in words, and is right while no line runs.
                if answer.status_code >= 500 and answer.status_code != 503:
                    failures.append(
                        f"{case.method} {case.formatted_path} {case.query} {case.body!r:.200}: {answer.text}"
                    )
                assert "<" not in answer.text[:1] or "svg" in answer.headers["content-type"]

            try:
                send()
            except hypothesis.errors.Unsatisfiable:
                continue  # an operation without parameters has no wrong ones
    return failures


def _sent(browser: Any, case: Any) -> Any:
    if not browser.get("/api/session").is_success:  # it signed itself out, or changed itself
        browser.sign_in(Role.ADMINISTRATOR)
    facts = case.as_transport_kwargs(base_url="http://localhost")
    headers = {name: str(value) for name, value in (facts.get("headers") or {}).items() if name.lower() != "cookie"}
    body = {"json": facts["json"]} if "json" in facts else {"content": facts.get("data") or b""}
    return browser.send(facts["method"], facts["url"], params=facts.get("params"), headers=headers, **body)
