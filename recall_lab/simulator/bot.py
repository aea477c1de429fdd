"""Play one call: connect, send on time, break, come back."""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import SecretStr

from recall_lab.arguments import number
from recall_lab.capture.capture import Capture
from recall_lab.configuration import hidden
from recall_lab.errors import InvalidArgument, ReceiverFailed
from recall_lab.simulator.connection import Line
from recall_lab.simulator.faults import RETRY, Faults
from recall_lab.simulator.plan import Packets, cut, in_outage, payload_of, plan
from recall_lab.store.audio_files import read_audio
from recall_lab.text import excerpt
from recall_lab.wire.messages import (
    RECORDING_ID_VALID,
    ArtifactForm,
    AudioPacket,
    Participant,
    Ref,
    encode_message,
    is_recording_id,
)
from recall_lab.wire.pcm import RATE, SAMPLE_DTYPE, Samples

PACKET: Final = 0.2
"""Usual length of a packet of mixed audio, in seconds."""

_SENT: Final = ("sent", "malformed")
_CREDIT = 256  # messages sent before others get a turn, when as fast as possible

Start = Callable[[], Awaitable[tuple[float, int]]]
"""Waits for the start of a call; gives it on the monotonic clock, s, and in ns since 1970 UTC."""

Source = str | os.PathLike[str] | Capture | npt.NDArray[np.int16]


