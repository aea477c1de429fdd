"""Sockets and streams at once: no more than the system and the limits allow."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from recall_lab.control.limits import Limits
from recall_lab.receiver import connection_limiter as module
from recall_lab.receiver.connection_limiter import (
    ConnectionLimiter,
    raise_descriptors,
    streams_at_once,
)


def test_the_limiter_counts_in_all_and_by_address() -> None:
    limiter = ConnectionLimiter(Limits(connections=3, per_address=2))
    assert [limiter.enter("a"), limiter.enter("a"), limiter.enter("a")] == ["", "", "address"]
    assert [limiter.enter("b"), limiter.enter("b")] == ["", "connections"]
    limiter.leave("a")
    assert limiter.enter("b") == ""
    for address in ("a", "b", "b"):
        limiter.leave(address)
    assert [limiter.enter("c"), limiter.enter("c")] == ["", ""]


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
    limiter = ConnectionLimiter(Limits())
    assert sum(limiter.enter(str(n)) == "" for n in range(500)) == 256
    # what the limiter lets in at most is what counts, not what it was asked to
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
