"""Settings: what a receiver may be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recall_lab.control.settings import Settings
from recall_lab.errors import InvalidArgument

GOOD: dict[str, Any] = {
    "host": "127.0.0.1",
    "port": 3456,
    "directory": "captures",
    "mode": "process",
    "idle_timeout": 600.0,
    "sync": 1.0,
}


def test_the_directory_becomes_absolute_so_that_cells_agree() -> None:
    settings = Settings.checked(**GOOD)
    assert settings.directory == str(Path.cwd() / "captures")
    assert settings == Settings.checked(**GOOD | {"directory": settings.directory})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", -1),
        ("port", 65_536),
        ("port", "3456"),
        ("port", True),
        ("host", ""),
        ("host", "a b"),
        ("host", "x\n"),
        ("mode", "fork"),
        ("idle_timeout", 0),
        ("idle_timeout", float("nan")),
        ("sync", -1),
        ("sync", float("inf")),
    ],
)
def test_what_can_not_be_is_refused_by_name_and_value(name: str, value: object) -> None:
    with pytest.raises(InvalidArgument, match=name) as caught:
        Settings.checked(**GOOD | {name: value})
    assert caught.value.name == name
    assert "expected" in str(caught.value)
