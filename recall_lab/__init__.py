"""recall_lab: the lab bench for meeting-bot audio.

    import recall_lab as rl

    rx = rl.receive(port=3456, directory="captures")
    truth = rl.simulate("data/standup.wav", rx.url, speed=10, faults=rl.Faults(loss=0.02, seed=7))
    rx.packets()
    rx.stop()
    cap = rl.load("captures/....bin")

All public names are here, in one flat namespace; each is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from recall_lab.version import __version__

if TYPE_CHECKING:
    from recall_lab.capture.audio import read_audio
    from recall_lab.capture.capture import Capture
    from recall_lab.capture.damage import Damage
    from recall_lab.capture.frame import check_frame
    from recall_lab.capture.reader import Follower, load, verify
    from recall_lab.capture.record import Flag
    from recall_lab.display.plots import plot_waveform
    from recall_lab.errors import (
        CaptureError,
        CaptureLocked,
        CaptureNotFound,
        InvalidArgument,
        InvalidAudio,
        InvalidFrame,
        InvalidMessage,
        PortInUse,
        RecallLabError,
        ReceiverError,
        ReceiverFailed,
        StorageFailed,
        StreamNotFound,
        WaitTimeout,
    )
    from recall_lab.receiver.faults import Faults
    from recall_lab.receiver.receiver import Receiver, receive, running
    from recall_lab.receiver.server import Server
    from recall_lab.receiver.settings import Status
    from recall_lab.receiver.simulator import (
        Simulation,
        simulate,
        simulate_async,
        start_simulation,
    )
    from recall_lab.wire.messages import (
        AudioPacket,
        OtherEvent,
        Participant,
        Ref,
        decode,
        encode,
    )

_PLACES = {
    "errors": [
        "CaptureError",
        "CaptureLocked",
        "CaptureNotFound",
        "InvalidArgument",
        "InvalidAudio",
        "InvalidFrame",
        "InvalidMessage",
        "PortInUse",
        "RecallLabError",
        "ReceiverError",
        "ReceiverFailed",
        "StorageFailed",
        "StreamNotFound",
        "WaitTimeout",
    ],
    "wire.messages": ["AudioPacket", "OtherEvent", "Participant", "Ref", "decode", "encode"],
    "capture.audio": ["read_audio"],
    "capture.capture": ["Capture"],
    "capture.damage": ["Damage"],
    "capture.frame": ["check_frame"],
    "capture.reader": ["Follower", "load", "verify"],
    "capture.record": ["Flag"],
    "receiver.faults": ["Faults"],
    "receiver.receiver": ["Receiver", "receive", "running"],
    "receiver.server": ["Server"],
    "receiver.settings": ["Status"],
    "receiver.simulator": ["Simulation", "simulate", "simulate_async", "start_simulation"],
    "display.plots": ["plot_waveform"],
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "AudioPacket",
    "Capture",
    "CaptureError",
    "CaptureLocked",
    "CaptureNotFound",
    "Damage",
    "Faults",
    "Flag",
    "Follower",
    "InvalidArgument",
    "InvalidAudio",
    "InvalidFrame",
    "InvalidMessage",
    "OtherEvent",
    "Participant",
    "PortInUse",
    "RecallLabError",
    "Receiver",
    "ReceiverError",
    "ReceiverFailed",
    "Ref",
    "Server",
    "Simulation",
    "Status",
    "StorageFailed",
    "StreamNotFound",
    "WaitTimeout",
    "__version__",
    "check_frame",
    "decode",
    "encode",
    "load",
    "plot_waveform",
    "read_audio",
    "receive",
    "running",
    "simulate",
    "simulate_async",
    "start_simulation",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
