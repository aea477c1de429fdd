"""The face a notebook sees: start a receiver, look at what it has kept, stop it.

The server behind it runs in a child process or a thread (:mod:`recall_lab.receiver.hosts`). The
frames and captures shown here are read from the files on disk, live, in both.
"""

from __future__ import annotations

import atexit
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import pandas as pd

from recall_lab.capture.capture import Capture
from recall_lab.capture.frame import empty_frame
from recall_lab.errors import InvalidArgument, PortInUse, ReceiverFailed, WaitTimeout
from recall_lab.receiver.hosts import Host, ProcessHost, ThreadHost
from recall_lab.receiver.settings import Settings, Status
from recall_lab.receiver.streams import Streams
from recall_lab.text import counted, html_table, printable
from recall_lab.wire.pcm import seconds_of

_POLL = 0.05  # seconds between two looks at the files while waiting

# Kept through %autoreload, which runs this module again in the same namespace. That someone
# holds the receiver is also what keeps a child from lingering out.
_receivers: dict[str, Receiver] = globals().get("_receivers", {})


def receive(
    port: int = 3456,
    directory: str | Path = "captures",
    host: str = "127.0.0.1",
    mode: str = "process",
    *,
    linger: float = 600.0,
    sync: float = 1.0,
) -> Receiver:
    """Start to receive in the background and return at once.

    Running the cell again, after a kernel restart too, gives the receiver that is already
    running when the settings are the same; when they differ, it is stopped and a new one starts
    on the same port. It is never moved to another port.

    Args:
        port: port to listen on; 0 takes any free one (see ``Receiver.port``).
        directory: where captures go; made if it is not there.
        host: address to listen on; the default is reachable from this machine only.
        mode: ``"process"``: in a child process, which a busy kernel does not disturb and which
            outlives it. ``"thread"``: in a thread of this process, for places where no child
            can run. A thread loses nothing either, but while the kernel computes in pure Python
            it is late to note when a packet arrived: by some 10 ms with one stream, by seconds
            with twenty. Latency and jitter measured then are the kernel's, not the network's.
        linger: seconds that a child goes on with no notebook attached and no bot connected.
        sync: seconds between two syncs of a capture to the disk: what a power cut can cost. With
            many hundreds of streams it takes longer; ``status.unsynced`` says how much is due.

    Raises:
        PortInUse: when another program has the port, or another notebook's receiver.
        ReceiverFailed: when the receiver can't start; says why.
        InvalidArgument: for a setting that can't be.

    Example:
        >>> rx = receive(port=3456, directory="captures")  # doctest: +SKIP
        >>> rx.url  # doctest: +SKIP
        'ws://127.0.0.1:3456/'
    """
    settings = Settings.checked(
        host=host, port=port, directory=directory, mode=mode, linger=linger, sync=sync
    )
    found = _make_way(settings)
    if found is None:
        try:
            found = Receiver(_start(settings))
        except PortInUse:
            # two cells may have started the same receiver at once: the other one's will do
            found = _make_way(settings)
            if found is None:
                raise
    _receivers[found.id] = found
    return found


def running() -> list[Receiver]:
    """Return all receivers of this user that run, in this process or in children.

    Example:
        >>> for rx in running():  # doctest: +SKIP
        ...     rx.stop()
    """
    here = {rx.id: rx for rx in _receivers.values() if rx.alive}
    for host in ProcessHost.running():
        if host.id in here:
            host.close()
        else:
            here[host.id] = Receiver(host)
    return list(here.values())


class Receiver:
    """A receiver that runs, or has run. Made by :func:`receive`.

    A context manager: leaving it stops the receiver.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._last = Status(state="running", url=_url(host), started=host.started)
        self._stopped = False
        self._streams = Streams(self.directory, host.id, host.started)

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
        """Where bots connect."""
        return _url(self._host)

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

        Only what is new since the last call is read.

        Args:
            recording: its id; by default the recording that began last.
            participant: whose separate stream; None is the mixed one, or the only one.

        Raises:
            StreamNotFound: when there is no such stream, or it has to be said whose.
        """
        if recording is None and participant is None and not self._streams.found():
            return empty_frame()
        follower = self._streams.one(recording, participant)
        follower.poll()
        return follower.frame()

    def capture(self, recording: str | None = None, participant: int | None = None) -> Capture:
        """Return one stream as a capture of all that has been kept so far.

        Args and errors are those of :meth:`packets`; before the first packet there is none.
        """
        follower = self._streams.one(recording, participant)
        follower.poll()
        return follower.capture()

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
                    f"after {timeout:g} s there were {kept} packets and {held:.1f} s of audio",
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
            _receivers.pop(self.id, None)
        return self._last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        status = self.status
        where = f"at {self.url}" if status.state == "running" else f"({self.url})"
        wrong = f", last error: {status.last_error}" if status.last_error else ""
        return (
            f"<Receiver {status.state} {where} into {_shown(self.directory)}: "
            f"{counted(status.packets, 'packet')}, {counted(status.recordings, 'recording')}, "
            f"{sum(status.rejected.values()):,} rejected{wrong}>"
        )

    def _repr_html_(self) -> str:
        status = self.status
        rejected = ", ".join(f"{n:,} {reason}" for reason, n in status.rejected.items())
        facts = {
            "state": status.state,
            "url": self.url,
            "directory": _shown(self.directory),
            "connections": f"{status.connections} open, {status.connected} ever",
            "recordings": f"{status.recordings} ({counted(status.streams, 'stream')})",
            "packets": f"{status.packets:,} ({status.packets_per_second:g} a second)",
            "audio": f"{seconds_of(status.bytes):,.1f} s",
            "missing": f"{status.missing:.3f} s in {counted(status.gaps, 'gap')}"
            if status.gaps
            else "nothing",
            "rejected": rejected or "none",
            "last error": status.last_error or "none",
        }
        return html_table("Receiver", facts)


def _make_way(settings: Settings) -> Receiver | None:
    """Return the receiver that already runs with these settings; stop one that has our port.

    Raises:
        PortInUse: when that one is in use by another notebook.
    """
    for found in running():
        if found._host.settings == settings:
            return found
        if settings.port and found.port == settings.port:
            others = found._host.others()
            if others:
                raise PortInUse(
                    settings.port,
                    f"a receiver into {found._host.settings.directory!r} that process "
                    f"{others[0]} uses too (the same settings would share it)",
                )
            found.stop()
        elif found.id not in _receivers:
            found._host.close()
    return None


def _start(settings: Settings) -> Host:
    return (ProcessHost.start if settings.mode == "process" else ThreadHost.start_with)(settings)


@atexit.register
def _stop_threads() -> None:
    """Close the captures of receivers that end with this process."""
    for receiver in list(_receivers.values()):
        if receiver.mode == "thread" and receiver.alive:
            receiver.stop()


def _shown(folder: Path) -> str:
    """Return a folder as a person would name it from here."""
    here = Path.cwd()
    return printable(str(folder.relative_to(here) if folder.is_relative_to(here) else folder))


def _url(host: Host) -> str:
    name = host.settings.host
    return f"ws://{f'[{name}]' if ':' in name else name}:{host.port}/"
