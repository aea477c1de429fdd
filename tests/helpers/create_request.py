"""The body of a request that creates a bot."""

from __future__ import annotations

from typing import Any

BODY: dict[str, Any] = {
    "meeting_url": "https://meet.example.org/standup",
    "bot_name": "Notetaker",
    "join_at": "2030-01-01T10:00:00Z",
    "metadata": {"team": "red"},
    "recording_config": {
        "audio_mixed_raw": {},
        "audio_separate_raw": {},
        "audio_mixed_mp3": {},
        "realtime_endpoints": [
            {
                "type": "websocket",
                "url": "wss://bench.example.org/?token=abc",
                "events": ["audio_mixed_raw.data", "audio_separate_raw.data"],
            }
        ],
    },
}
