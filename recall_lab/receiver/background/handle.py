"""Handle on a running receiver: read what it has kept, stop it.

The server runs in a child process or a thread (:mod:`~.background.hosts`). The frames and captures
that the handle gives are read from the files on disk, live, in both.
"""

from __future__ import annotations

import time
import warnings
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import pandas as pd
from pydantic import SecretStr

from recall_lab.capture.capture import Capture
from recall_lab.capture.frame import empty_frame
from recall_lab.control.settings import Settings
from recall_lab.control.status import Status
from recall_lab.errors import InvalidArgument, ReceiverFailed, StreamNotFound, WaitTimeout
from recall_lab.receiver.access import with_token
from recall_lab.receiver.background.hosts import Host
from recall_lab.receiver.background.streams import Streams
from recall_lab.text import counted, excerpt, html_table, printable, tallied
from recall_lab.wire.pcm import seconds_of

_POLL = 0.05  # seconds between two looks at the files while waiting


class Receiver:
    """A receiver that runs, or has run. Made by :func:`receive`.

    A context manager: leaving it stops the receiver, or lets go of it while another notebook or
    script uses it.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._last = Status(state="running", url=_url(host), started=host.started)
        self._stopped = False
        self._streams = Streams(self.directory, host.id)

    @property
    def settings(self) -> Settings:
        """How it was asked to run."""
        return self._host.settings

    @property
    def id(self) -> str:
        """Id of this run of the receiver."""
        return self._host.id

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._host.port

    @property
    def url(self) -> str:
        """Where bots on this machine connect; without the token."""
        return _url(self._host)

    @property
    def public_url(self) -> str:
        """Where bots elsewhere connect, ``wss://...``, without the token; ``""`` for nowhere."""
        return self.status.public_url

    @property
    def bot_url(self) -> SecretStr:
        """What a bot is told to connect to: the public address if there is one, and the token.

        It shows as ``***``; :func:`recall_lab.simulate` and ``rl.bots.create`` take it as it is.

        Raises:
            ReceiverFailed: when the receiver does not answer.
        """
        return with_token(self.public_url or self.url, self._host.token()[0])

    @property
    def directory(self) -> Path:
        """Where the captures are."""
        return Path(self._host.settings.directory)

    @property
    def mode(self) -> str:
        """``"process"`` or ``"thread"``."""
        return self._host.settings.mode

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        return not self._stopped and self._host.alive()

    @property
    def status(self) -> Status:
        """How it is: connections, recordings, packets a second, bytes, rejects, last error.

        Never raises: once the receiver has stopped or died, this is the last that was known,
        and ``state`` says so.
        """
        if not self._stopped:
            try:
                self._last = self._host.status()
            except ReceiverFailed as error:
                self._last = msgspec.structs.replace(
                    self._last, state="failed", last_error=str(error)
                )
        return self._last

    def recordings(self) -> pd.DataFrame:
        """Return what has been kept so far: one row a stream, by time of its first packet.

        Returns:
            Frame with the columns ``recording`` (str), ``participant`` (Int64, NA: the mixed
            stream), ``name`` (str), ``packets`` (int64), ``seconds`` (float64, audio held),
            ``created`` (datetime64[ns, UTC]) and ``path`` (str).
        """
        return self._streams.table()

    def packets(self, recording: str | None = None, participant: int | None = None) -> pd.DataFrame:
        """Return the packets frame of one stream so far (see :mod:`recall_lab.capture.frame`).

        Only what is new since the last call is read. While there is none, and something came that
        was refused, a warning says so.

        Args:
            recording: its id; by default the recording that began last.
            participant: whose separate stream; None is the mixed one, or the only one.

        Raises:
            StreamNotFound: when there is no such stream, or it has to be said whose.
        """
        if recording is None and participant is None and not self._streams.found():
            refused = _refusals(self.status)
            if refused:
                warnings.warn(f"there are no packets: {refused}", stacklevel=2)
            return empty_frame()
        follower = self._streams.one(recording, participant)
        follower.poll()
        return follower.frame()

    def capture(self, recording: str | None = None, participant: int | None = None) -> Capture:
        """Return one stream as a capture of all that has been kept so far.

        Args and errors are those of :meth:`packets`; before the first packet there is none.
        """
        if not self._streams.found():
            raise StreamNotFound("there is no stream", [], _refusals(self.status))
        follower = self._streams.one(recording, participant)
        follower.poll()
        return follower.capture()

    def newest(self) -> Capture:
        """Return the stream that began last as a capture of all that has been kept so far.

        It is what analyses and plots take when they are given a receiver.

        Raises:
            StreamNotFound: before the first packet.
        """
        streams = self.recordings()
        if streams.empty:
            raise StreamNotFound("there is no stream", [], _refusals(self.status))
        last = streams.iloc[-1]
        participant = last["participant"]
        return self.capture(
            str(last["recording"]), None if pd.isna(participant) else int(participant)
        )

    def wait(
        self,
        *,
        packets: int | None = None,
        seconds: float | None = None,
        idle: float | None = None,
        timeout: float | None = None,
    ) -> int:
        """Wait until something has happened; an interrupt (Ctrl-C, the stop button) ends it.

        Exactly one of the first three is needed.

        Args:
            packets: until this many packets have been kept, over all streams.
            seconds: until some stream holds this many seconds of audio.
            idle: until nothing has come for this many seconds, after at least one packet.
            timeout: seconds to wait at most; None for as long as it takes.

        Returns:
            Packets kept so far.

        Raises:
            WaitTimeout: when it did not happen in time.
            ReceiverFailed: when the receiver has died meanwhile.
        """
        given = [x for x in (packets, seconds, idle) if x is not None]
        if len(given) != 1 or not isinstance(given[0], int | float) or not given[0] >= 0:
            raise InvalidArgument(
                "packets, seconds, idle", (packets, seconds, idle), "one number, not negative"
            )
        begin = changed = checked = time.monotonic()
        before = -1
        while True:
            kept, held = self._streams.kept()
            now = time.monotonic()
            if kept != before:
                before, changed = kept, now
            if (
                (packets is not None and kept >= packets)
                or (seconds is not None and held >= seconds)
                or (idle is not None and kept > 0 and now - changed >= idle)
            ):
                return kept
            if timeout is not None and now - begin >= timeout:
                raise WaitTimeout(
                    "; ".join(
                        filter(
                            None,
                            [
                                f"after {timeout:g} s there were {kept} packets and {held:.1f} s "
                                "of audio",
                                _refusals(self.status),
                            ],
                        )
                    ),
                    packets=kept,
                    seconds=held,
                )
            if now - checked > 1.0:
                checked = now
                if not self.alive:
                    raise ReceiverFailed(
                        f"the receiver has stopped with {kept} packets kept: "
                        f"{self.status.last_error or 'it was told to'}"
                    )
            time.sleep(_POLL)

    def expect(self, when: datetime) -> None:
        """Have the receiver stay for a bot that is to come; ``rl.bots.create(join_at=)`` does it.

        Args:
            when: until then, and `idle_timeout` after.
        """
        self._host.expect(when.timestamp())

    def stop(self) -> Status:
        """Stop receiving and close every capture; stopping twice is no mistake.

        Returns:
            The last status, with what went wrong if something did.
        """
        if not self._stopped:
            status = self._host.stop()
            if status.state == "failed":  # it could not say its last: keep what was known
                status = msgspec.structs.replace(
                    self._last, state="failed", last_error=status.last_error
                )
            self._last = status
            self._stopped = True
        return self._last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            shared = not self._stopped and self._host.others()
        except ReceiverFailed:  # it does not answer: stopping tells what is wrong
            shared = []
        if shared:
            self._host.close()
        else:
            self.stop()

    def __repr__(self) -> str:
        status = self.status
        url = status.public_url or self.url
        where = f"at {url}" if status.state == "running" else f"({url})"
        if status.auth_required:
            where += f", demanding {status.auth_required},"
        wrong = f", tunnel: {status.trouble}" if status.trouble else ""
        wrong += f", last error: {status.last_error}" if status.last_error else ""
        if status.refused:
            wrong = f", {counted(sum(status.refused.values()), 'connection')} refused{wrong}"
        if status.dropped:
            wrong = f", {counted(status.dropped, 'packet')} lost{wrong}"
        running = status.state == "running" and status.stays
        stays = f"; stays {status.stays}" if running else ""
        return (
            f"<Receiver {status.state} {where} into {_shown(self.directory)}: "
            f"{counted(status.packets, 'packet')}, {counted(status.recordings, 'recording')}, "
            f"{sum(status.rejected.values()):,} rejected{wrong}{stays}>"
        )

    def _repr_html_(self) -> str:
        status = self.status
        outside = {"public url": status.public_url} if status.public_url else {}
        if status.auth_required:
            outside["demands"] = status.auth_required
        if status.trouble:
            outside["tunnel"] = status.trouble
        facts = {
            "state": status.state,
            "url": self.url,
            **outside,
            "directory": _shown(self.directory),
            "stays": status.stays,
            "connections": f"{status.connections} open, {status.connected} ever",
            "recordings": f"{status.recordings} ({counted(status.streams, 'stream')})",
            "packets": f"{status.packets:,} ({status.packets_per_second:g} a second)",
            "audio": f"{seconds_of(status.bytes):,.1f} s",
            "missing": f"{status.missing:.3f} s in {counted(status.gaps, 'gap')}"
            if status.gaps
            else "nothing",
            "received, not kept": f"{status.dropped_s:.3f} s in {counted(status.dropped, 'packet')}"
            if status.dropped
            else "nothing",
            "rejected": tallied(status.rejected) or "none",
            "refused": tallied(status.refused) or "none",
            "came to nothing": tallied(status.visits) or "none",
            "last error": status.last_error or "none",
        }
        return html_table("Receiver", facts)


def _refusals(status: Status) -> str:
    """Say what came and was refused: nothing is kept then, which looks like silence; or ``""``."""
    told = []
    if status.rejected:
        count = counted(sum(status.rejected.values()), "message")
        why = f" ({excerpt(status.last_error, 300)[1:-1]})" if status.last_error else ""
        told.append(f"{count} came and were refused: {tallied(status.rejected)}{why}")
    if status.refused:
        count = counted(sum(status.refused.values()), "connection")
        demands = f"it demands {status.auth_required or 'no browser'}"
        told.append(f"{count} refused ({tallied(status.refused)}: {demands})")
    return "; ".join([*told, *status.hints])


def _shown(folder: Path) -> str:
    """Return a folder as a person would name it from here."""
    here = Path.cwd()
    return printable(str(folder.relative_to(here) if folder.is_relative_to(here) else folder))


def _url(host: Host) -> str:
    return host.settings.url(host.port)
