"""Every exception of recall_lab.

::

    RecallLabError
    ├── InvalidMessage (ValueError)      a websocket message that is not what the protocol says
    ├── InvalidArgument (ValueError)     a call that can't be right, whatever is on disk
    ├── InvalidFrame (ValueError)        a DataFrame that does not keep the packets contract
    ├── InvalidPolicy (ValueError)       a file of thresholds that can't be read or kept
    ├── InvalidAudio (ValueError)        an audio file that can't be read or is not what is needed
    ├── RecordingMismatch (ValueError)   a recording that a capture does not lie in, or not surely
    ├── MissingExtra (ImportError)       a package that comes with an extra only is not installed
    ├── MissingSetting (LookupError)     a variable of the environment or .env is not set
    ├── NoNotebook (RuntimeError)        what was asked for can only be shown in a notebook
    ├── NestingRefused (RuntimeError)    event loops can't be made to nest here
    ├── RecallApiError                   Recall.ai refused what it was asked, or did not answer
    ├── BotFailed                        a bot has ended without doing what it was sent for
    ├── CaptureError
    │   ├── CaptureNotFound (FileNotFoundError)
    │   ├── MissingTimestamps (ValueError)  the capture has audio, but no times to place it by
    │   ├── NotRealTime (ValueError)     arrival times that say nothing: it came at another speed
    │   ├── StreamNotFound (LookupError)  a receiver has no such stream, or several to choose from
    │   ├── CaptureLocked                another writer holds the capture
    │   ├── LimitReached                 a receiver keeps no more: its limits say so
    │   └── StorageFailed (OSError)      the disk, or a store, did not take or give what it should
    └── ReceiverError
        ├── TunnelFailed                 no public address could be had for the receiver
        ├── PortInUse (OSError)          another program listens on the port
        ├── ReceiverFailed               the receiver could not start, or has died
        └── WaitTimeout (TimeoutError)   what was waited for did not happen in time

Each carries what it speaks of as attributes and says in its message what is wrong, what is valid,
and what to do. The second parent lets ``except ValueError`` work as a Python programmer expects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recall_lab.text import excerpt, shortened

__all__ = [
    "BotFailed",
    "CaptureError",
    "CaptureLocked",
    "CaptureNotFound",
    "InvalidArgument",
    "InvalidAudio",
    "InvalidFrame",
    "InvalidMessage",
    "InvalidPolicy",
    "LimitReached",
    "MissingExtra",
    "MissingSetting",
    "MissingTimestamps",
    "NestingRefused",
    "NoNotebook",
    "NotRealTime",
    "PortInUse",
    "RecallApiError",
    "RecallLabError",
    "ReceiverError",
    "ReceiverFailed",
    "RecordingMismatch",
    "StorageFailed",
    "StreamNotFound",
    "TunnelFailed",
    "WaitTimeout",
]


class _Missing:
    def __repr__(self) -> str:
        return "missing"


MISSING = _Missing()
"""Stands for the value of a field that is not there."""


def _restore(
    kind: type[RecallLabError], arguments: tuple[object, ...], fields: dict[str, Any]
) -> RecallLabError:
    error = kind.__new__(kind)
    error.args = arguments
    if isinstance(error, OSError):  # its text is not made from args
        OSError.__init__(error, *arguments)
    error.__dict__.update(fields)
    return error


class RecallLabError(Exception):
    """Anything that recall_lab raises on purpose. Survives the way to another process."""

    def __reduce__(self) -> tuple[Any, ...]:
        # each kind takes arguments of its own, which are not what it tells Exception
        return _restore, (type(self), self.args, dict(self.__dict__))


class InvalidMessage(RecallLabError, ValueError):
    """A websocket message that does not keep the protocol.

    Attributes:
        field: dotted path of the field, ``""`` for the message as a whole.
        value: what stood there (an excerpt at most).
        valid: what would have been right, in words.
        reason: one short stable word for counting: ``utf8``, ``json``, ``field``, ``timestamp``,
            ``base64``, ``recording``, ``participant``, ``number``, ``size``.
    """

    def __init__(self, field: str, value: object, valid: str, *, reason: str = "field") -> None:
        self.field = field
        self.value = excerpt(value)
        self.valid = valid
        self.reason = reason
        super().__init__(f"{field or 'message'} is {self.value}: expected {valid}")


class InvalidArgument(RecallLabError, ValueError):
    """An argument that can't be right.

    Attributes:
        name: the parameter.
        value: what was given.
        valid: what would have been right, in words.
    """

    def __init__(self, name: str, value: object, valid: str) -> None:
        self.name = name
        self.value = value
        self.valid = valid
        super().__init__(f"{name}={excerpt(value)} is not valid: expected {valid}")


class InvalidFrame(RecallLabError, ValueError):
    """A DataFrame that does not keep the contract of :mod:`recall_lab.capture.frame`."""


class InvalidAudio(RecallLabError, ValueError):
    """An audio file that can't be read, or does not hold what is needed."""


