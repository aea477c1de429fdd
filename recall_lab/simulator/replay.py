"""Send messages again, from a quarantine or from a tape."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

from pydantic import SecretStr
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.sync.client import connect

from recall_lab.configuration import hidden
from recall_lab.errors import InvalidArgument, ReceiverFailed
from recall_lab.store.files import open_plain
from recall_lab.wire.tape import Entry, read_tape


def replay(
    tape: str | Path,
    url: str | SecretStr,
    *,
    change: Callable[[bytes], bytes] | None = None,
) -> int:
    """Send the messages of a tape to a receiver, as fast as it takes them.

    A receiver keeps refused messages in ``_quarantine/`` of its folder. A newer one, or one that is
    given what was wrong with them put right, may take them.

    Args:
        tape: a file of ``_quarantine``, or one with a message (a JSON object) a line.
        url: where to; of a receiver that demands a token ``rx.bot_url``.
        change: makes of each message what is sent.

    Returns:
        How many messages were sent, each peer's in a connection of its own.

    Raises:
        InvalidArgument: when there is no message on the tape.
        ReceiverFailed: when nobody answers, or the connection is closed before all is sent.

    Example:
        >>> replay("captures/_quarantine/8f2c.tape", rx.bot_url)  # doctest: +SKIP
        300
    """
    with open(open_plain(tape), "rb") as file:
        entries = list(read_tape(file.read()))
    if not entries:
        raise InvalidArgument("tape", str(tape), "a file with messages, such as _quarantine has")
    sent = 0
    for _, group in itertools.groupby(sorted(entries, key=attrgetter("peer")), attrgetter("peer")):
        sent += _send(list(group), url, change)
    return sent


def _send(
    entries: list[Entry], url: str | SecretStr, change: Callable[[bytes], bytes] | None
) -> int:
    """Send messages over one connection; return how many."""
    url = hidden(url) if isinstance(url, str) else url
    try:
        with connect(url.get_secret_value(), compression=None, proxy=None) as connection:
            for entry in entries:
                message = entry.message if change is None else change(entry.message)
                connection.send(message, text=not entry.binary)
    except ConnectionClosed as error:
        raise ReceiverFailed(f"the receiver closed the connection: {error}") from None
    except (InvalidHandshake, InvalidURI, OSError, TimeoutError) as error:
        raise ReceiverFailed(f"the receiver can't be reached: {type(error).__name__}") from None
    return len(entries)
