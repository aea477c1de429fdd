"""Limits: what is enough is said by name, counted, and stops nothing that is under way."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recall_lab.errors import InvalidArgument, LimitReached
from recall_lab.receiver import limits as module
from recall_lab.receiver.limits import Budget, Door, Limits, raise_descriptors, streams_at_once


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


def test_a_recording_and_a_day_have_their_quotas(tmp_path: Path) -> None:
    budget = Budget(Limits(recording=1_000, day=1_500), tmp_path)
    budget.spend("a", 999)
    budget.check("a")
    budget.spend("a", 1)
    with pytest.raises(LimitReached, match="1000 bytes of recording 'a' have been kept") as told:
        budget.check("a")
    assert (told.value.reason, told.value.limit) == ("quota", "recording")
    budget.check("b")
    budget.spend(None, 500)
    with pytest.raises(LimitReached, match="today") as told:
        budget.check("b")
    assert told.value.limit == "day"


def test_what_earlier_runs_kept_counts_for_the_recording_and_not_for_the_day(
    tmp_path: Path,
) -> None:
    budget = Budget(Limits(recording=1_000, day=1_500), tmp_path)
    budget.found("a", 5_000)
    budget.check("b")
    with pytest.raises(LimitReached, match="of recording 'a'"):
        budget.check("a")


def test_a_new_day_is_a_new_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: now[0]))
    budget = Budget(Limits(day=100_000, streams=2), tmp_path)
    for name in ("a", "b"):
        budget.check_begin(name)
        budget.begun(name)
    with pytest.raises(LimitReached, match="2 streams were begun today"):
        budget.check_begin("c")
    budget.tick()
    with pytest.raises(LimitReached):
        budget.check_begin("c")
    now[0] += 86_400
    budget.tick()
    budget.check_begin("c")


def test_the_reserve_is_what_the_disk_has_free(tmp_path: Path) -> None:
    Budget(Limits(reserve=0), tmp_path).check_room()
    disk = os.statvfs(tmp_path)
    with pytest.raises(LimitReached, match="are free on the disk") as told:
        Budget(Limits(reserve=disk.f_blocks * disk.f_frsize + 1), tmp_path).check_room()
    assert told.value.reason == "reserve"


def test_the_door_counts_in_all_and_by_address() -> None:
    door = Door(Limits(connections=3, per_address=2))
    assert [door.enter("a"), door.enter("a"), door.enter("a")] == ["", "", "address"]
    assert [door.enter("b"), door.enter("b")] == ["", "connections"]
    door.leave("a")
    assert door.enter("b") == ""
    for address in ("a", "b", "b"):
        door.leave(address)
    assert [door.enter("c"), door.enter("c")] == ["", ""]


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_of_descriptors_is_raised(few_descriptors: None) -> None:
    assert raise_descriptors() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 512


def test_few_descriptors_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "raise_descriptors", lambda: 1_024)
    door = Door(Limits())
    assert sum(door.enter(str(n)) == "" for n in range(500)) == 256
    # what the door lets in at most is what counts, not what it was asked to
    for connections in (2_048, 60_000):
        assert streams_at_once(Limits(connections=connections)) == (1_024 - 256 - 128) // 2
    monkeypatch.setattr(module, "raise_descriptors", lambda: 128)
    assert streams_at_once(Limits()) == 16


def test_a_system_that_raises_no_limit_is_lived_with(
    few_descriptors: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_descriptors() == 512
    monkeypatch.undo()
