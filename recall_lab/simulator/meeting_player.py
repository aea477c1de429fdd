"""Play a whole meeting: the mixed stream, each person's, and the events.

    # who speaks when is in the .csv beside it
    meeting = rl.simulator.read_meeting("data/standup.wav")
    truth = rl.simulate_meeting(meeting, rx.url, streams=("mixed", "separate"), speed=10)

Every stream has a connection of its own, the events have another, and all belong to one
recording and begin at one moment.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
import pandas as pd
from pydantic import SecretStr

from recall_lab.errors import InvalidArgument
from recall_lab.simulator.api import Simulation, play_out
from recall_lab.simulator.bot import Bot, Start, start_now, until
from recall_lab.simulator.connection import Line
from recall_lab.simulator.faults import Faults
from recall_lab.simulator.meeting import Meeting, Voice
from recall_lab.wire.messages import Ref
from recall_lab.wire.pcm import Samples
from recall_lab.wire.timestamps import format_absolute

STREAMS: Final = ("mixed", "separate")
"""What can be sent of a meeting."""

EVENTS: Final = (
    "participant_events.join",
    "participant_events.leave",
    "participant_events.update",
    "participant_events.speech_on",
    "participant_events.speech_off",
    "participant_events.screenshare_on",
    "participant_events.screenshare_off",
    "participant_events.chat_message",
    "transcript.data",
    "transcript.partial_data",
)
"""Events that a meeting can tell of."""


class MeetingCall:
    """One meeting being played. See :func:`simulate_meeting` for the arguments."""

    def __init__(
        self,
        meeting: Meeting,
        url: str | SecretStr,
        *,
        streams: Sequence[str] = ("mixed", "separate"),
        events: Sequence[str] = EVENTS,
        speed: float = 1.0,
        packet: float | Sequence[float] | None = None,
        faults: Faults | Mapping[int | None, Faults] | None = None,
        recording: str | None = None,
        secret: str | SecretStr | None = None,
        refs: Mapping[str, Ref] | None = None,
    ) -> None:
        if isinstance(streams, str) or not streams or not set(streams) <= set(STREAMS):
            raise InvalidArgument("streams", streams, f"one or more of {STREAMS}")
        unknown = set(events) - set(EVENTS)
        if unknown or isinstance(events, str):
            raise InvalidArgument("events", events, f"some of {EVENTS}")
        self.recording = recording or f"call-{secrets.token_hex(4)}"
        self._speed = speed
        self._refs = {"recording": Ref(self.recording, {}), **(refs or {})}
        given = faults if isinstance(faults, Mapping) else None
        common = Faults() if faults is None or isinstance(faults, Mapping) else faults
        sources: list[tuple[Voice | None, Samples]] = []
        if "mixed" in streams:
            sources.append((None, meeting.mixed))
        if "separate" in streams:
            sources += [(voice, meeting.stream(voice)) for voice in meeting.voices]
        self._bots = []
        for voice, samples in sources:
            who = None if voice is None else voice.participant
            own = common if given is None else given.get(None if who is None else who.id, common)
            mutes = meeting.silent(voice)
            self._bots.append(
                Bot(
                    samples,
                    url,
                    speed=speed,
                    packet=packet,
                    faults=replace(own, mutes=(*own.mutes, *mutes)) if mutes else own,
                    recording=self.recording,
                    participant=who,
                    told=None if voice is None else voice.who,
                    secret=secret,
                    refs=self._refs,
                )
            )
        self._happenings = [each for each in meeting.happenings() if each[1] in set(events)]
        self._line = Line(url, speed, secret) if self._happenings else None
        self._told = 0

    @property
    def done(self) -> int:
        """Messages dealt with so far."""
        return sum(bot.done for bot in self._bots) + self._told

    @property
    def total(self) -> int:
        """Messages in all; 0 until every connection is open."""
        totals = [bot.total for bot in self._bots]
        return sum(totals) + len(self._happenings) if all(totals) else 0

    async def play(self) -> pd.DataFrame:
        """Play the meeting and return the truth (see :func:`simulate_meeting`)."""
        players = len(self._bots) + (self._line is not None)
        together = _together(players)
        tasks = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(bot.play(together)) for bot in self._bots]
                if self._line is not None:
                    group.create_task(self._tell(self._line, together))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        tables = []
        for bot, task in zip(self._bots, tasks, strict=True):
            id_ = None if bot.participant is None else bot.participant.id
            ids = pd.array([id_] * len(task.result()), dtype="Int64")
            tables.append(task.result().assign(participant=ids))
        return pd.concat(tables, ignore_index=True)

    async def _tell(self, line: Line, together: Start) -> None:
        """Send the events, each when it happens; on a broken line they are lost, as the bot's."""
        try:
            await line.connect()
            begin, epoch = await together()
            for when, name, fields in self._happenings:
                if not math.isinf(self._speed):
                    await until(begin + when / self._speed)
                if not line.open:
                    await line.connect()
                await line.send(self._event(name, when, epoch, fields))
                self._told += 1
        finally:
            await line.disconnect(clean=True)

    def _event(self, name: str, when: float, epoch: int, fields: dict[str, Any]) -> bytes:
        stamp = {"relative": when, "absolute": format_absolute(epoch + round(when * 1e9))}
        family = name.partition(".")[0]
        payload = {"data": None, **fields}
        if family == "participant_events":
            payload["timestamp"] = stamp
        else:
            payload.pop("data")
            payload["words"] = [_stamped(word, epoch) for word in fields["words"]]
        refs = {
            "bot": Ref("stand-in-bot", {}),
            "endpoint": Ref("stand-in-endpoint", {}),
            **self._refs,
        }
        return msgspec.json.encode(
            {
                "event": name,
                "data": {
                    "data": payload,
                    "realtime_endpoint": refs["endpoint"],
                    "recording": refs["recording"],
                    "bot": refs["bot"],
                    family: Ref(f"stand-in-{family}", {}),
                },
            }
        )


