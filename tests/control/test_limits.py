"""Limits that can't be are refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from recall_lab.control.limits import Limits
from recall_lab.errors import InvalidArgument


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reserve", -1), ("recording", 0), ("day", 1.5), ("streams", True),
        ("connections", "many"), ("per_address", 0), ("day", 2**63),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=f"limits.{name}") as caught:
        Limits(**{name: value}).checked()
    assert "whole number" in str(caught.value)


def test_no_reserve_at_all_can_be() -> None:
    assert Limits(reserve=0).checked().reserve == 0
