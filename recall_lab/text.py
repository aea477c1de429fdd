"""Make foreign text safe to show: cut, printable, escaped."""

from __future__ import annotations

import html
import logging
import re
import reprlib
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote

EXCERPT: Final = 80
"""Longest piece of a foreign value that a message repeats, in characters."""

_QUERY: Final = re.compile(r"([?&#;]([\w.%-]{1,128})=)[^&#;\s\"'<>\\]+")
_SECRET: Final = re.compile(
    r"token|secret|key|signature|credential|passw|passcode|pwd|auth|\b(tk|sig|sas|code)\b",
    re.IGNORECASE,
)
_USER: Final = re.compile(r"(?<=://)[^/?#\s@:\"'<>]*:[^/?#\s@\"'<>]*@")  # user:password@host
_MARKS: Final = 3  # on one letter
_DENSE_LANGUAGES: Final = frozenset({"ja", "zh", "yue", "th", "lo", "km", "my", "bo"})
_DENSE: Final = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x312F),  # radicals, punctuation, kana, Bopomofo: Hangul, which has blanks, is after
    (0x31A0, 0x9FFF),  # Han
    (0xF900, 0xFAFF),
    (0xFF00, 0xFF9F),  # full and half width
    (0x1B000, 0x1B16F),  # more kana
    (0x20000, 0x3FFFF),  # more Han
)
_CLOSING: Final = frozenset(
    ".,!?;:%)]}\u2026\u201d\u3001\u3002\u300d\u300f\u3011\uff01\uff09\uff0c\uff0e\uff1a\uff1b\uff1f"
)
_brief = reprlib.Repr()
_brief.maxlong = _brief.maxother = EXCERPT


def excerpt(value: object, limit: int = EXCERPT) -> str:
    """Return ``repr(value)``, cut to `limit` characters: safe to print, whatever was sent.

    Only the part that is shown is ever turned into text, so a megabyte costs nothing.

    Example:
        >>> excerpt("x" * 1000, limit=12)
        "'xxxxxxxx..."
    """
    if isinstance(value, str | bytes | bytearray | memoryview):
        head = value[:limit] if isinstance(value, str) else bytes(value[:limit])
        text = ascii(head)
        more = len(value) > limit
    else:
        text = _brief.repr(value).encode("ascii", "backslashreplace").decode()
        more = False
    if len(text) > limit or more:
        return text[: limit - 3] + "..."
    return text


def redacted(text: str) -> str:
    """Return text with what is secret in the URLs in it replaced by ``***``.

    Example:
        >>> redacted("no answer from wss://host/?token=abc&name=x")
        'no answer from wss://host/?token=***&name=x'
    """
    text = _USER.sub("***@", text)
    return _QUERY.sub(lambda m: f"{m[1]}***" if _SECRET.search(unquote(m[2])) else m[0], text)


def printable(text: str) -> str:
    """Return foreign text fit for one line of a terminal.

    No control or direction characters, and no letter with more than three marks, which would be
    drawn over the lines around it.
    """
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    if text.isascii():
        return text
    shown, marks = [], 0
    for c in text:
        marks = marks + 1 if unicodedata.combining(c) else 0
        if marks <= _MARKS:
            shown.append(c)
    return "".join(shown)


def as_unicode(text: str) -> str:
    """Return text that is valid Unicode: bytes of a file's name that are no UTF-8 are escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def sized(count: int) -> str:
    """Return a number of bytes as people say it.

    Example:
        >>> sized(0), sized(300 * 2**20), sized(3 * 2**29)
        ('0 bytes', '300 MiB', '1.5 GiB')
    """
    for unit, power in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << power:
            return f"{count / (1 << power):.3g} {unit}"
    return f"{count} bytes"


def shortened(text: str, limit: int = 60) -> str:
    """Return foreign text fit for one line, and cut where it is longer than `limit`.

    Example:
        >>> shortened("Ada Lovelace", 8)
        'Ada Lov…'
    """
    shown = printable(text[: 20 * limit]).strip()
    return shown if len(shown) <= limit else shown[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def spoken(words: Iterable[str], language: str = "") -> str:
    """Return words as one text, joined as their script does.

    Chinese, Japanese, Thai and their neighbours have no blanks between words; punctuation that
    is a word by itself follows the one before; a word that brings its own blank needs no other.

    Args:
        words: foreign texts; they stay as they are.
        language: a code such as ``"ja"`` or ``"zh-CN"`` if known: then Latin letters among them
            stand without blanks, too.

    Example:
        >>> spoken(["so", "be", "it", "."]), spoken(["会議", "を", "始めます"])
        ('so be it.', '会議を始めます')
    """
    dense = re.split("[-_]", language.lower(), maxsplit=1)[0] in _DENSE_LANGUAGES
    parts: list[str] = []
    last = ""  # the character before
    for word in words:
        if not word:
            continue
        first = word[0]
        close = (
            not last
            or last.isspace()
            or first.isspace()
            or all(c in _CLOSING for c in word)
            or (_dense(last) and _dense(first))
            or (dense and (_dense(last) or _dense(first)))
        )
        parts.append(word if close else f" {word}")
        last = word[-1]
    return "".join(parts)


def _dense(character: str) -> bool:
    """Whether a character is of a script that has no blanks between words."""
    code = ord(character)
    return code > 0xDFF and any(low <= code <= high for low, high in _DENSE)


def counted(count: int, thing: str) -> str:
    """Return a count with its noun.

    Example:
        >>> counted(1, "span"), counted(2000, "packet")
        ('1 span', '2,000 packets')
    """
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def tallied(counts: Mapping[str, int]) -> str:
    """Return how often each of several things was, in their order.

    Example:
        >>> tallied({"json": 3, "base64": 1_000})
        '3 json, 1,000 base64'
    """
    return ", ".join(f"{count:,} {thing}" for thing, count in counts.items())


def html_table(caption: str, facts: Mapping[str, str]) -> str:
    """Return facts as an HTML table with inline styles only, everything made safe to show."""
    cell = "padding:2px 12px 2px 0;text-align:left;vertical-align:top"
    rows = "".join(
        f'<tr><th scope="row" style="{cell}">{safe_html(name)}</th>'
        f'<td style="{cell}">{safe_html(fact)}</td></tr>'
        for name, fact in facts.items()
    )
    return f"<table><caption>{safe_html(caption)}</caption><tbody>{rows}</tbody></table>"


def safe_html(text: str) -> str:
    """Return foreign text as HTML that shows it, and does nothing else."""
    return html.escape(printable(text))


def player_time(seconds: float) -> str:
    """Return seconds as h:mm:ss.mmm, as one reads a player.

    Example:
        >>> player_time(3661.5)
        '1:01:01.500'
    """
    whole, milliseconds = divmod(round(seconds * 1_000), 1_000)  # first, or 59.9999 reads 60.000
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}.{milliseconds:03d}"


class RedactingFilter(logging.Filter):
    """Takes tokens out of what the library logs: it repeats whole requests when debugging."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, and let it pass."""
        record.msg, record.args = redacted(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True