def simulate_meeting(
    meeting: Meeting, url: str | SecretStr, *, progress: bool = False, **options: Any
) -> pd.DataFrame:
    """Play a meeting to a receiver as the bot would, and return the truth.

    Args:
        meeting: from :func:`read_meeting`, or put together from :class:`Voice`.
        url, speed, packet, recording, secret, progress: as for :func:`recall_lab.simulate`.
        streams: ``"mixed"``, ``"separate"`` or both.
        events: names of the events that are sent; all by default.
        faults: of every stream; or by participant id, None being the mixed stream.

    Returns:
        The truth of all streams, as of :func:`recall_lab.simulate`, with ``participant`` (Int64,
        NA: the mixed stream). What is to be told of its people and words is in
        :attr:`Meeting.truth`.

    Raises:
        InvalidArgument: for an argument that can't be.
        ReceiverFailed: when nobody answers at `url`, or the receiver does not let the bot in.

    Example:
        >>> meeting = read_meeting("data/standup.wav")
        >>> truth = simulate_meeting(meeting, rx.url, speed=10)  # doctest: +SKIP
    """
    return play_out(MeetingCall(meeting, url, **options), progress=progress)


def start_meeting(meeting: Meeting, url: str | SecretStr, **options: Any) -> Simulation:
    """Start to play a meeting in the background and return at once.

    Args and errors are those of :func:`simulate_meeting`.
    """
    return Simulation(MeetingCall(meeting, url, **options))


def _stamped(word: dict[str, Any], epoch: int) -> dict[str, Any]:
    """Return a word whose times are told on the wall clock, too."""
    stamps = {
        name: stamp | {"absolute": format_absolute(epoch + round(stamp["relative"] * 1e9))}
        for name, stamp in word.items()
        if name != "text"
    }
    return word | stamps


def _together(players: int) -> Start:
    """Return what waits until so many are ready, and gives all of them one start."""
    ready = 0
    begun: asyncio.Future[tuple[float, int]] | None = None

    async def start() -> tuple[float, int]:
        nonlocal ready, begun
        if begun is None:
            begun = asyncio.get_running_loop().create_future()
        ready += 1
        if ready == players:
            begun.set_result(await start_now())
        return await asyncio.shield(begun)

    return start
