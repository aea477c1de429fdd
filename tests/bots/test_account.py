"""The key and where it is good."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from recall_lab.bots.account import REGIONS, Account
from recall_lab.errors import InvalidArgument, MissingSetting

KEY = SecretStr("canary-key-5f1d9e")


@pytest.mark.parametrize("region", REGIONS)
def test_every_region_has_its_address(region: str) -> None:
    account = Account.checked(KEY, region)
    assert account.base == f"https://{region}.recall.ai/api/v1/"
    assert account.place == f"region {region}" and not account.local


def test_the_environment_and_the_file_are_asked(monkeypatch: Any, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RECALL_API_KEY=canary-from-file\nRECALL_REGION=us-east-1\n")
    account = Account.checked(None, None)
    assert account.key == SecretStr("canary-from-file") and account.region == "us-east-1"
    monkeypatch.setenv("RECALL_REGION", "eu-central-1")
    assert Account.checked(None, None).region == "eu-central-1"
    assert Account.checked(KEY, "us-west-2").region == "us-west-2"


def test_what_is_missing_is_named(monkeypatch: Any) -> None:
    with pytest.raises(MissingSetting, match="RECALL_API_KEY is not set"):
        Account.checked(None, "us-west-2")
    with pytest.raises(MissingSetting, match="RECALL_REGION is not set"):
        Account.checked(KEY, None)
    monkeypatch.setenv("RECALL_API_KEY", "canary-of-environment")
    monkeypatch.setenv("RECALL_REGION", "mars")
    with pytest.raises(InvalidArgument, match="us-west-2"):
        Account.checked(None, None)


@pytest.mark.parametrize("value", ["", " ", "a b", "Token abc", "a\n", "ü", "x" * 513])
def test_a_key_is_one_word(value: str) -> None:
    if value:
        with pytest.raises(InvalidArgument, match=r"api_key='\*\*\*'"):
            Account.checked(SecretStr(value), "us-west-2")
    else:
        with pytest.raises((InvalidArgument, MissingSetting)):
            Account.checked(SecretStr(value), "us-west-2")


@pytest.mark.parametrize(
    ("url", "base", "local"),
    [
        ("http://127.0.0.1:8000/api/v1/", "http://127.0.0.1:8000/api/v1/", True),
        ("http://localhost:8000/api/v1", "http://localhost:8000/api/v1/", True),
        ("http://[::1]:8000", "http://[::1]:8000/", True),
        ("https://proxy.example.org/recall/", "https://proxy.example.org/recall/", False),
    ],
)
def test_another_place_may_be_given(url: str, base: str, local: bool) -> None:
    account = Account.checked(KEY, None, url)
    assert (account.base, account.local) == (base, local)
    assert account.place == base


@pytest.mark.parametrize(
    "url",
    ["", "x", 5, "http://api.example.org/", "ftp://127.0.0.1/", "https://me:pw@h.example/",
     "https://h.example/?x=1", "https://h.example/#x", "https://h.example/../", "https://h:0/"],
)  # fmt: skip
def test_the_key_is_not_sent_just_anywhere(url: Any) -> None:
    with pytest.raises(InvalidArgument, match="base_url") as caught:
        Account.checked(KEY, None, url)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"timeout": 0}, {"timeout": math.inf}, {"timeout": "5"}, {"retry_timeout": -1},
     {"retry_timeout": True}, {"retry_timeout": math.nan}],
)  # fmt: skip
def test_times_are_seconds(make_client: Any, options: Any) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        make_client(**options)


def test_the_key_is_signed_with_and_not_shown() -> None:
    assert "canary" not in repr(Account.checked(KEY, "us-west-2"))


def test_what_is_secret_is_taken_out_of_a_body() -> None:
    account = Account.checked(KEY, "us-west-2")
    body = account.without_secrets(b"canary-key-5f1d9e and tokentoken, x", [SecretStr("tokentoken"), SecretStr("x")])  # fmt: skip # noqa: E501
    assert body == b"*** and ***, x"  # what is too short to be a secret stays
