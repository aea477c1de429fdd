"""``rl.bots.create`` and the others: a client from the configuration, made on first use."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from recall_lab.bots import requests
from recall_lab.bots.account import Account
from recall_lab.bots.client import FILE_LIMIT, Client
from recall_lab.bots.requests import Reachable
from recall_lab.bots.values import Bot, Endpoints, Recording

_lock = threading.Lock()
_clients: dict[Account, Client] = {}


def client() -> Client:
    """Return the client of the configuration as it is now; its connections are kept alive.

    Raises:
        MissingSetting: when ``RECALL_API_KEY`` or ``RECALL_REGION`` is not set.
    """
    account = Account.checked(None, None)
    with _lock:
        if account not in _clients:
            _close()  # those of a key that has been replaced
            _clients[account] = Client(account.key, account.region)
        return _clients[account]


def create(
    meeting_url: str,
    receiver: Reachable | SecretStr | str,
    *,
    name: str | None = None,
    streams: Iterable[str] = ("mixed",),
    events: Iterable[str] = (),
    metadata: Mapping[str, str] | None = None,
    join_at: datetime | None = None,
    record_for_comparison: bool = True,
    config: Mapping[str, Any] | None = None,
) -> Bot:
    """Send a bot to a meeting: :meth:`recall_lab.bots.Client.create`."""
    receiver = requests.hidden(receiver, join_at)
    return client().create(
        meeting_url,
        receiver,
        name=name,
        streams=streams,
        events=events,
        metadata=metadata,
        join_at=join_at,
        record_for_comparison=record_for_comparison,
        config=config,
    )


def get(bot: Bot | str) -> Bot:
    """Return a bot as it is now: :meth:`recall_lab.bots.Client.get`."""
    return client().get(bot)


def leave(bot: Bot | str) -> None:
    """Have a bot leave its call: :meth:`recall_lab.bots.Client.leave`."""
    client().leave(bot)


def delete_media(bot: Bot | str) -> None:
    """Delete a bot's recordings: :meth:`recall_lab.bots.Client.delete_media`."""
    client().delete_media(bot)


def delete(bot: Bot | str) -> None:
    """Delete a bot that is yet to be sent: :meth:`recall_lab.bots.Client.delete`."""
    client().delete(bot)


def endpoint_status(of: Bot | Recording | str) -> Endpoints:
    """Return how the connections fare: :meth:`recall_lab.bots.Client.endpoint_status`."""
    return client().endpoint_status(of)


def wait_until(
    bot: Bot | str,
    code: str = "in_call_recording",
    timeout: float = 600.0,
    progress: bool = True,
    poll: float = 2.0,
) -> Bot:
    """Wait for a step of a bot's life: :meth:`recall_lab.bots.Client.wait_until`."""
    return client().wait_until(bot, code, timeout, progress, poll)


def download(
    of: Bot | Recording | str,
    path: str | Path,
    *,
    timeout: float = 600.0,
    limit: int = FILE_LIMIT,
    poll: float = 5.0,
) -> Path:
    """Download the mixed MP3: :meth:`recall_lab.bots.Client.download`."""
    return client().download(of, path, timeout=timeout, limit=limit, poll=poll)


def list(**filters: Any) -> Iterator[Bot]:
    """Go through all bots: :meth:`recall_lab.bots.Client.list`."""
    return client().list(**filters)


# one text for each, beside the client that does it
for _name in ("create", "get", "leave", "delete_media", "delete", "endpoint_status", "wait_until",
              "download", "list"):  # fmt: skip
    globals()[_name].__doc__ = getattr(Client, _name).__doc__


@atexit.register
def _close() -> None:
    for old in _clients.values():
        old.close()
    _clients.clear()