class Bot:
    """One call being played. See :func:`recall_lab.simulate` for the arguments.

    Args:
        refs: what messages refer to.
        told: as whom the participant is told at a time of the call, s; by default always alike.
    """

    def __init__(
        self,
        source: Source,
        url: str | SecretStr,
        *,
        speed: float = 1.0,
        packet: float | Sequence[float] | None = None,
        faults: Faults | None = None,
        recording: str | None = None,
        participant: Participant | int | None = None,
        form: ArtifactForm = "raw",
        start: float = 0.0,
        secret: str | SecretStr | None = None,
        refs: Mapping[str, Ref] | None = None,
        told: Callable[[float], Participant] | None = None,
    ) -> None:
        url, secret = hidden(url), None if secret is None else hidden(secret)
        number("speed", speed, 0, what="a number (inf for no waiting)", above=True)
        if not isinstance(faults, Faults | None):
            raise InvalidArgument("faults", faults, "rl.Faults(...)")
        self._line = Line(url, speed, secret)
        if form not in ("raw", "plain"):
            raise InvalidArgument("form", form, "'raw' or 'plain'")
        if recording is not None and not is_recording_id(recording):
            raise InvalidArgument("recording", recording, RECORDING_ID_VALID)
        self.speed = speed
        self.faults = faults or Faults()
        self.recording = recording or f"call-{secrets.token_hex(4)}"
        self.participant = (
            Participant(participant, name=f"Participant {participant}")
            if isinstance(participant, int)
            else participant
        )
        self._told: Callable[[float], Participant | None] = told or (lambda _: self.participant)
        self.form = form
        self.done = 0
        self.total = 0
        self._samples, self._packets, self._start = _prepare(source, packet, start, self.faults)
        self._refs: dict[str, Any] = {
            "recording": Ref(self.recording, {}),
            "bot": Ref("stand-in-bot", {}),
            "endpoint": Ref("stand-in-endpoint", {}),
            "artifact": Ref("stand-in-artifact", {}),
        } | dict(refs or {})

    async def play(self, together: Start | None = None) -> pd.DataFrame:
        """Play the call and return the truth (see :func:`recall_lab.simulate`).

        Args:
            together: waits until others are let in too; by default the call begins at once.
        """
        try:
            await self._line.connect()  # the call begins when the bot is let in
            begin, epoch = await (together or start_now)()
            truth = plan(
                self._samples,
                self._packets,
                self.faults,
                start=self._start,
                epoch=epoch,
            )
            self.total = len(truth)
            outcomes = truth["outcome"].tolist()
            planned = 1
            connections = np.zeros(len(truth), np.int64)
            sent = np.zeros(len(truth), np.int64)
            cut_off = in_outage(truth["due"].to_numpy(), self.faults)
            for row in truth.itertuples():
                at = cast(int, row.Index)
                await until(begin + cast(float, row.due) / self.speed)
                outcome = outcomes[at]
                if cut_off[at]:
                    await self._line.disconnect()
                elif outcome in _SENT:
                    if cast(int, row.connection) != planned:  # it left and has come back
                        planned = cast(int, row.connection)
                        await self._line.disconnect(clean=True)
                    message = self._broken(at) if outcome == "malformed" else self._message(row)
                    when = await self._send(message, begin, cast(float, row.due))
                    if when:
                        sent[at] = when
                        connections[at] = self._line.connections
                    else:
                        outcomes[at] = "outage"
                    if self._line.given_up:  # nothing more of this call is sent
                        rest = outcomes[at:]
                        outcomes[at:] = ["outage" if one in _SENT else one for one in rest]
                        self.done = self.total
                        break
                self.done = at + 1
                if math.isinf(self.speed) and at % _CREDIT == 0:
                    await asyncio.sleep(0)
        finally:
            await self._line.disconnect(clean=True)
        times = pd.to_datetime(pd.Series(np.where(sent, sent, pd.NaT.value)), utc=True)
        return truth.assign(outcome=outcomes, connection=connections, sent=times)

    async def _send(self, message: bytes, begin: float, due: float) -> int:
        """Send one message; return when, in ns since 1970 UTC, or 0 if it was not sent.

        What falls due while there is no connection is lost, as it is with the bot.
        """
        if not self._line.open:
            try:
                await self._line.connect()
            except ReceiverFailed:
                return 0
            late = time.monotonic() - (begin + due / self.speed)
            if not math.isinf(self.speed) and late > RETRY / self.speed / 2:
                return 0
        return await self._line.send(message)

    def _message(self, row: Any) -> bytes:
        packet = AudioPacket(
            payload=payload_of(self._samples, row.payload, row.offset, row.samples),
            relative=row.relative,
            absolute=row.absolute.value,
            participant=self._told(row.media),
            **self._refs,
        )
        return encode_message(packet, form=self.form)

    def _broken(self, number: int) -> bytes:
        good = encode_message(
            AudioPacket(recording=Ref(self.recording, {}), payload=b"\0\0", relative=0, absolute=0)
        )
        kinds = (
            good[: len(good) // 2],
            good.replace(b'"AAA="', b'"not base64!"'),
            good.replace(b'"relative":0', b'"relative":"soon"'),
            good.replace(b"1970-01-01T", b"yesterday at "),
            good.replace(self.recording.encode(), b"../../somewhere/else"),
            b"not even JSON",  # and not UTF-8 either would end the connection
        )
        return kinds[number % len(kinds)]


async def start_now() -> tuple[float, int]:
    """Start a call at once."""
    return time.monotonic(), time.time_ns()


async def until(when: float) -> None:
    """Wait until a time of the monotonic clock, s."""
    delay = when - time.monotonic()
    if delay > 0:
        await asyncio.sleep(delay)


def _prepare(
    source: Source, packet: float | Sequence[float] | None, start: float, faults: Faults
) -> tuple[Samples, Packets, float]:
    """Return the samples of any source, how they are cut, and the first relative time."""
    if isinstance(source, Capture):
        frame = source.packets
        if packet is None and len(frame):
            relative = frame["relative"].to_numpy()
            first = float(relative.min())
            own = Packets(
                relative - first,
                frame["offset"].to_numpy(),
                frame["samples"].to_numpy().astype(np.int64),
            )
            return source.samples, own, first
        samples = source.samples
    elif isinstance(source, np.ndarray):
        if source.dtype != SAMPLE_DTYPE or source.ndim != 1:
            raise InvalidArgument(
                "source", f"{source.dtype} {source.shape}", "int16 in one dimension, 16 kHz"
            )
        samples = source
    else:
        samples = read_audio(source)
    if not len(samples):
        raise InvalidArgument("source", excerpt(source), f"at least one sample at {RATE} Hz")
    return samples, cut(len(samples), packet or PACKET, faults.seed), start