class InvalidPolicy(RecallLabError, ValueError):
    """Thresholds for :func:`recall_lab.check` that can't be read, or that nothing measures."""


class RecordingMismatch(RecallLabError, ValueError):
    """The capture does not lie in the recording, or it can't be told where.

    Attributes:
        stem: the capture's stream.
        reason: why, in numbers.
        evidence: what was seen, as in ``Comparison.evidence``, as far as it came to that.
    """

    def __init__(self, stem: str, reason: str, **evidence: float) -> None:
        self.stem = stem
        self.reason = reason
        self.evidence = evidence
        super().__init__(
            f"{stem} can't be aligned with this recording: {reason}. Compare the recording's id "
            "with capture.info.recording; where both are of one meeting, give more of them"
        )


class MissingExtra(RecallLabError, ImportError):
    """What was asked for needs a package that is not installed, because few need it.

    Attributes:
        extra: what to install recall_lab with.
    """

    def __init__(self, extra: str, package: str) -> None:
        self.extra = extra
        super().__init__(
            f"this needs the package {package}: pip install 'recall_lab[{extra}]', "
            "and restart the notebook's kernel if it still can't be found"
        )


class MissingSetting(RecallLabError, LookupError):
    """A setting that is needed is not there.

    Attributes:
        name: the variable.
    """

    def __init__(self, name: str, needed_for: str) -> None:
        self.name = name
        super().__init__(
            f"{name} is not set, which {needed_for} needs: set it in the environment, "
            f"or write a line {name}=... into the file .env of this folder (never into a notebook)"
        )


class NoNotebook(RecallLabError, RuntimeError):
    """What was asked for can only be shown in a notebook, and there is none."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(f"{what} is shown in a notebook, and this is none: {instead}")


class NestingRefused(RecallLabError, RuntimeError):
    """Event loops can't be made to nest in this process; says why, and what to do instead."""


