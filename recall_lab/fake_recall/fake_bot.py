"""One bot of the stand-in: it joins, waits, records, sends, leaves, and makes a recording.

Each bot has a thread. What the API tells of it is read from here by the threads that answer.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import SecretStr

from recall_lab.analysis.recording.export import save
from recall_lab.errors import RecallLabError
from recall_lab.fake_recall.create_request import CreateRequest, Endpoint
from recall_lab.simulator.api import Simulation
from recall_lab.simulator.faults import Faults
from recall_lab.simulator.meeting import Meeting
from recall_lab.simulator.meeting_player import EVENTS, start_meeting
from recall_lab.text import redacted
from recall_lab.wire.messages import MIXED, SEPARATE, Ref
from recall_lab.wire.pcm import RATE, Samples

SHORT = 10.0
"""Seconds of recording below which that much blank is added, as Recall.ai does."""


_LONGEST_WAIT = 30 * 86_400.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Script:
    """How the meetings go to which bots are sent.

    Attributes:
        meeting: what is said there.
        speed: of the call; 1 is real time.
        pace: seconds between two steps of a bot's life.
        faults: what goes wrong on the way, of each stream; or by participant id.
        fatal: sub code with which bots fail instead of joining; ``""`` for none.
        lead: seconds by which the recording begins before the audio that is sent.
        gain: of the recording over what is sent, in dB.
    """

    meeting: Meeting
    speed: float = 1.0
    pace: float = 0.2
    faults: Faults | Mapping[int | None, Faults] | None = None
    fatal: str = ""
    lead: float = 0.0
    gain: float = 0.0


@dataclass(eq=False)
class Sent:
    """How it goes with one endpoint."""

    endpoint: Endpoint
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "running"
    call: Simulation | None = None


class FakeBot:
    """A bot from its creation to its end."""

    def __init__(
        self, create_request: CreateRequest, script: Script, folder: Path, secret: SecretStr
    ) -> None:
        self.id = str(uuid.uuid4())
        self.create_request = create_request
        self.changes: list[dict[str, Any]] = []
        self.recording_id = str(uuid.uuid4())
        self.recording: dict[str, Any] | None = None
        self.media: Path | None = None
        self.deleted = False
        self.sent = [
            Sent(endpoint) for endpoint in create_request.recording_config.realtime_endpoints
        ]
        self._script = script
        self._folder = folder
        self._secret = secret
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._live, name=f"bot {self.id[:8]}", daemon=True)
        self._thread.start()

    @property
    def code(self) -> str:
        """The last step; ``""`` before the first."""
        with self._lock:
            return str(self.changes[-1]["code"]) if self.changes else ""

    @property
    def dispatched(self) -> bool:
        """Whether it is on its way, or has been."""
        return bool(self.code)

    def leave(self) -> None:
        """Have it leave the call."""
        self._end.set()
        for sent in self.sent:
            if sent.call is not None and not sent.call.done:
                sent.call.stop()

    def delete_media(self) -> None:
        """Forget the recording's audio."""
        with self._lock:
            media, self.media, self.deleted = self.media, None, True
        if media is not None:
            media.unlink(missing_ok=True)

    def join(self, timeout: float | None = None) -> None:
        """Wait until its life is over."""
        self._thread.join(timeout)

    def told(self, media_url: str) -> dict[str, Any]:
        """Return what the API says of it.

        Args:
            media_url: where its recording can be fetched.
        """
        with self._lock:
            recordings = []
            if self.recording is not None:
                done = self.media is not None
                audio = {
                    "id": f"media-{self.recording_id}",
                    "status": {"code": "done" if done else "processing", "sub_code": None},
                    "format": "mp3",
                    "data": {"download_url": media_url if done else None},
                }
                wanted = self.create_request.recording_config.audio_mixed_mp3 is not None
                wanted = wanted and not self.deleted
                recordings = [
                    {
                        **self.recording,
                        "media_shortcuts": {"audio_mixed": audio if wanted else None},
                    }
                ]
            join_at = self.create_request.join_at
            return {
                "id": self.id,
                "meeting_url": self.create_request.meeting_url,
                "bot_name": self.create_request.bot_name,
                "join_at": None if join_at is None else join_at.isoformat(),
                "metadata": self.create_request.metadata,
                "status_changes": list(self.changes),
                "recordings": recordings,
                "recording_config": {
                    "realtime_endpoints": [
                        {
                            "type": s.endpoint.type,
                            "url": s.endpoint.url,
                            "events": s.endpoint.events,
                        }
                        for s in self.sent
                    ]
                },
            }

    def _step(self, code: str, sub_code: str | None = None, message: str | None = None) -> None:
        with self._lock:
            self.changes.append(
                {
                    "code": code, "sub_code": sub_code, "message": message,
                    "created_at": datetime.now(UTC).isoformat(),
                }
            )  # fmt: skip

    def _live(self) -> None:
        try:
            self._act()
        except Exception as error:  # of the stand-in itself: its bot is not to hang for ever
            self._step("fatal", "stand_in_failed", f"{type(error).__name__}: {error}")

    def _act(self) -> None:
        pace = self._script.pace
        if self.create_request.join_at is not None:
            wait = self.create_request.join_at.timestamp() - time.time()
            self._end.wait(min(max(0.0, wait), _LONGEST_WAIT))
        for code in ("joining_call", "in_waiting_room", "in_call_not_recording"):
            if self._end.is_set():
                break
            self._step(code)
            if self._script.fatal and code == "in_waiting_room":
                self._step("fatal", self._script.fatal, "The bot could not join the meeting.")
                return
            self._end.wait(pace)
        heard = 0.0
        if not self._end.is_set():
            heard = self._record()
        self._step("call_ended", "bot_received_leave_call" if self._end.is_set() else None)
        if self.recording is not None:
            try:
                self._make_recording(heard)
            except (RecallLabError, OSError) as error:  # no room on the disk
                self._step("fatal", "recording_failed", str(error))
                return
        self._step("done")

    def _record(self) -> float:
        """Send what is heard to every endpoint; return how long the call was, s."""
        began = time.monotonic()
        with self._lock:
            self.recording = {
                "id": self.recording_id,
                "started_at": datetime.now(UTC).isoformat(),
                "completed_at": None,
                "status": {"code": "processing", "sub_code": None},
            }
        self._step("in_call_recording")
        for sent in self.sent:
            self._send(sent)
        length = self._script.meeting.length / RATE
        self._end.wait(length / self._script.speed)
        for sent in self.sent:
            if sent.call is not None:
                try:
                    sent.call.wait()
                    sent.status = "done"
                except RecallLabError:  # told to leave, or nobody let it in
                    sent.status = "done" if self._end.is_set() else "failed"
        return min((time.monotonic() - began) * self._script.speed, length)

    def _send(self, sent: Sent) -> None:
        delivered = self.create_request.recording_config.delivered(sent.endpoint)
        names = {MIXED: "mixed", SEPARATE: "separate"}
        streams = [names[event] for event in delivered if event in names]
        if not streams:  # events without audio are not played by themselves
            sent.status = "done"
            return
        metadata = self.create_request.metadata
        sent.call = start_meeting(
            self._script.meeting,
            SecretStr(sent.endpoint.url),
            streams=streams,
            events=[event for event in delivered if event in EVENTS],
            speed=self._script.speed,
            faults=self._script.faults,
            recording=self.recording_id,
            secret=self._secret,
            refs={
                "recording": Ref(self.recording_id, dict(metadata)),
                "bot": Ref(self.id, dict(metadata)),
                "endpoint": Ref(sent.id, {}),
            },
        )

    def _make_recording(self, heard: float) -> None:
        """Write the final recording of so many seconds of the call."""
        if self.create_request.recording_config.audio_mixed_mp3 is not None:
            path = self._folder / f"{self.recording_id}.mp3"
            save(self._rendered(heard), path, progress=False)
            self.media = path
        with self._lock:
            assert self.recording is not None
            self.recording |= {
                "completed_at": datetime.now(UTC).isoformat(),
                "status": {"code": "done", "sub_code": None},
            }

    def _rendered(self, heard: float) -> Samples:
        script = self._script
        mixed = script.meeting.recorded(max(heard, 1 / RATE))
        louder = np.clip(np.rint(mixed * 10 ** (script.gain / 20)), -32_768, 32_767)
        parts = [np.zeros(round(script.lead * RATE)), louder]
        if len(mixed) < SHORT * RATE:
            parts.append(np.zeros(round(SHORT * RATE)))
        return np.concatenate(parts).astype("<i2")

    def __repr__(self) -> str:
        to = ", ".join(redacted(sent.endpoint.url) for sent in self.sent)
        return f"<FakeBot {self.id}: {self.code or 'scheduled'}, to {to or 'nobody'}>"
