"""Messages that are nearly right: valid ones, changed where a change tells. Tests nothing itself.

A valid text is looked through once for the places of its values, keys and members; a mutation is
then a matter of slices, so that a million of them take seconds. About half of them are still
JSON: what no parser takes is no test of what comes after the parser.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from recall_lab.wire.messages import ArtifactForm, AudioPacket, Participant, Ref, encode_message

_TOKEN: Final = re.compile(rb'\s*("(?:[^"\\]|\\.)*"|[-+.\w]+|[][{}:,])\s*', re.DOTALL)

NUMBERS: Final = [
    b"0", b"-0", b"-0.0", b"1", b"-1", b"0.1", b"1e308", b"-1e308", b"1e309", b"-1e400", b"5e-324",
    b"1e-400", b"NaN", b"Infinity", b"-Infinity", b"1e9", b"1000000000.1", b"-1e9", b"2147483648",
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"1e999999999",
    b"18446744073709551616", b"1" + b"0" * 400, b"0." + b"9" * 400, b"01", b"1.", b".5", b"+1",
    b"1e", b"0x10", b"1_000", b"-", b"\xd9\xa1", b"100.0", b"1e2",
]  # fmt: skip
TEXTS: Final = [
    "", " ", "a", "..", "../x", "/etc/passwd", "CON", "x" * 65, "x" * 300, "\u0430bc", "\ufeff",
    "e\u0301", "\U0001f600", "\u202e", "\0", "\x7f", "\n", "A", "AA==", "AA=", "AAA", "A===",
    "AAAAA", "AA==AA==", "AAAA\n", "-_-_", "2025-01-01T00:00:00Z", "2025-01-01T00:00:00",
    "9999-12-31T23:59:60Z", "0000-00-00T00:00:00Z", "2025-02-30T00:00:00Z", "2262-04-12T00:00:00Z",
    "1677-09-21T00:00:00Z", "2025-01-01T00:00:00.999999999999Z", "2025-01-01T24:00:00+99:99",
    "audio_mixed_raw.data", "audio_separate_raw.data", "video_separate_png.data", "x" * 129,
]  # fmt: skip
OTHERS: Final = [
    b"null", b"true", b"false", b"{}", b"[]", b"[[]]", b'{"id":"r1"}', b'{"id":100}', b"nul", b"",
    b'"\\ud800"', b'"\\udfff\\ud800"', b'"\\u0000"', b'"\\q"', b'"\\u12"', b'"\xff"', b'"\xc0\xaf"',
    b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"', b'"\x01"', b'"tab\there"', b'"',
]  # fmt: skip
ODD: Final = [*NUMBERS, *(json.dumps(text).encode() for text in TEXTS), *OTHERS]
"""JSON values, or nearly, that something is often not ready for."""

FORMS: Final[tuple[ArtifactForm, ...]] = ("raw", "plain")
_CHARACTERS: Final = [
    "\u0130", "\u00df", "\uff21", "\u2028", "\u0000", "\ud7ff", "\uffff", "\U0010ffff"
]  # fmt: skip


@dataclass
class Text:
    """A JSON text, and where its parts are.

    Attributes:
        data: the text.
        values, keys, members: first byte and end of each; a member is a key with its value.
    """

    data: bytes
    values: list[tuple[int, int]] = field(default_factory=list)
    keys: list[tuple[int, int]] = field(default_factory=list)
    members: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def of(cls, data: bytes) -> Text:
        """Return a text with its parts found.

        Raises:
            ValueError: when it is no JSON, as far as this looks.
        """
        text = cls(data)
        text._value(_next(data, 0))
        return text

    def _value(self, token: re.Match[bytes]) -> int:
        begin, mark = token.start(1), token[1]
        end = token.end(1)
        if mark in (b"{", b"["):
            end = self._inside(token, b"}" if mark == b"{" else b"]")
        self.values.append((begin, end))
        return end

    def _inside(self, token: re.Match[bytes], close: bytes) -> int:
        token = _next(self.data, token.end())
        while token[1] != close:
            begin = token.start(1)
            if close == b"}":
                self.keys.append(token.span(1))
                colon = _next(self.data, token.end())
                if colon[1] != b":":
                    raise ValueError(f"no colon at byte {token.end()}")
                end = self._value(_next(self.data, colon.end()))
                self.members.append((begin, end))
            else:
                end = self._value(token)
            token = _next(self.data, end)
            if token[1] == b",":
                token = _next(self.data, token.end())
        return token.end(1)


def _next(data: bytes, at: int) -> re.Match[bytes]:
    found = _TOKEN.match(data, at)
    if found is None:
        raise ValueError(f"no JSON at byte {at}")
    return found


class Mutator:
    """Makes messages out of valid ones, always the same from one seed.

    Args:
        seeds: valid messages.
        draw: where chance comes from.
    """

    def __init__(self, seeds: list[bytes], draw: random.Random) -> None:
        self._draw = draw
        self._texts = [Text.of(seed) for seed in seeds]
        self._ways = [
            self._odd, self._odd, self._odd, self._typed, self._grafted, self._removed, self._twice,
            self._renamed, self._nested, self._spelled, self._flipped, self._flipped, self._cut,
            self._spliced, self._repeated, self._dropped, self._bytes,
        ]  # fmt: skip

    def message(self) -> bytes:
        """Return the next message: one in twenty as it was, the others changed."""
        text = self._draw.choice(self._texts)
        return text.data if self._draw.random() < 0.05 else self.change(text)

    def change(self, text: Text) -> bytes:
        """Return a text changed in one place; now and then in two, the second anywhere."""
        data: bytes = self._draw.choice(self._ways)(text)
        return data if self._draw.random() < 0.8 else self._flipped(Text(data))

    def _put(self, text: Text, span: tuple[int, int], new: bytes) -> bytes:
        return text.data[: span[0]] + new + text.data[span[1] :]

    def _odd(self, text: Text) -> bytes:
        return self._put(text, self._draw.choice(text.values), self._draw.choice(ODD))

    def _typed(self, text: Text) -> bytes:
        """A value of another type that means the same to whoever is lenient."""
        span = self._draw.choice(text.values)
        value = text.data[slice(*span)]
        ways = [
            b"[%b]" % value,
            b'{"id":%b}' % value,
            json.dumps(value.decode(errors="replace")).encode(),
        ]
        return self._put(text, span, self._draw.choice([*ways, value.strip(b'"')]))

    def _grafted(self, text: Text) -> bytes:
        """A value of another message, or of another place."""
        other = self._draw.choice(self._texts)
        value = other.data[slice(*self._draw.choice(other.values))]
        return self._put(text, self._draw.choice(text.values), value)

    def _removed(self, text: Text) -> bytes:
        begin, end = self._draw.choice(text.members)
        end += text.data[end : end + 1] == b","
        return self._put(text, (begin, end), b"")

    def _twice(self, text: Text) -> bytes:
        """A key twice, with another value the first or the second time."""
        begin, end = self._draw.choice(text.members)
        member = text.data[begin:end]
        key = member[: member.index(b":")]
        other = b"%b:%b" % (key, self._draw.choice(ODD))
        pair = (member, other) if self._draw.random() < 0.5 else (other, member)
        return self._put(text, (begin, end), b",".join(pair))

    def _renamed(self, text: Text) -> bytes:
        other = self._draw.choice(self._texts)
        return self._put(
            text, self._draw.choice(text.keys), other.data[slice(*self._draw.choice(other.keys))]
        )

    def _nested(self, text: Text) -> bytes:
        """A value some levels deeper, or as deep as it goes."""
        span = self._draw.choice(text.values)
        depth = self._draw.choice([1, 2, 30, 500, 2_000])
        left, right = self._draw.choice([(b"[", b"]"), (b'{"data":', b"}")])
        value = left * depth + text.data[slice(*span)] + right * depth
        return self._put(text, span, value[: self._draw.choice([len(value), len(value) - 1])])

    def _spelled(self, text: Text) -> bytes:
        """The same key or text in escapes, or with a character that is odd in itself."""
        span = self._draw.choice(text.keys + text.values)
        value = text.data[slice(*span)]
        if value[:1] != b'"' or len(value) < 3:
            return self._odd(text)
        at = self._draw.randrange(1, len(value) - 1)
        odd = self._draw.choice(_CHARACTERS).encode()
        new = self._draw.choice(
            [b"\\u%04x" % value[at], odd, json.dumps(odd.decode())[1:-1].encode()]
        )
        return self._put(text, span, value[:at] + new + value[at + 1 :])

    def _flipped(self, text: Text) -> bytes:
        data = bytearray(text.data or b"\0")
        for _ in range(self._draw.choice([1, 1, 1, 2, 8])):
            data[self._draw.randrange(len(data))] ^= 1 << self._draw.randrange(8)
        return bytes(data)

    def _cut(self, text: Text) -> bytes:
        at = self._draw.randrange(len(text.data) + 1)
        return text.data[:at] if self._draw.random() < 0.8 else text.data[at:]

    def _spliced(self, text: Text) -> bytes:
        other = self._draw.choice(self._texts).data
        at = self._draw.randrange(len(text.data) + 1)
        return text.data[:at] + other[min(at, self._draw.randrange(len(other) + 1)) :]

    def _repeated(self, text: Text) -> bytes:
        begin = self._draw.randrange(len(text.data))
        part = text.data[begin : begin + self._draw.randrange(1, 64)]
        return self._put(text, (begin, begin), part * self._draw.choice([1, 2, 50]))

    def _dropped(self, text: Text) -> bytes:
        begin = self._draw.randrange(len(text.data))
        return self._put(text, (begin, begin + self._draw.randrange(1, 16)), b"")

    def _bytes(self, text: Text) -> bytes:
        at = self._draw.randrange(len(text.data) + 1)
        return self._put(text, (at, at), self._draw.randbytes(self._draw.choice([1, 2, 16])))


def seeds() -> list[bytes]:
    """Return valid messages of each kind that Recall.ai sends, in each spelling of it."""
    who = Participant(100, "Zoë", True, "desktop", {"zoom": {"seat": 7}}, "z@example.org")
    mixed = AudioPacket(
        recording=Ref("9f3c-1", {"team": "blue"}),
        payload=bytes(range(256)),
        relative=12.5,
        absolute=1_735_689_600_123_456_000,
        bot=Ref("b1", {}),
        endpoint=Ref("e1", {}),
        artifact=Ref("a1", {"x": [1, 2.5, None]}),
    )
    separate = replace(mixed, participant=who, payload=b"\x01\x00\xff\xff", zoneless=True)
    refs = {"recording": {"id": "9f3c-1", "metadata": {}}, "bot": {"id": "b1", "metadata": {}}}
    person = {"id": 100, "name": "Zoë", "is_host": True, "extra_data": {"a": [1, {"b": "c"}]}}
    word = {"text": "so", "start_timestamp": {"relative": 1.5}, "end_timestamp": None}
    others = {
        "transcript.data": {"words": [word], "language_code": "en", "participant": person},
        "participant_events.join": {"participant": person, "timestamp": {"relative": 2.0}},
        "participant_events.chat_message": {"participant": person, "data": {"text": "hello"}},
        "video_separate_png.data": {"type": "webcam", "buffer": "iVBORw0KGgo="},
    }
    return [
        *(encode_message(packet, form=form) for packet in (mixed, separate) for form in FORMS),
        *(
            json.dumps({"event": event, "data": {"data": inner, **refs}}).encode()
            for event, inner in others.items()
        ),
    ]
