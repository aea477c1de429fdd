"""Explain why Recall.ai refused a request, and what to do about it."""

from __future__ import annotations

import math
import ssl
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Final

import httpx2
import msgspec

from recall_lab.bots.account import REGIONS, Account
from recall_lab.bots.answers import MAX_ANSWER, Answer
from recall_lab.bots.retries import PASSING
from recall_lab.bots.urls import MAKE_PUBLIC
from recall_lab.errors import RecallApiError
from recall_lab.text import redacted, shortened

_ADVICE: Final = {
    400: "correct what is named",
    402: "the account's credit is used up: add to it in Recall.ai's dashboard",
    403: "a firewall of Recall.ai refuses it, as it does a URL that leads to localhost or a "
    f"private network. {MAKE_PUBLIC[0].upper()}{MAKE_PUBLIC[1:]}",
    404: "there is none of that id in this region: check both",
    405: "a bot that is on its way can't be deleted any more: rl.bots.leave(bot) ends it",
    409: "the same is being done already, or the bot is in another state: try again later",
    429: "too many requests: try again later",
    502: "Recall.ai is overloaded: try again later",
    503: "Recall.ai is overloaded: try again later",
    504: "Recall.ai is overloaded: try again later",
    507: "no bot is free at the moment: try again in half a minute, or order one ahead by join_at=",
}
_OTHER: Final = "what the codes mean: https://docs.recall.ai/docs/errors"
_REDIRECT: Final = "it is not followed, as the key would go along: check base_url"
_MISSING_ARTIFACT: Final = (
    "an event comes only with its artifact in recording_config, such as audio_mixed_raw: {}"
)
_MOST_FIELDS: Final = 20
_DEEPEST: Final = 10


def refusal(answer: Answer, account: Account, now: float) -> RecallApiError:
    """Return the error for an answer that is not a good one.

    Args:
        answer: the answer.
        account: whose key was used, and where.
        now: seconds since 1970 UTC.
    """
    status = answer.status
    fields = _fields(answer.body)
    advice = _ADVICE.get(status, _OTHER)
    retry_after = _retry_after(answer, now)
    if status == 401 and account.region:
        others = ", ".join(region for region in REGIONS if region != account.region)
        advice = (
            f"the key is wrong, or belongs to another region: it was used in {account.place}; the "
            f"others are {others}. Check RECALL_API_KEY and RECALL_REGION"
        )
    elif status == 401:
        advice = f"the key is not one of {account.place}"
    elif status == 404 and answer.doing in ("create a bot", "list bots"):
        advice = f"is {account.base} the API? its address ends in /api/v1/"
    elif status == 429 and retry_after is not None:
        advice = f"too many requests: try again in {retry_after:.0f} s"
    elif 300 <= status < 400:
        advice = _REDIRECT
    elif status == 400 and any("_raw" in f"{name} {text}" for name, text in fields.items()):
        advice = f"{advice}; {_MISSING_ARTIFACT}"
    said = "; ".join(f"{name}: {text}" if name else text for name, text in fields.items())
    said = said.rstrip(".")
    return RecallApiError(
        f"Recall.ai did not {answer.doing} ({status}){f': {said}' if said else ''}",
        status=status,
        advice=advice,
        fields=fields,
        retry_after=retry_after,
        passing=status in PASSING,
    )


def unreachable(error: httpx2.HTTPError, doing: str, host: str) -> RecallApiError:
    """Return the error for a request without an answer."""
    untrusted = isinstance(error.__cause__, ssl.SSLCertVerificationError) or (
        "CERTIFICATE_VERIFY_FAILED" in str(error)
    )
    what = "did not answer in time" if isinstance(error, httpx2.TimeoutException) else "no answer"
    said = shortened(redacted(str(error)), 200) or type(error).__name__
    return RecallApiError(
        f"{host}: {what} to the request to {doing} ({said})",
        advice="the certificate is not trusted: a proxy in between may need its own to be installed"
        if untrusted
        else "check the network, and https://status.recall.ai",
        passing=not untrusted,
    )


def plain(error: BaseException, doing: str, host: str) -> BaseException:
    """Return what is to be raised for what sending has raised.

    It is raised by the caller, outside of ``except``: neither as context nor by its traceback
    does it carry frames of the library, whose locals hold the key, the body and the URL.
    """
    if isinstance(error, httpx2.HTTPError):
        return unreachable(error, doing, host)
    if isinstance(error, httpx2.InvalidURL):  # a link of a file: our own have been checked
        return RecallApiError(f"to {doing}, Recall.ai gave a link that is none", advice=_OTHER)
    return error.with_traceback(None)


def _fields(body: bytes) -> dict[str, str]:
    """Return what an answer says, by the dotted path of the field it says it of.

    Never raises. What is no JSON stands under ``""``, as far as it is text of a few words.
    """
    found: dict[str, str] = {}
    try:
        said = msgspec.json.decode(body[:MAX_ANSWER])
    except (ValueError, RecursionError):
        text = body[:2_000].decode("utf-8", "replace").strip()
        # pages of HTML, as proxies send them, say nothing of use
        return {"": shortened(redacted(text), 200)} if text and not text.startswith("<") else {}
    for name, text in _leaves(said, ""):
        if len(found) == _MOST_FIELDS:
            break
        name, text = shortened(redacted(name), 100), shortened(redacted(text), 200)
        found[name] = f"{found[name]} {text}"[:400] if name in found else text
    return found


def _leaves(said: object, path: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    if isinstance(said, dict) and depth < _DEEPEST:
        for key, value in said.items():
            yield from _leaves(value, f"{path}.{key}".lstrip("."), depth + 1)
    elif isinstance(said, list) and depth < _DEEPEST:
        for value in said:
            yield from _leaves(value, path, depth + 1)
    elif said is not None:
        yield path, str(said)


def _retry_after(answer: Answer, now: float) -> float | None:
    """Return the seconds that a ``Retry-After`` asks for, given as such or as a date."""
    if not answer.retry_after:
        return None
    try:
        seconds = float(answer.retry_after.replace("_", "x"))  # 1_000 is Python's, not HTTP's
    except ValueError:
        then = _date(answer.retry_after)
        if then is None:
            return None
        # by the clock of the one who named the date, where it tells it: ours may be off
        told = _date(answer.date)
        seconds = then - (now if told is None else told)
    # NaN is no time, and for ever is none that anybody waits for
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
