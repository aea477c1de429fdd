"""What is a URL, which hosts are this machine, and how it reaches its own ports."""

from __future__ import annotations

import pytest

from recall_lab.wire.urls import is_loopback, local_address, split


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


@pytest.mark.parametrize(
    "url",
    ["", "host", "wss://", "wss://x:99999/", "wss://x:0/", "wss://a b/", "wss://h\"x/", "wss://a\nb/",
     "wss://m\u00fcnchen.de/", "wss://[::/"],
)  # fmt: skip
def test_what_is_no_url_with_a_host(url: str) -> None:
    assert split(url) is None


def test_a_port_of_our_own_is_reached_where_it_listens() -> None:
    assert local_address("127.0.0.1", 1) == "127.0.0.1:1"
    assert local_address("::", 1) == "[::1]:1"
    assert local_address("10.0.0.7", 1) == "10.0.0.7:1"
