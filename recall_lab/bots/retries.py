"""Decide whether a request is sent again, and after how long.

=====================  ==========================================================================
429, 503               after what ``Retry-After`` says; as 502 where it says nothing
409, 502, 504, none    after 1, 2, 4, ... s, at most 30, shortened by chance to a half at most
507                    every 30 s, or as ``Retry-After`` says: no bot was free
anything else          never: it would be refused again
=====================  ==========================================================================

*None* is a request without an answer: no connection, or a timeout. It may have been done all the
same, so what is sent again has the same ``Idempotency-Key``: Recall.ai keeps the answer to a POST
for an hour, and gives it again instead of doing the work twice. That holds for every POST, so
``leave_call`` and ``delete_media`` are sent again as ``bot`` is; both also come to the same when
they are done twice. Only after 507 the key changes: kept, it would be answered by the same 507.

Each pause is logged by ``recall_lab.bots`` as a warning: ``logging.basicConfig()`` shows them.
A pause that would go beyond ``retry_timeout`` is not begun: the last error is raised at once.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

import msgspec
from tenacity import RetryCallState, retry_if_exception

from recall_lab.errors import RecallApiError

NO_BOT_PAUSE: Final = 30.0
"""Seconds until there may be a free bot again (https://docs.recall.ai/docs/errors)."""

PASSING: Final = frozenset({409, 429, 502, 503, 504, 507})
"""Answers after which the same request may be sent again."""

_LONGEST: Final = 30.0  # seconds
_logger = logging.getLogger("recall_lab.bots")
_logger.addHandler(logging.NullHandler())


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Clocks and chance: passed in, so that tests need not wait.

    Attributes:
        sleep: waits for so many seconds; a coroutine function for an AsyncClient.
        clock: seconds that never jump.
        now: seconds since 1970 UTC, for a ``Retry-After`` that names a date.
        random: a number between 0 and 1.
    """

    sleep: Callable[[float], Any] = time.sleep
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    random: Callable[[], float] = random.random


class Attempts:
    """One request that is sent until it is done.

    Attributes:
        key: the idempotency key it is sent with.
        unsure: some attempt had no answer, and may have been done.
    """

    def __init__(self) -> None:
        self.key = str(uuid.uuid4())
        self.unsure = False

    def before_next(self, state: RetryCallState) -> None:
        """Note that it will be sent again, under another key where that is needed."""
        error = _error_of(state)
        _logger.warning("%s; sent again in %.1f s", error, state.upcoming_sleep)
        if isinstance(error, RecallApiError):
            self.unsure = self.unsure or error.status is None
            if error.status == 507:
                self.key = str(uuid.uuid4())


def is_passing(error: BaseException) -> bool:
    """Tell whether sending again may help."""
    return isinstance(error, RecallApiError) and error.passing


def pause_after(error: RecallApiError, tries: int, chance: float) -> float:
    """Return for how many seconds to wait before a request is sent again.

    Args:
        error: how it was answered.
        tries: how often it has been sent.
        chance: a number between 0 and 1.

    Example:
        >>> pause_after(RecallApiError("busy", status=429, retry_after=7.0), 1, 0.5)
        7.0
        >>> pause_after(RecallApiError("busy", status=502), 3, 1.0)
        4.0
    """
    full = min(_LONGEST, 2.0 ** min(tries - 1, 10))
    pause = full * (0.5 + chance / 2)
    if error.status in (429, 503, 507) and error.retry_after is not None:
        return max(error.retry_after, pause if error.retry_after < 1 else 0.0)  # "at once" is none
    return NO_BOT_PAUSE if error.status == 507 else pause


def policy(timing: Timing, retry_timeout: float, attempts: Attempts) -> dict[str, Any]:
    """Return the options of tenacity's ``Retrying`` and ``AsyncRetrying`` for one request.

    Args:
        timing: the clocks.
        retry_timeout: seconds after which no further attempt begins.
        attempts: is told of every further attempt.
    """
    begin = timing.clock()

    def wait(state: RetryCallState) -> float:
        error = _error_of(state)
        assert isinstance(error, RecallApiError)  # nothing else is tried again
        return pause_after(error, state.attempt_number, timing.random())

    def stop(state: RetryCallState) -> bool:
        return timing.clock() - begin + state.upcoming_sleep > retry_timeout

    return {
        "sleep": timing.sleep,
        "wait": wait,
        "stop": stop,
        "retry": retry_if_exception(is_passing),
        "before_sleep": attempts.before_next,
        "reraise": True,
    }


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
