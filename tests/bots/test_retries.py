"""When a request is sent again: both clients, a real server, and a clock that need not wait."""

from __future__ import annotations

import socket
import threading
from email.utils import formatdate
from typing import Any

import pytest

from recall_lab.bots.retries import pause_after
from recall_lab.errors import RecallApiError

URL = "wss://bench.example.org/?token=canary-token-77aa"
MEETING = "https://zoom.us/j/123"


def keys(api: Any) -> list[str]:
    return [asked.headers["idempotency-key"] for asked in api.asked]


def test_429_waits_exactly_as_long_as_it_is_told(
    client: Any, api: Any, clock: Any, reply: Any, bot_json: Any
) -> None:
    api.script(reply(429, {"detail": "slow"}, {"Retry-After": "7"}), bot_json("joining_call"))
    assert client.create(MEETING, URL).id == "b-1"
    assert clock.slept == [7.0]
    assert len(set(keys(api))) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_date_is_obeyed_by_the_clock_of_who_named_it(
    client: Any, api: Any, clock: Any, reply: Any, bot_json: Any, status: int
) -> None:
    # the server's clock is an hour ahead of ours, which does not matter
    headers = {
        "Date": formatdate(clock.now + 3_600, usegmt=True),
        "Retry-After": formatdate(clock.now + 3_612, usegmt=True),
    }
    api.script(reply(status, {}, headers), bot_json())
    client.get("b-1")
    assert clock.slept == [12.0]


def test_a_date_without_a_date_is_obeyed_by_ours(
    client: Any, api: Any, clock: Any, reply: Any, bot_json: Any
) -> None:
    later = formatdate(clock.now + 12, usegmt=True)
    api.script(reply(429, {}, {"Retry-After": later}), bot_json())
    client.get("b-1")
    assert clock.slept == [12.0]


@pytest.mark.parametrize("value", ["soon", "nan", "Xyz, 99 Foo 2025 00:00:00 GMT"])
def test_a_header_that_can_not_be_read_is_as_none(
    client: Any, api: Any, clock: Any, reply: Any, bot_json: Any, value: str
) -> None:
    api.script(reply(503, {}, {"Retry-After": value}), bot_json())
    client.get("b-1")
    assert clock.slept == [1.0]


def test_a_time_that_has_gone_by_is_not_taken_at_its_word(
    client: Any, api: Any, clock: Any, reply: Any, bot_json: Any
) -> None:
    past = formatdate(clock.now - 50, usegmt=True)
    api.script(
        reply(429, {}, {"Retry-After": past}), reply(429, {}, {"Retry-After": "-3"}), bot_json()
    )
    client.get("b-1")
    assert clock.slept == [1.0, 2.0]  # or a server that says so would be asked without end


def test_for_ever_is_as_if_nothing_were_said(
    client: Any, api: Any, clock: Any, reply: Any, bot_json: Any
) -> None:
    api.script(reply(429, {}, {"Retry-After": "inf"}), reply(429, {}, {"Retry-After": "1_0"}),
               bot_json())  # fmt: skip
    client.get("b-1")
    assert clock.slept == [1.0, 2.0]


@pytest.mark.parametrize("status", [409, 502, 503, 504])
def test_back_off_doubles_and_keeps_the_key(
    client: Any, api: Any, clock: Any, bot_json: Any, status: int
) -> None:
    api.script(status, status, status, bot_json())
    client.create(MEETING, URL)
    assert clock.slept == [1.0, 2.0, 4.0]
    assert len(set(keys(api))) == 1 and len(api.asked) == 4
    assert len({asked.body for asked in api.asked}) == 1


def test_a_connection_that_breaks_off_is_tried_again_with_the_same_key(
    client: Any, api: Any, clock: Any, reply: Any, bot_json: Any
) -> None:
    api.script(reply(0), reply(0), bot_json())
    assert client.create(MEETING, URL).id == "b-1"
    assert clock.slept == [1.0, 2.0]
    assert len(set(keys(api))) == 1 and len(api.asked) == 3


