"""What may be shown of a text that holds secrets."""

from __future__ import annotations

import json

import pytest

from procvision_sdk.masking import masked, masked_command, masked_value


@pytest.mark.parametrize(
    "text",
    [
        "redis://:geheim@127.0.0.1:1/0",
        "redis://user:geheim@host/0?ttl=3",
        "postgres://u:ge%2Fheim@host/db is away",
        "postgresql://u:ge/heim@host/db",
        "mqtt://u:ge@heim@host:1883",
        "host=db user=u password=geheim dbname=x",
        "host=db password = 'ge heim' dbname=x",
        "--hook-option mqtt.password=geheim",
        "--api-key geheim --count 3",
        "PROCVISION_REDIS_PASSWORD=geheim",
        "AWS_SECRET_ACCESS_KEY=ge/heim+x",
        "https://host/path?token=geheim&x=1",
        json.dumps({"broker": {"password": 'ge"heim', "user": "u"}}),
        "'auth_token': 'geheim'",
    ],
)
def test_no_secret_is_left(text: str) -> None:
    """And what stands around it is."""
    shown = masked(text)
    assert "heim" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "text",
    [
        "procvision-host --algo pcb-compare --sessions sqlite:/var/lib/s.db",
        "invalid token '}' at line 3",
        "http://127.0.0.1:9100/metrics",
        "file:///a/b@2x.png",
        "the password is asked for at the start",
        "12:30:01 host@line: 3 calls",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """Nothing tells that it is one."""
    assert masked(text) == text


def test_words_of_a_command_line_stay_words() -> None:
    """A value that is a word of its own is masked by the option before it."""
    words = ["host", "--sessions", "redis://:geheim@h", "--token", "geheim", "--password=geheim", "--algo", "a"]
    assert masked_command(words) == [
        "host", "--sessions", "redis://:***@h", "--token", "***", "--password=***", "--algo", "a",
    ]  # fmt: skip


def test_a_json_value_keeps_its_form() -> None:
    """At any depth, whatever its texts hold."""
    told = {"command": ["host", "redis://:geheim@h"], "deep": [{"password": "ge heim", "tokens": 3}], "x": 1.5}
    shown = masked_value(told)
    assert shown == {"command": ["host", "redis://:***@h"], "deep": [{"password": "***", "tokens": 3}], "x": 1.5}
    assert json.loads(masked(json.dumps({"password": "geheim", "user": "u"}))) == {"password": "***", "user": "u"}
