"""Show the live panel in a notebook; a thread keeps it current.

It is two outputs with a display id each, a page and a picture, so that both stay in the saved
notebook as they were last, and need nothing to be read: no widget, no port, no kernel.
"""

from __future__ import annotations

import base64
import contextlib
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from recall_lab.arguments import Duration, duration
from recall_lab.errors import MissingExtra, NoNotebook
from recall_lab.notebook.followed import Stream
from recall_lab.notebook.live import Live, Look, Receiving
from recall_lab.notebook.live_picture import SECONDS, Picture
from recall_lab.notebook.panel import html_of, name_of, text_of

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

EVERY: Final = 1.0
"""Seconds between two updates, at least."""

PICTURED: Final = 4
"""Streams in the picture: those that were loudest of late."""

_SHARE: Final = 0.12  # of one core that updates may take

_TURN: Final = 0.0005  # s
_turns, _updating, _usual = threading.Lock(), 0, sys.getswitchinterval()
_panels: weakref.WeakValueDictionary[str, Panel] = weakref.WeakValueDictionary()


def watch(receiver: Receiving, seconds: Duration | None = None) -> Panel:
    """Put a panel into the notebook that shows what a receiver is doing, and keep it current.

    Returns at once. The panel is brought up to date about once a second from a thread, also
    while a cell is busy. It ends by itself when the receiver stops, and its last state stays in
    the notebook. A receiver has one panel: showing another ends the one before.

    Args:
        receiver: a receiver that runs, or has run.
        seconds: after how long the panel ends; None: with the receiver.

    Returns:
        The panel; :meth:`Panel.stop` ends it, and leaves the receiver alone.

    Raises:
        NoNotebook: where there is none; ``recall-lab status`` is for terminals.
        InvalidArgument: for a time that can't be.

    Example:
        >>> rx = receive(port=3456)  # doctest: +SKIP
        >>> watch(rx)  # doctest: +SKIP
    """
    if seconds is not None:
        seconds = duration("seconds", seconds, above=True)
    try:
        from IPython import get_ipython  # noqa: PLC0415 - comes with an extra only
    except ImportError as error:
        raise MissingExtra("lab", "IPython") from error
    if get_ipython() is None:
        raise NoNotebook("the live panel", "in a terminal, recall-lab status says the same")
    earlier = _panels.get(receiver.url)
    if earlier is not None:
        earlier.stop()
    panel = _panels[receiver.url] = Panel(receiver, seconds)
    return panel


class Panel:
    """A panel in a notebook. Made by :func:`watch`.

    Attributes:
        updates: how often it was brought up to date.
        busy: seconds of this process's time that the last update took.
        error: why the last update failed, if it did; "" otherwise.
    """

    def __init__(self, receiver: Receiving, seconds: float | None = None) -> None:
        self.updates = 0
        self.busy = 0.0
        self.error = ""
        self._receiver = receiver
        self._until = None if seconds is None else time.monotonic() + seconds
        self._live = Live(receiver)
        self._ending = threading.Event()
        self._picture: Picture | None = None
        self._pictured: list[tuple[str, int | None]] = []
        self._page = _show({"text/html": "", "text/plain": ""})
        # at once, or it would come out under the cell that runs when the first audio comes
        self._image = _show({"text/plain": "no audio has come yet"})
        self._update(last=False)
        self._thread = threading.Thread(target=self._run, name="recall_lab panel", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it is still brought up to date."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Bring it up to date once more and leave it at that."""
        self._ending.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(10 * EVERY)

    def __repr__(self) -> str:
        return f"<Panel of {self._receiver.url}: {'live' if self.alive else 'ended'}>"

    def _ipython_display_(self) -> None:
        """It is on the page already."""

    def _run(self) -> None:
        over = False
        while not over:
            over = self._over()
            try:
                self._update(last=over)
                self.error = ""
            except Exception as error:  # a thread has nobody to raise to
                self.error = f"{type(error).__name__}: {error}"
                said = "".join(traceback.format_exception(error))
                text = f"the panel could not be brought up to date: {self.error}\n{said}"
                self._page.update({"text/plain": text}, raw=True)  # type: ignore[no-untyped-call]

    def _over(self) -> bool:
        """Wait until an update is due; tell whether it is the last."""
        until = time.monotonic() + max(EVERY, self.busy / _SHARE)
        while time.monotonic() < until:
            if self._ending.wait(min(0.25, EVERY)):
                return True
            with quick_turns():
                if not self._receiver.alive:
                    return True
            if self._until is not None and time.monotonic() >= self._until:
                return True
        return False

    def _update(self, *, last: bool) -> None:
        with quick_turns():
            self._bring_up_to_date(last=last)

    def _bring_up_to_date(self, *, last: bool) -> None:
        begin = time.thread_time()
        look = self._live.look()
        if last:
            self._live.tell_all()
            look = self._live.look()
        self._page.update(  # type: ignore[no-untyped-call]
            {"text/html": html_of(look), "text/plain": text_of(look)}, raw=True
        )
        self._draw(look)
        self.updates += 1
        self.busy = time.thread_time() - begin

    def _draw(self, look: Look) -> None:
        streams = pictured(look)
        if not streams:
            return
        names = [name_of(stream) for stream in streams]
        keys = [(stream.recording, stream.participant) for stream in streams]
        if self._picture is None or self._pictured != keys:
            self._picture, self._pictured = Picture(names), keys
        newest: dict[str, float] = {}
        for stream in look.streams:
            newest[stream.recording] = max(newest.get(stream.recording, stream.end), stream.end)
        png = self._picture.draw(
            [(partial(self._live.last, stream), newest[stream.recording]) for stream in streams]
        )
        data = {
            "image/png": base64.b64encode(png).decode(),
            "text/plain": f"the last {SECONDS:.0f} s of {', '.join(names)}",
        }
        self._image.update(data, raw=True)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def quick_turns() -> Iterator[None]:
    """Let threads take turns more often for as long as an update lasts.

    Every file that is read and every array that is worked on lets go of the interpreter, and to
    get it back from a cell that computes takes a turn: 5 ms by default, hundreds of times.
    """
    global _usual, _updating
    with _turns:
        if not _updating:
            _usual = sys.getswitchinterval()
            sys.setswitchinterval(min(_usual, _TURN))
        _updating += 1
    try:
        yield
    finally:
        with _turns:
            _updating -= 1
            if not _updating:
                sys.setswitchinterval(_usual)


def pictured(look: Look) -> list[Stream]:
    """Return the streams that are worth a picture, in the order in which they began."""
    loudest = sorted(look.streams, key=lambda stream: -stream.loudness)[:PICTURED]
    return [stream for stream in look.streams if stream in loudest]


def _show(data: dict[str, Any]) -> DisplayHandle:
    from IPython.display import display  # noqa: PLC0415 - comes with an extra only

    handle: DisplayHandle = display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]
    return handle