def test_nobody_there(make_client: Any, clock: Any) -> None:
    with socket.socket() as held:  # a port on which nobody listens
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        client = make_client(base_url=f"http://127.0.0.1:{port}/api/v1/", retry_timeout=10.0)
        with pytest.raises(RecallApiError, match=r"no answer.*check the network") as caught:
            client.get("b-1")
    assert caught.value.status is None and caught.value.passing
    assert clock.slept == [1.0, 2.0, 4.0]  # 8 s more would be beyond the timeout


def test_an_answer_that_does_not_come(make_client: Any, api: Any, reply: Any) -> None:
    client = make_client(timeout=0.05, retry_timeout=0.5)
    heard = threading.Event()

    def silent(_: Any) -> Any:
        heard.wait(10)
        return reply(200, {})

    api.script(silent)
    with pytest.raises(RecallApiError, match="did not answer in time") as caught:
        client.get("b-1")
    heard.set()
    assert caught.value.status is None


def test_507_waits_half_a_minute_and_changes_the_key_each_time(
    client: Any, api: Any, clock: Any, bot_json: Any
) -> None:
    api.script(507, 507, bot_json())
    client.create(MEETING, URL)
    assert clock.slept == [30.0, 30.0]
    assert len(set(keys(api))) == 3


def test_507_obeys_what_it_is_told(
    client: Any, api: Any, clock: Any, reply: Any, bot_json: Any
) -> None:
    api.script(reply(507, {}, {"Retry-After": "45"}), bot_json())
    client.create(MEETING, URL)
    assert clock.slept == [45.0]


def test_each_bot_has_a_key_of_its_own(client: Any, api: Any, bot_json: Any) -> None:
    api.script(bot_json(), bot_json())
    client.create(MEETING, URL)
    client.create(MEETING, URL)
    assert len(set(keys(api))) == 2


def test_every_post_has_a_key_and_is_sent_again(client: Any, api: Any, clock: Any) -> None:
    api.script(502, {}, 409, {})
    client.leave("b-1")
    client.delete_media("b-1")
    assert clock.slept == [1.0, 1.0]
    first, second, third, fourth = keys(api)
    assert first == second != third == fourth


def test_a_get_has_no_key(client: Any, api: Any, bot_json: Any) -> None:
    api.script(bot_json())
    client.get("b-1")
    assert "idempotency-key" not in api.asked[0].headers


def test_a_deletion_that_was_done_unheard_is_done(client: Any, api: Any, reply: Any) -> None:
    api.script(reply(0), 404)
    client.delete("b-1")
    assert [asked.method for asked in api.asked] == ["DELETE", "DELETE"]


def test_a_deletion_of_nothing_is_an_error(client: Any, api: Any) -> None:
    api.script(502, 404)  # an answer says it was not done
    with pytest.raises(RecallApiError) as caught:
        client.delete("b-1")
    assert caught.value.status == 404


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 410, 418, 422, 500, 501, 301])
def test_what_would_be_refused_again_is_not_sent_again(
    client: Any, api: Any, clock: Any, status: int
) -> None:
    api.script(status)
    with pytest.raises(RecallApiError) as caught:
        client.create(MEETING, URL)
    assert caught.value.status == status and not caught.value.passing
    assert clock.slept == [] and len(api.asked) == 1


def test_patience_ends_with_the_last_error(make_client: Any, api: Any, clock: Any) -> None:
    api.script(507, 502, 507, 409)
    with pytest.raises(RecallApiError) as caught:
        make_client(retry_timeout=62.0).create(MEETING, URL)
    assert caught.value.status == 409
    assert clock.slept == [30.0, 2.0, 30.0]  # and 8 s more would be beyond it


def test_a_pause_beyond_the_patience_is_not_begun(
    make_client: Any, api: Any, clock: Any, reply: Any
) -> None:
    api.script(reply(429, {}, {"Retry-After": "3600"}))
    with pytest.raises(RecallApiError, match="try again in 3600 s") as caught:
        make_client(retry_timeout=60.0).get("b-1")
    assert caught.value.retry_after == 3600.0
    assert clock.slept == []


def test_chance_shortens_the_pause_to_a_half_at_most() -> None:
    error = RecallApiError("busy", status=502)
    assert [pause_after(error, n, 1.0) for n in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert [pause_after(error, n, 0.0) for n in range(1, 8)] == [0.5, 1, 2, 4, 8, 15, 15]
    assert pause_after(error, 10_000, 1.0) == 30.0
