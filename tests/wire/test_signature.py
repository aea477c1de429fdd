"""Signatures: the specification's own vectors, and every way in which one can be wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from recall_lab.wire.signature import (
    TOLERANCE,
    is_one_of,
    is_secret,
    is_token,
    make_token,
    sign,
    signed_headers,
    token_in,
    verify,
)

# the reference vector of the Standard Webhooks specification
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = 1_614_265_330
BODY = '{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def headers(family: str = "webhook", **changes: Any) -> dict[str, list[str]]:
    """Return the headers of a signed upgrade, with changes by part; None takes one away."""
    sent = {name: [value] for name, value in signed_headers(SECRET, ID, AT, family).items()}
    for part, value in changes.items():
        name = f"{family}-{part}"
        if value is None:
            del sent[name]
        else:
            sent[name] = value if isinstance(value, list) else [value]
    return sent


def outcome(sent: dict[str, list[str]], *secrets: str, now: float = AT) -> str:
    return verify(sent, secrets or (SECRET,), now).outcome


def test_the_vector_of_the_specification() -> None:
    assert sign(SECRET, ID, AT, BODY) == SIGNATURE
    sent = headers(signature=SIGNATURE)
    assert verify(sent, [SECRET], AT, BODY) == ("signed", ID)
    assert verify(sent, [SECRET], AT, BODY + " ").outcome == "forged"


def test_an_upgrade_is_signed_with_an_empty_body_and_so_ends_in_a_dot() -> None:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    by_hand = hmac.new(key, f"{ID}.{AT}.".encode(), hashlib.sha256).digest()
    assert sign(SECRET, ID, AT) == "v1," + base64.b64encode(by_hand).decode()


@pytest.mark.parametrize("family", ["webhook", "svix"])
def test_either_family_of_headers(family: str) -> None:
    assert outcome(headers(family)) == "signed"


def test_headers_of_two_families_do_not_make_one() -> None:
    sent = headers("svix", signature=None) | {"webhook-signature": headers()["webhook-signature"]}
    assert outcome(sent) == "unsigned"
    # a family that is whole but wrong does not stand in the way of the other
    assert outcome(headers("svix") | headers(signature="v1,AAAA")) == "signed"


def test_rotation_takes_any_secret_and_any_signature_that_fit() -> None:
    assert outcome(headers(), OTHER, SECRET) == "signed"
    both = f"{sign(OTHER, ID, AT)} {sign(SECRET, ID, AT)}"
    assert outcome(headers(signature=both)) == "signed"
    assert outcome(headers(signature=f"v1a,ed25519 {sign(SECRET, ID, AT)} v2,x")) == "signed"
    assert outcome(headers(), OTHER) == "forged"


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (AT + TOLERANCE, "signed"),
        (AT + TOLERANCE + 1, "stale"),
        (AT - TOLERANCE, "signed"),
        (AT - TOLERANCE - 1, "future"),
        (AT + 86_400 * 365, "stale"),
    ],
)
def test_the_window_is_five_minutes_both_ways(now: float, expected: str) -> None:
    assert outcome(headers(), now=now) == expected


@pytest.mark.parametrize("part", ["id", "timestamp", "signature"])
def test_each_part_is_needed(part: str) -> None:
    assert outcome(headers(**{part: None})) == "unsigned"
    assert outcome(headers(**{part: []})) == "unsigned"


@pytest.mark.parametrize("part", ["id", "timestamp", "signature"])
def test_a_header_may_come_twice_if_it_says_the_same(part: str) -> None:
    (sent,) = headers()[f"webhook-{part}"]
    assert outcome(headers(**{part: [sent, sent]})) == "signed"
    assert outcome(headers(**{part: f"{sent}, {sent}"})) == "signed"
    if part != "signature":
        assert outcome(headers(**{part: [sent, "1" + sent]})) == "malformed"


def test_several_headers_of_signatures_count_as_one() -> None:
    other, ours = sign(OTHER, ID, AT), sign(SECRET, ID, AT)
    assert outcome(headers(signature=[other, ours])) == "signed"
    for joined in (f"{other}, {ours}", f"{ours},{other}", f"{other} {ours}, v1a,x"):
        assert outcome(headers(signature=joined)) == "signed", joined
    assert outcome(headers(signature=[other, "v1,AAAA"])) == "forged"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"id": "with space"},
        {"id": "x" * 257},
        {"id": "\udcff"},
        {"timestamp": ""},
        {"timestamp": "soon"},
        {"timestamp": f"{AT}.0"},
        {"timestamp": f" {AT}"},
        {"timestamp": f"-{AT}"},
        {"timestamp": "NaN"},
        {"timestamp": "1e9"},
        {"timestamp": "9" * 40},
        {"timestamp": "٣" * 10},
        {"signature": ""},
        {"signature": "v1"},
        {"signature": "v1,"},
        {"signature": ",abc"},
        {"signature": "v1,AAAA, v1"},
        {"signature": " ".join(["v1,AAAA"] * 17)},
    ],
)
def test_what_can_not_be_read_is_malformed(changes: dict[str, str]) -> None:
    assert outcome(headers(**changes)) == "malformed"


@pytest.mark.parametrize(
    "signature",
    [
        "v1,AAAA",
        "v1,not-base64!",
        "v1,\udcff\udcfe",
        sign(SECRET, ID, AT)[:-4],
        sign(SECRET, ID, AT).replace("v1", "v2"),
        sign(SECRET, ID, AT + 1),
        sign(SECRET, ID + "x", AT),
        sign(OTHER, ID, AT),
    ],
)
def test_what_does_not_fit_is_forged(signature: str) -> None:
    assert outcome(headers(signature=signature)) == "forged"


@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "svix-id"]),
        st.lists(st.text(), max_size=2),
    ),
    st.floats(0, 4e9),
)
def test_whatever_is_sent_it_is_answered(sent: dict[str, list[str]], now: float) -> None:
    assert not verify(sent, [SECRET], now).genuine


@given(st.binary(min_size=16, max_size=64), st.text("abcXYZ_-019", min_size=1, max_size=64))
def test_what_the_library_signs_is_signed(key: bytes, id_: str) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    assert is_secret(secret)
    sent = {k: [v] for k, v in signed_headers(secret, id_, AT).items()}
    assert verify(sent, [secret], AT) == ("signed", id_)
    # and the library itself thinks so, of its own headers and clock, where the time is now
    assert Webhook(secret).sign(id_, _utc(AT), "") == sent["webhook-signature"][0]


def _utc(seconds: int) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize(
    "secret",
    [
        "", "whsec_", "whsec_abc", SECRET.removeprefix("whsec_"), "whsec_!!!!", SECRET + "\n",
        "whsec_" + base64.b64encode(bytes(65)).decode(), "whsec_" + "eHh4eHh4" * 2, "whsec_ä",
    ],
)  # fmt: skip
def test_what_is_no_secret(secret: str) -> None:
    assert not is_secret(secret)


@pytest.mark.parametrize("token", ["", "short", "x" * 21, "x" * 257, "a b" * 10, "ä" * 30])
def test_a_token_that_could_be_guessed_or_does_not_fit_is_none(token: str) -> None:
    assert not is_token(token)


def test_a_token_of_ours_has_256_bits_and_is_never_the_same() -> None:
    tokens = {make_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(is_token(token) and len(token) == 43 for token in tokens)


@pytest.mark.parametrize(
    ("target", "token"),
    [
        ("/?token=abc", "abc"),
        ("/path?x=1&token=abc&y", "abc"),
        ("/?token=a%62c", "abc"),
        ("/?token=", None),
        ("/?token=a&token=b", None),
        ("/?TOKEN=a", None),
        ("/token=a", None),
        ("/", None),
        ("//[", None),
        ("/?" + "&".join(["a=b"] * 1000) + "&token=abc", None),
        ("/?%74oken=abc", None),  # or it would be logged under a name that nobody looks for
        ("/?token=abc#token=x", "abc"),
    ],
)
def test_the_token_in_a_target(target: str, token: str | None) -> None:
    assert token_in(target) == token


@given(st.text())
def test_any_target_has_an_answer(target: str) -> None:
    token = token_in(target)
    assert not is_one_of(token or "", ["x" * 43])


def test_a_token_has_to_be_the_same_to_the_letter() -> None:
    ours = [make_token(), make_token()]
    assert is_one_of(ours[1], ours)
    for wrong in ("", ours[0][:-1], ours[0] + "x", ours[0].swapcase()):
        assert not is_one_of(wrong, ours)
