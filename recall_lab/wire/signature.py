"""Verify that an upgrade request is Recall.ai's: signatures, and tokens in URLs.

A signed request carries three headers, ``webhook-id``, ``webhook-timestamp`` and
``webhook-signature``, or the same under the older names that begin with ``svix-``. What is signed
is ``{id}.{timestamp}.{body}``; an upgrade has no body, so it ends in a dot. The signature is an
HMAC-SHA256 in base64; the header may hold several, ``v1,AAAA v1,BBBB``, and there may be several
secrets while one is being replaced: any pair that fits will do (Standard Webhooks,
https://www.standardwebhooks.com). Several such headers count as one, and so does what a proxy
makes of them, ``v1,AAAA, v1,BBBB`` (RFC 9110, 5.3). The clock is passed in.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets as random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote

from standardwebhooks import Webhook

FAMILIES: Final = ("webhook", "svix")
"""What the names of the headers begin with: today's, and the older one."""

TOLERANCE: Final = 300.0
"""Seconds by which a signature may be older or newer than our clock."""

SECRET_VALID: Final = "whsec_ and 16 to 64 bytes in base64, as Recall.ai's dashboard shows it"
TOKEN_VALID: Final = (
    "22 to 256 of A-Z a-z 0-9 _ - (128 bits or more), such as secrets.token_urlsafe() makes"
)

_PREFIX: Final = "whsec_"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{22,256}", re.ASCII)
_ID: Final = re.compile(r"[\x21-\x7e]{1,256}", re.ASCII)
_TIMESTAMP: Final = re.compile(r"[1-9]\d{0,10}", re.ASCII)
_MOST_SIGNATURES: Final = 16
_SIGNATURE: Final = re.compile(r"([^ ,]+),([^ ,]+)")
_SIGNATURES: Final = re.compile(
    rf"{_SIGNATURE.pattern}(?:(?: *, *| +){_SIGNATURE.pattern}){{0,{_MOST_SIGNATURES - 1}}}"
)
_MOST_FIELDS: Final = 32

Outcome = Literal["signed", "unsigned", "malformed", "stale", "future", "forged"]


class Verdict(NamedTuple):
    """What is to be thought of a request.

    Attributes:
        outcome: ``signed`` when it is Recall.ai's. Else ``unsigned``: a header is not there;
            ``malformed``: one can't be read; ``stale`` or ``future``: signed too long ago, or not
            yet; ``forged``: no signature fits.
        id: the id of the request, ``""`` where it has none.
    """

    outcome: Outcome
    id: str = ""

    @property
    def genuine(self) -> bool:
        """Whether it is Recall.ai's."""
        return self.outcome == "signed"


def is_secret(secret: str) -> bool:
    """Tell whether a text is a workspace's secret: ``whsec_`` and base64."""
    if not secret.startswith(_PREFIX):
        return False
    text = secret.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        return False
    return 16 <= len(key) <= 64


def is_token(token: str) -> bool:
    """Tell whether a text may be a token: long enough to be safe, and fit for a URL."""
    return _TOKEN.fullmatch(token) is not None


def make_token() -> str:
    """Return a new token of 256 bits."""
    return random.token_urlsafe(32)


def sign(secret: str, id: str, timestamp: int, body: str = "") -> str:
    """Return the signature of a request, ``v1,...``.

    Args:
        secret: ``whsec_...``.
        id: of the request.
        timestamp: seconds since 1970 UTC.
        body: what is signed with them; an upgrade has none.

    Example:
        >>> sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_1", 1_614_265_330)[:3]
        'v1,'
    """
    return Webhook(secret).sign(id, datetime.fromtimestamp(timestamp, UTC), body)


def signed_headers(secret: str, id: str, timestamp: int, family: str = "webhook") -> dict[str, str]:
    """Return the three headers of a signed upgrade request."""
    return {
        f"{family}-id": id,
        f"{family}-timestamp": str(timestamp),
        f"{family}-signature": sign(secret, id, timestamp),
    }


def verify(
    headers: Mapping[str, Sequence[str]], secrets: Iterable[str], now: float, body: str = ""
) -> Verdict:
    """Say whether a request was signed with one of our secrets, just now.

    Never raises for what was sent; takes as long whether a signature is nearly right or all wrong.

    Args:
        headers: every value of each header, by its name in lower case.
        secrets: ``whsec_...``, each as :func:`is_secret` has it.
        now: our clock, seconds since 1970 UTC.
        body: of the request; an upgrade has none.

    Example:
        >>> secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        >>> sent = {k: [v] for k, v in signed_headers(secret, "msg_1", 1_614_265_330).items()}
        >>> verify(sent, [secret], 1_614_265_331.0).outcome
        'signed'
    """
    verdict = Verdict("unsigned")
    for family in FAMILIES:
        parts = [headers.get(f"{family}-{part}", ()) for part in ("id", "timestamp", "signature")]
        if not all(parts):
            continue
        id_, timestamp = _one(parts[0]), _one(parts[1])
        verdict = _judge(id_, timestamp, " ".join(parts[2]), secrets, now, body)
        if verdict.genuine:
            break
    return verdict


def token_in(target: str) -> str | None:
    """Return the token in the target of a request, ``/?token=...``; None for none, or several.

    Example:
        >>> token_in("/?token=abc"), token_in("/?token=a&token=b"), token_in("/")
        ('abc', None, None)
    """
    fields = target.partition("#")[0].partition("?")[2].split("&", _MOST_FIELDS)[:_MOST_FIELDS]
    tokens = [field[6:] for field in fields if field.startswith("token=")]
    return unquote(tokens[0]) or None if len(tokens) == 1 else None


def is_one_of(token: str, tokens: Iterable[str]) -> bool:
    """Tell whether a token is one of ours, in a time that tells nothing about ours."""
    given = sha256(token.encode(errors="replace")).digest()  # of one length, whatever
    right = [hmac.compare_digest(given, sha256(ours.encode()).digest()) for ours in tokens]
    return any(right)


def _one(values: Sequence[str]) -> str:
    """Return the value of a header that was sent once, or several times alike; else ``""``."""
    several = {one for value in values for one in value.split(", ")}
    return several.pop() if len(several) == 1 else ""


def _judge(
    id_: str, timestamp: str, signatures: str, secrets: Iterable[str], now: float, body: str
) -> Verdict:
    if (
        not _ID.fullmatch(id_)
        or not _TIMESTAMP.fullmatch(timestamp)
        or not _SIGNATURES.fullmatch(signatures)
    ):
        return Verdict("malformed")
    when = int(timestamp)
    if when < now - TOLERANCE:
        return Verdict("stale", id_)
    if when > now + TOLERANCE:
        return Verdict("future", id_)
    right = [
        hmac.compare_digest(
            sign(secret, id_, when, body).encode(), b"v1," + value.encode(errors="replace")
        )
        for secret in secrets
        for version, value in _SIGNATURE.findall(signatures)
        if version == "v1"
    ]
    return Verdict("signed" if any(right) else "forged", id_)
