"""One call being played by the stand-in bot: connect, send on time, break, come back."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import secrets
import time
from collections.abc import Sequence
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidURI, WebSocketException
from websockets.uri import parse_uri

from recall_lab.capture.audio import read_audio
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument, ReceiverFailed
from recall_lab.receiver.faults import RETRY, Faults, Packets, cut, in_outage, payload_of, plan
from recall_lab.text import excerpt
from recall_lab.wire.messages import (
    RECORDING_ID_VALID,
    ArtifactForm,
    AudioPacket,
    Participant,
    Ref,
    encode,
    is_recording_id,
)
from recall_lab.wire.pcm import RATE, SAMPLE_DTYPE, Samples

ATTEMPTS: Final = 30
"""How often the bot tries to connect before it gives up."""

PACKET: Final = 0.2
"""Usual length of a packet of mixed audio, in seconds."""

_SHORTEST_RETRY = 0.2  # seconds between attempts, however fast the call is played
_CREDIT = 256  # messages sent before others get a turn, when as fast as possible

_logger = logging.getLogger("recall_lab.simulator")
_logger.addHandler(logging.NullHandler())

Source = str | os.PathLike[str] | Capture | npt.NDArray[np.int16]


class Bot:
    """One call being played. See :func:`recall_lab.simulate` for the arguments."""

    def __init__(
        self,
        source: Source,
        url: str,
        *,
        speed: float = 1.0,
        packet: float | Sequence[float] | None = None,
        faults: Faults | None = None,
        recording: str | None = None,
        participant: Participant | int | None = None,
        form: ArtifactForm = "raw",
        start: float = 0.0,
    ) -> None:
        if not isinstance(speed, int | float) or not speed > 0:
            raise InvalidArgument("speed", speed, "a positive number; inf for no waiting")
        if not isinstance(faults, Faults | None):
            raise InvalidArgument("faults", faults, "rl.Faults(...)")
        try:
            parse_uri(str(url))
        except InvalidURI as error:
            raise InvalidArgument("url", url, f"a websocket address, ws://... ({error})") from None
        if form not in ("raw", "plain"):
            raise InvalidArgument("form", form, "'raw' or 'plain'")
        if recording is not None and not is_recording_id(recording):
            raise InvalidArgument("recording", recording, RECORDING_ID_VALID)
        self.url = url
        self.speed = speed
        self.faults = faults or Faults()
        self.recording = recording or f"call-{secrets.token_hex(4)}"
        self.participant = (
            Participant(participant, name=f"Participant {participant}")
            if isinstance(participant, int)
            else participant
        )
        self.form = form
        self.done = 0
        self.total = 0
        self._samples, self._packets, self._start = _prepare(source, packet, start, self.faults)
        self._connection: ClientConnection | None = None
        self._connections = 0
        self._refs: dict[str, Any] = {
            "bot": Ref("stand-in-bot", {}),
            "endpoint": Ref("stand-in-endpoint", {}),
            "artifact": Ref("stand-in-artifact", {}),
        }

    async def play(self) -> pd.DataFrame:
        """Play the call and return the truth (see :func:`recall_lab.simulate`)."""
        try:
            await self._connect()  # the call begins when the bot is let in
            truth = plan(
                self._samples,
                self._packets,
                self.faults,
                start=self._start,
                epoch=time.time_ns(),
            )
            self.total = len(truth)
            fates = truth["fate"].tolist()
            connections = np.zeros(len(truth), np.int64)
            sent = np.zeros(len(truth), np.int64)
            cut_off = in_outage(truth["due"].to_numpy(), self.faults)
            begin = time.monotonic()
            for row in truth.itertuples():
                at = cast(int, row.Index)
                await self._until(begin + cast(float, row.due) / self.speed)
                fate = fates[at]
                if cut_off[at]:
                    await self._disconnect()
                elif fate in ("sent", "malformed"):
                    message = self._broken(at) if fate == "malformed" else self._message(row)
                    when = await self._send(message, begin, cast(float, row.due))
                    if when:
                        sent[at] = when
                        connections[at] = self._connections
                    else:
                        fates[at] = "outage"
                self.done = at + 1
                if math.isinf(self.speed) and at % _CREDIT == 0:
                    await asyncio.sleep(0)
        finally:
            await self._disconnect(clean=True)
        times = pd.to_datetime(pd.Series(np.where(sent, sent, pd.NaT.value)), utc=True)
        return truth.assign(fate=fates, connection=connections, sent=times)

    async def _until(self, when: float) -> None:
        if not math.isinf(self.speed):
            delay = when - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)

    async def _send(self, message: bytes, begin: float, due: float) -> int:
        """Send one message; return when, in ns since 1970 UTC, or 0 if it was not sent.

        What falls due while there is no connection is lost, as it is with the bot.
        """
        if self._connection is None:
            try:
                await self._connect()
            except ReceiverFailed:
                return 0
            late = time.monotonic() - (begin + due / self.speed)
            if not math.isinf(self.speed) and late > RETRY / self.speed / 2:
                return 0
        assert self._connection is not None
        now = time.time_ns()
        try:
            await self._connection.send(message, text=True)
        except (WebSocketException, OSError):
            self._connection = None
            await asyncio.sleep(max(RETRY / self.speed, _SHORTEST_RETRY))
            return 0
        return now

    async def _connect(self) -> None:
        """Connect, trying as long as the bot would.

        Raises:
            ReceiverFailed: when nobody has answered after the last attempt.
        """
        last: Exception | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(max(RETRY / self.speed, _SHORTEST_RETRY))
            try:
                self._connection = await connect(
                    self.url, compression=None, proxy=None, logger=_logger, max_size=2**16
                )
            except (OSError, TimeoutError, WebSocketException) as error:
                last = error
            else:
                self._connections += 1
                return
        raise ReceiverFailed(
            f"no receiver at {self.url} after {ATTEMPTS} attempts (the last: {last}); "
            "start one first, for example with rl.receive()"
        )

    async def _disconnect(self, *, clean: bool = False) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if not clean:  # the line breaks: what was sent still arrives, no farewell does
            connection.transport.close()
        await connection.close()

    def _message(self, row: Any) -> bytes:
        packet = AudioPacket(
            recording=Ref(self.recording, {}),
            payload=payload_of(self._samples, row.payload, row.offset, row.samples),
            relative=row.relative,
            absolute=row.absolute.value,
            participant=self.participant,
            **self._refs,
        )
        return encode(packet, form=self.form)

    def _broken(self, number: int) -> bytes:
        good = encode(
            AudioPacket(recording=Ref(self.recording, {}), payload=b"\0\0", relative=0, absolute=0)
        )
        kinds = (
            good[: len(good) // 2],
            good.replace(b'"AAA="', b'"not base64!"'),
            good.replace(b'"relative":0', b'"relative":"soon"'),
            good.replace(b"1970-01-01T", b"yesterday at "),
            good.replace(self.recording.encode(), b"../../somewhere/else"),
            b"\xff\xfe not even text",
        )
        return kinds[number % len(kinds)]


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
