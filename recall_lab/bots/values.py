"""Bots and recordings as frozen values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypeAlias

import msgspec
from pydantic import SecretStr

from recall_lab.errors import BotFailed, InvalidArgument
from recall_lab.text import counted, html_table, redacted, shortened

STEPS: Final = (
    "joining_call",
    "in_waiting_room",
    "in_call_not_recording",
    "in_call_recording",
    "call_ended",
    "done",
)
"""A bot's life, in order; ``fatal`` ends it at any time."""

# codes that are documented besides, and the step they belong to
_BESIDE: Final = {
    "recording_permission_allowed": "in_call_not_recording",
    "recording_permission_denied": "in_call_not_recording",
    "recording_done": "in_call_recording",
    "analysis_done": "done",
    "analysis_failed": "done",
    "media_expired": "done",
}
_PLACES: Final = {code: place for place, code in enumerate(STEPS, 1)}
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


class StatusChange(msgspec.Struct, frozen=True, kw_only=True):
    """One step in a bot's life.

    Attributes:
        code: one of :data:`STEPS`, ``fatal``, or another: Recall.ai adds some without notice.
        created_at: when, UTC; None where that was not told, or can't be read.
        sub_code: why, for a machine; ``""`` where there is none.
        message: why, for a person; ``""`` where there is none.
    """

    code: str
    created_at: datetime | None = None
    sub_code: str = ""
    message: str = ""


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One recording of a bot: begun with the recording, and again when it was stopped between.

    Attributes:
        id: as in the messages that a receiver gets, and so the name of its captures.
        status: such as ``processing``, ``done``, ``failed``; ``""`` where it was not told.
        started_at, completed_at: when, UTC; None where it has not, or was not told.
        audio: where the mixed audio can be fetched by whoever has this URL; None until it can.
    """

    id: str
    status: str = ""
    started_at: datetime | None = None
    completed_at: datetime | None = None
    audio: SecretStr | None = None


class RealtimeEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """How the connection from a bot to a receiver fares, as Recall.ai sees it.

    Attributes:
        id: of the endpoint, as in the messages.
        status: ``running``, ``done``, or ``failed``: then no more will come.
        type: ``websocket`` for a receiver.
        url: where it leads, with what is secret in it left out.
        events: what is sent to it.
        sub_code: why it is so; ``""`` where that was not told.
        recording: id of the recording that is sent.
    """

    id: str
    status: str
    type: str = ""
    url: str = ""
    events: tuple[str, ...] = ()
    sub_code: str = ""
    recording: str = ""

    def __repr__(self) -> str:
        why = f" ({shortened(self.sub_code)})" if self.sub_code else ""
        return (
            f"<RealtimeEndpoint {shortened(self.status)}{why} of recording "
            f"{shortened(self.recording)} to {shortened(self.url)}>"
        )


Endpoints: TypeAlias = list[RealtimeEndpoint]


class Bot(msgspec.Struct, frozen=True, kw_only=True):
    """A bot as it was when it was asked for: a value, which does not change by itself.

    Attributes:
        id: of the bot, as in the messages.
        name: as shown in the meeting; ``""`` where it was not told.
        meeting: URL or description of the meeting; Recall.ai forgets it after some days.
        join_at: when it is to join, UTC; None for at once, and once it has.
        metadata: what :func:`recall_lab.bots.create` was given.
        status_changes: the steps so far, the oldest first.
        recordings: the recordings so far, the oldest first.
    """

    id: str
    name: str = ""
    meeting: str = ""
    join_at: datetime | None = None
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict)
    status_changes: tuple[StatusChange, ...] = ()
    recordings: tuple[Recording, ...] = ()

    @property
    def code(self) -> str:
        """The latest step; ``""`` before the first."""
        return self.status_changes[-1].code if self.status_changes else ""

    @property
    def codes(self) -> list[str]:
        """All steps, the oldest first."""
        return [change.code for change in self.status_changes]

    @property
    def failure(self) -> StatusChange | None:
        """The step at which the bot failed for good; None when it has not."""
        return next((change for change in self.status_changes if change.code == "fatal"), None)

    def reached(self, code: str) -> bool:
        """Tell whether the bot has reached a step, or a later one, at any time.

        Example:
            >>> bot = Bot(id="b1", status_changes=(StatusChange(code="in_waiting_room"),))
            >>> bot.reached("joining_call"), bot.reached("in_call_recording")
            (True, False)
        """
        return code in self.codes or self.place >= _place(code, unknown=len(STEPS) + 1)

    @property
    def place(self) -> int:
        """How far it has got: a step's number in :data:`STEPS`, from 1; 0 before the first."""
        return max((_place(code) for code in self.codes), default=0)

    def __repr__(self) -> str:
        name = f" {shortened(redacted(self.name))!r}" if self.name else ""
        return (
            f"<Bot {shortened(self.id)}{name} {shortened(self.code) or 'scheduled'}: "
            f"{counted(len(self.recordings), 'recording')}>"
        )

    def _repr_html_(self) -> str:
        steps = [
            f"{change.code}{f' ({change.sub_code})' if change.sub_code else ''}"
            for change in self.status_changes
        ]
        facts = {
            "id": self.id,
            "name": self.name,
            "meeting": self.meeting,
            "joins": self.join_at.isoformat() if self.join_at else "at once",
            "steps": ", ".join(steps) or "none yet",
            "recordings": ", ".join(recording.id for recording in self.recordings) or "none yet",
            "metadata": ", ".join(f"{key}={value}" for key, value in self.metadata.items()),
        }
        return html_table(
            "Bot", {name: shortened(redacted(fact), 500) for name, fact in facts.items() if fact}
        )


def is_id(text: str) -> bool:
    """Tell whether `text` may be an id of Recall.ai, and so a part of a path.

    Example:
        >>> is_id("3fa85f64-5717"), is_id("../bot"), is_id("a/b"), is_id("")
        (True, False, False, False)
    """
    return _ID.fullmatch(text) is not None


def id_of(thing: Bot | Recording | str, name: str) -> str:
    """Return the id of a value, or the id that is given instead of it.

    Raises:
        InvalidArgument: for what may be no id.
    """
    id = thing.id if isinstance(thing, Bot | Recording) else thing
    if not isinstance(id, str) or not is_id(id):
        raise InvalidArgument(
            name, id, f"a {name} or its id: letters, digits, '-' and '_', at most 128"
        )
    return id


def failed(bot: Bot) -> BotFailed:
    """Return the error that tells of a bot that has failed."""
    why = bot.failure or StatusChange(code="fatal")
    return BotFailed(bot.id, why.sub_code, why.message, steps=bot.codes)


def _place(code: str, unknown: int = 0) -> int:
    return _PLACES.get(_BESIDE.get(code, code), unknown)
