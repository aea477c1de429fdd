"""Quotas: what is enough is said by name, counted, and stops nothing that is under way."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from recall_lab.control.limits import Limits
from recall_lab.errors import LimitReached
from recall_lab.receiver import quota as module
from recall_lab.receiver.quota import Quota


def test_a_recording_and_a_day_have_their_quotas(tmp_path: Path) -> None:
    quota = Quota(Limits(recording=1_000, day=1_500), tmp_path)
    quota.spend("a", 999)
    quota.check("a")
    quota.spend("a", 1)
    with pytest.raises(LimitReached, match="1000 bytes of recording 'a' have been kept") as told:
        quota.check("a")
    assert (told.value.reason, told.value.limit) == ("quota", "recording")
    quota.check("b")
    quota.spend(None, 500)
    with pytest.raises(LimitReached, match="today") as told:
        quota.check("b")
    assert told.value.limit == "day"


def test_what_earlier_runs_kept_counts_for_the_recording_and_not_for_the_day(
    tmp_path: Path,
) -> None:
    quota = Quota(Limits(recording=1_000, day=1_500), tmp_path)
    quota.found("a", 5_000)
    quota.check("b")
    with pytest.raises(LimitReached, match="of recording 'a'"):
        quota.check("a")


def test_a_new_day_is_a_new_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: now[0]))
    quota = Quota(Limits(day=100_000, streams=2), tmp_path)
    for name in ("a", "b"):
        quota.check_begin(name)
        quota.begun(name)
    with pytest.raises(LimitReached, match="2 streams were begun today"):
        quota.check_begin("c")
    quota.tick()
    with pytest.raises(LimitReached):
        quota.check_begin("c")
    now[0] += 86_400
    quota.tick()
    quota.check_begin("c")


def test_the_reserve_is_what_the_disk_has_free(tmp_path: Path) -> None:
    Quota(Limits(reserve=0), tmp_path).check_room()
    disk = os.statvfs(tmp_path)
    with pytest.raises(LimitReached, match="are free on the disk") as told:
        Quota(Limits(reserve=disk.f_blocks * disk.f_frsize + 1), tmp_path).check_room()
    assert told.value.reason == "reserve"
