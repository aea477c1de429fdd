"""Foreign text made safe to show."""

from __future__ import annotations

import time
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.errors import MISSING
from recall_lab.text import EXCERPT, counted, excerpt, html_table, printable, redacted, spoken


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("abc", "'abc'"),
        ("é\n\x1b[31m\u202e", r"'\xe9\n\x1b[31m\u202e'"),
        (b"\xff\0", r"b'\xff\x00'"),
        (bytearray(b"ab"), "b'ab'"),
        (memoryview(b"ab"), "b'ab'"),
        (5, "5"),
        (None, "None"),
        (MISSING, "missing"),
        ("x" * 78, f"'{'x' * 78}'"),
    ],
)
def test_short_values_are_shown_whole(value: object, shown: str) -> None:
    assert excerpt(value) == shown


@pytest.mark.parametrize(
    "value",
    [
        "x" * 79,
        "x" * 81,
        "x" * 10**6,
        b"\xff" * 10**6,
        memoryview(bytes(10**6)),
        [0] * 1_000,
        "é" * 40,
    ],
    ids=lambda value: f"{type(value).__name__} {len(value)}",
)
def test_long_values_are_cut_and_say_so(value: object) -> None:
    shown = excerpt(value)
    assert len(shown) <= EXCERPT
    assert "..." in shown[-5:]


@given(st.text() | st.binary() | st.lists(st.text()) | st.floats(), st.integers(4, 200))
@settings(deadline=None)
def test_an_excerpt_is_always_short_printable_ascii(value: object, limit: int) -> None:
    shown = excerpt(value, limit)
    assert len(shown) <= limit
    assert shown.isascii()
    assert shown.isprintable()


@given(st.text())
@settings(deadline=None)
def test_printable_keeps_the_length_and_what_is_harmless(text: str) -> None:
    text = "".join(c for c in text if not unicodedata.combining(c))  # of marks three stay
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) == len(text)
    for before, after in zip(text, shown, strict=True):
        assert after == (before if before.isprintable() else "\N{REPLACEMENT CHARACTER}")


@pytest.mark.parametrize("text", ["\x1b[31m", "\u202e", "\n", "\0", "\u2028", "\x9b", "\ud800"])
def test_printable_lets_no_control_through(text: str) -> None:
    assert printable(text)[0] == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("wss://host/?token=abc", "wss://host/?token=***"),
        ("'wss://host/?a=1&token=abc&b=2' refused", "'wss://host/?a=1&token=***&b=2' refused"),
        ("GET /?TOKEN=abc HTTP/1.1", "GET /?TOKEN=*** HTTP/1.1"),
        ("https://b/x.mp3?X-Amz-Credential=AK/1&X-Amz-Signature=0f",
         "https://b/x.mp3?X-Amz-Credential=***&X-Amz-Signature=***"),
        ("?api_key=1&name=Ada", "?api_key=***&name=Ada"),
        ("https://zoom.us/j/1?pwd=abc&x=1", "https://zoom.us/j/1?pwd=***&x=1"),
        ("/?%74oken=abc", "/?%74oken=***"),
        ("a token=abc in prose stays", "a token=abc in prose stays"),
    ],
)  # fmt: skip
def test_what_is_secret_in_a_url_is_hidden(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert redacted(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:hunter2@h/x", "http://***@h/x"),
        ("abfs://box@account/x?sv=1&sig=abc", "abfs://box@account/x?sv=1&sig=***"),
        ("https://h/#access_token=abc;auth=def", "https://h/#access_token=***;auth=***"),
    ],
)
def test_users_and_signatures_of_stores_are_secret(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert redacted(shown) == shown


def test_a_text_made_to_be_slow_to_redact_is_not() -> None:
    text = "?" + "token" * 200_000
    begin = time.process_time()
    assert redacted(text) == text
    assert redacted("?token=" * 100_000)
    assert time.process_time() - begin < 60 * _plain_pass(text)  # linear: so many plain passes


def _plain_pass(text: str) -> float:
    """Return how long the plainest look at every character takes here, s."""
    begin = time.process_time()
    assert sum(c == "?" for c in text) == 1
    return max(time.process_time() - begin, 0.01)


def test_a_table_escapes_every_name_and_fact() -> None:
    told: list[str] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            told.append(data)

        def handle_starttag(self, tag: str, attrs: object) -> None:
            assert tag in {"table", "caption", "tbody", "tr", "th", "td"}

    hostile = "<script>alert(1)</script>\"'&"
    Reader().feed(html_table(hostile, {hostile: hostile, "b": "c"}))
    assert "".join(told) == hostile * 3 + "bc"


def test_counts_have_their_noun() -> None:
    assert [counted(n, "span") for n in (0, 1, 1_200)] == ["0 spans", "1 span", "1,200 spans"]


@pytest.mark.parametrize(
    ("words", "language", "text"),
    [
        ((), "", ""),
        (("so", "", "be", "it", "."), "", "so be it."),
        ((" so", " be", "\u00bfqu\u00e9", "?"), "", " so be \u00bfqu\u00e9?"),
        (("\u4eca\u65e5", "\u306f", "\u3002"), "", "\u4eca\u65e5\u306f\u3002"),
        (("Zoom", "\u3092"), "", "Zoom \u3092"),
        (("Zoom", "\u3092", "3", "\u6642"), "ja-JP", "Zoom\u30923\u6642"),
        (("\uc548\ub155", "\ud558\uc138\uc694"), "ko", "\uc548\ub155 \ud558\uc138\uc694"),
        (("\u0e2a\u0e27\u0e31\u0e2a", "\u0e14\u0e35"), "", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35"),
        (("\N{GRINNING FACE}", "yes"), "", "\N{GRINNING FACE} yes"),
    ],
)
def test_words_are_joined_as_their_script_does(
    words: tuple[str, ...], language: str, text: str
) -> None:
    assert spoken(words, language) == text
