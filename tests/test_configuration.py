"""Secrets from the environment and from .env: found, hidden, and missed in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from recall_lab.configuration import Configuration, secret_setting
from recall_lab.errors import MissingSetting

CANARY = "canary-3f1b6a2c9d"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Configuration.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_the_environment_goes_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("RECALL_API_KEY=from-file\nRECALL_REGION=us-west-2\nOTHER=1\n")
    assert secret_setting("recall_api_key", "x").get_secret_value() == "from-file"
    monkeypatch.setenv("RECALL_API_KEY", CANARY)
    assert secret_setting("recall_api_key", "x").get_secret_value() == CANARY
    assert Configuration().recall_region == "us-west-2"
    monkeypatch.setenv("RECALL_API_KEY", "")  # empty is as if not set
    assert secret_setting("recall_api_key", "x").get_secret_value() == "from-file"


def test_what_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingSetting, match=r"RECALL_API_KEY is not set, which the client needs"):
        secret_setting("recall_api_key", "the client")


def test_it_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RECALL_API_KEY", "RECALL_WORKSPACE_VERIFICATION_SECRET", "RECALL_LAB_TOKEN"):
        monkeypatch.setenv(name, CANARY)
    configured = Configuration()
    assert CANARY not in repr(configured) + str(configured) + configured.model_dump_json()
