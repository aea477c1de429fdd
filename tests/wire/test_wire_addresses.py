"""Which hosts are this machine."""

from __future__ import annotations

import pytest

from recall_lab.wire.addresses import is_loopback


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"]
)
def test_this_machines_own(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example.org", "example.org", "127.0.0"]
)
def test_others(host: str) -> None:
    assert not is_loopback(host)