class RecallApiError(RecallLabError):
    """Recall.ai's REST API refused what it was asked, did not answer, or not as it should.

    Attributes:
        status: of HTTP; None where there was no answer.
        advice: what to do.
        fields: what it said, by the dotted path of the field; ``""`` for none in particular.
        retry_after: seconds after which it may be asked again, where it said so.
        passing: whether asking again may help.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        advice: str = "",
        fields: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        passing: bool = False,
    ) -> None:
        self.status = status
        self.advice = advice
        self.fields = dict(fields or {})
        self.retry_after = retry_after
        self.passing = passing
        super().__init__(f"{message}: {advice}" if advice else message)


class BotFailed(RecallLabError):
    """A bot has failed for good: Recall.ai calls it ``fatal``.

    Attributes:
        bot: its id.
        sub_code: why, for a machine; ``""`` where Recall.ai did not say.
        message: why, for a person; ``""`` where Recall.ai did not say.
        steps: what it had gone through.
    """

    def __init__(self, bot: str, sub_code: str, message: str, steps: Sequence[str] = ()) -> None:
        self.bot = bot
        self.sub_code = sub_code
        self.message = message
        self.steps = list(steps)
        why = ": ".join(shortened(text, 200) for text in (sub_code, message) if text)
        super().__init__(
            f"bot {bot} has failed ({why or 'no reason given'}), after "
            f"{shortened(', '.join(self.steps[:-1]), 200) or 'nothing else'}: what to do is under "
            "that code at https://docs.recall.ai/docs/sub-codes; then create another bot"
        )


class CaptureError(RecallLabError):
    """Something about a capture on disk."""


class CaptureNotFound(CaptureError, FileNotFoundError):
    """There is no capture at the path.

    Attributes:
        path: where it was looked for.
    """

    def __init__(self, path: object, hint: str) -> None:
        self.path = str(path)
        super().__init__(f"no capture at {str(path)!r}: {hint}")

    def __str__(self) -> str:  # OSError would print only its errno form
        return str(self.args[0])


class MissingTimestamps(CaptureError, ValueError):
    """What was asked for needs the times of packets, and the capture has none.

    Attributes:
        stem: the stream.
    """

    def __init__(self, stem: str, missing: str) -> None:
        self.stem = stem
        super().__init__(
            f"{stem}: {missing}; the times of packets are in the .idx beside the .bin, "
            "which a receiver of recall_lab writes"
        )


class NotRealTime(CaptureError, ValueError):
    """Arrival times say nothing of the call: its packets came at another speed.

    Attributes:
        stem: the stream.
        pace: how fast the media clock ran against arrival; infinite for all at once.
    """

    def __init__(self, stem: str, pace: float) -> None:
        self.stem = stem
        self.pace = pace
        fast = "at once" if pace > 1e6 else f"{pace:,.2f} times as fast as it was spoken"
        super().__init__(
            f"{stem} was replayed: its audio came {fast}. Jitter, delay and drift against our "
            "clock would say nothing of the network; gaps, sound and the sender's clocks are told "
            "all the same. To measure arrival, capture a call, or simulate with speed=1"
        )


class StreamNotFound(CaptureError, LookupError):
    """The receiver has no such stream, or several and it was not said which.

    Attributes:
        choices: the streams there are, as ``recording`` or ``recording.participant``.
    """

    def __init__(self, wanted: str, choices: Sequence[str], why: str = "") -> None:
        self.wanted = wanted
        self.choices = list(choices)
        listed = ", ".join(self.choices[:10]) + ", ..." * (len(self.choices) > 10)
        there = f"there are: {listed}" if self.choices else why or "nothing has been received yet"
        super().__init__(f"{wanted}: {there}")


class CaptureLocked(CaptureError):
    """Another writer holds the capture: there can be only one.

    Attributes:
        path: the index file that is locked.
        holder: who holds it, in words.
    """

    def __init__(self, path: object, holder: str) -> None:
        self.path = str(path)
        self.holder = holder
        super().__init__(
            f"{str(path)!r} is being written by {holder}: stop that receiver, or wait until five "
            "minutes after its last packet; to capture meanwhile, use another directory"
        )


class LimitReached(CaptureError):
    """A receiver keeps no more of something, because its limits say so.

    Attributes:
        reason: one short stable word for counting: ``quota``, ``reserve``, ``streams``.
        limit: which of the ``Limits`` it was.
    """

    def __init__(self, reason: str, why: str, limit: str) -> None:
        self.reason = reason
        self.limit = limit
        super().__init__(f"{why}: raise limits.{limit} of the receiver if more is to be taken")


class StorageFailed(CaptureError, OSError):
    """A disk or a store did not take or give what it should; what was kept is untouched.

    Attributes:
        path: the file.
        cause: the operating system's error, or the store's.
    """

    def __init__(self, path: object, cause: OSError, doing: str = "write") -> None:
        self.path = str(path)
        self.cause = cause
        what = f"could not {doing} {str(path)!r}: {cause.strerror or cause}"
        room = " (make room, or choose another directory)" * (doing == "write")
        super().__init__(cause.errno, what + room)


class ReceiverError(RecallLabError):
    """Something about a running, or not running, receiver."""


class PortInUse(ReceiverError, OSError):
    """Another program listens on the port.

    Attributes:
        port: the port.
        holder: who listens there, in words.
    """

    def __init__(self, port: int, holder: str) -> None:
        self.port = port
        self.holder = holder
        super().__init__(
            f"port {port} is in use by {holder}: stop it, or choose another port "
            "(port=0 takes any free one)"
        )


class ReceiverFailed(ReceiverError):
    """The receiver could not start, or has died.

    Attributes:
        log: the last lines of the receiver's own log, if it left any.
    """

    def __init__(self, message: str, log: str = "") -> None:
        self.log = log
        super().__init__(f"{message}\n{log}" if log else message)


class TunnelFailed(ReceiverError):
    """No public address could be had for the receiver; says why and what to do."""


class WaitTimeout(ReceiverError, TimeoutError):
    """What was waited for did not happen in time.

    Attributes:
        seen: what had happened by then, in numbers.
    """

    def __init__(self, message: str, **seen: Any) -> None:
        self.seen = seen
        super().__init__(message)
