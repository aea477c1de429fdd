"""Which addresses a bot can reach."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from recall_lab.bots.urls import secrets_in, shown, wrong_with_endpoint

TOKEN = "canary-token-77aa"


@pytest.mark.parametrize(
    "url",
    [
        f"wss://abc.ngrok.app/?token={TOKEN}",
        f"wss://bench.example.org:8443/a/b?token={TOKEN}",
        "wss://bench.example.org",
        "wss://8.8.8.8/x",
        "wss://[2606:4700::1111]/x",
        "wss://xn--bcher-kva.example/",
    ],
)
def test_what_recall_takes_is_taken(url: str) -> None:
    assert wrong_with_endpoint(SecretStr(url), local=False) == ""


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"ws://bench.example.org/?token={TOKEN}", "wss://"),
        (f"https://bench.example.org/?token={TOKEN}", "wss://"),
        (f"wss://bench.example.org?token={TOKEN}", "'/' before the '?'"),
        (f"wss://bench.example.org/?token={TOKEN}#x", "#"),
        ("wss://localhost/", "inner"),
        ("wss://localhost./", "inner"),
        ("wss://me.localhost/", "inner"),
        ("wss://127.0.0.1/", "inner"),
        ("wss://127.1/", "usual form"),
        ("wss://2130706433/", "usual form"),
        ("wss://0x7f.0.0.0x1/", "usual form"),
        ("wss://[::1]/", "inner"),
        ("wss://[::ffff:127.0.0.1]/", "inner"),
        ("wss://[fe80::1]/", "inner"),
        ("wss://[fd00::1]/", "inner"),
        ("wss://10.0.0.8/", "inner"),
        ("wss://172.16.0.1/", "inner"),
        ("wss://192.168.1.7/", "inner"),
        ("wss://169.254.169.254/", "inner"),
        ("wss://100.64.0.1/", "inner"),
        ("wss://0.0.0.0/", "inner"),
        ("wss://224.0.0.1/", "inner"),
        ("wss://nas/", "inner"),
        ("wss://nas.local/", "inner"),
        ("wss://db.internal/", "inner"),
        ("wss://a..b/", "no host name"),
        ("wss:///x", "URL such as"),
        ("wss://host.example:0/", "URL such as"),
        ("wss://host.example:99999/", "URL such as"),
        ("wss://[zz]/", "URL such as"),
        ("wss://a b/", "URL such as"),
        ("wss://bücher.example/", "URL such as"),
        ("wss://a.example/\n", "URL such as"),
        ("", "URL such as"),
    ],
)
def test_what_recall_refuses_is_refused_with_what_to_do(url: str, why: str) -> None:
    said = wrong_with_endpoint(SecretStr(url), local=False)
    assert why in said
    assert TOKEN not in said
    if why in ("inner", "wss://", "usual form"):
        assert 'rl.receive(tunnel="ngrok")' in said and "public_url=" in said


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("ws://127.0.0.1:3456/?token=x", True),
        ("ws://[::1]:3456/", True),
        ("ws://localhost:3456", True),
        ("wss://bench.example.org/", True),
        ("ws://192.168.1.7/", False),
        ("ws://bench.example.org/", False),
        ("ws://127.0.0.1:3456?token=x", False),
        ("http://127.0.0.1:3456/", False),
    ],
)
def test_the_bots_of_a_stand_in_reach_this_machine(url: str, good: bool) -> None:
    assert (wrong_with_endpoint(SecretStr(url), local=True) == "") is good


def test_what_may_be_seen_of_a_url() -> None:
    url = SecretStr(f"wss://me:secret@bench.example.org:8443/a?token={TOKEN}#f")
    assert shown(url) == "wss://bench.example.org:8443/a?***"
    assert shown(SecretStr("no url")) == "***"


def test_what_is_secret_in_a_url() -> None:
    def found(url: str) -> list[str]:
        return [secret.get_secret_value() for secret in secrets_in(SecretStr(url))]

    assert found(f"wss://a.example/?token={TOKEN}&room=standup12") == [TOKEN]
    assert found(f"wss://a.example/?{TOKEN}") == [TOKEN]
    assert found("wss://a.example/?token=a%2Bbcdefg") == ["a%2Bbcdefg", "a+bcdefg"]
    assert found("wss://a.example/?token=x") == []  # so short that it may stand anywhere
    assert found("no url") == []
