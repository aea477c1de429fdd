"""Play audio over a real websocket exactly as the bot would send it.

    truth = rl.simulate("data/standup.wav", rx.url, faults=rl.Faults(loss=0.02, seed=7))

It returns the truth: a row for every packet of the call, with what was done to it. What arrived
can be held against that.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait
from typing import Any, Protocol, Self, cast

import pandas as pd
from pydantic import SecretStr
from tqdm import tqdm

from recall_lab.configuration import hidden
from recall_lab.errors import ReceiverFailed
from recall_lab.simulator.bot import Bot, Source
from recall_lab.simulator.faults import Faults
from recall_lab.wire.messages import ArtifactForm, Participant


class Playable(Protocol):
    """A call that can be played: one stream, or a whole meeting."""

    recording: str

    @property
    def done(self) -> int:
        """Messages dealt with so far."""

    @property
    def total(self) -> int:
        """Messages in all; 0 until the connection is open."""

    async def play(self) -> pd.DataFrame:
        """Play it and return the truth."""


class Simulation:
    """A stand-in bot that plays in the background, in a thread with an event loop of its own.

    Made by :func:`start_simulation`. Leaving it as a context manager stops it.

    Attributes:
        recording: id of the recording it plays.
    """

    def __init__(self, bot: Playable) -> None:
        self._bot = bot
        self.recording = bot.recording
        self._truth: Future[pd.DataFrame] = Future()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stand-in bot", daemon=True)
        self._thread.start()
        self._ready.wait()

    @property
    def done(self) -> bool:
        """Whether the call is over."""
        return self._truth.done()

    @property
    def progress(self) -> tuple[int, int]:
        """Messages dealt with so far, and all of them (0 until the bot is connected)."""
        return self._bot.done, self._bot.total

    def wait(self, timeout: float | None = None) -> pd.DataFrame:
        """Return the truth once the call is over (see :func:`simulate`).

        Raises:
            TimeoutError: when it is not over in time.
            ReceiverFailed: when nobody answered.
        """
        return self._truth.result(timeout)

    def pause(self, seconds: float) -> None:
        """Wait for so many seconds, or until the call is over if that is sooner."""
        wait([self._truth], seconds)

    def stop(self) -> None:
        """End the call now; what was said until then has been sent."""
        with contextlib.suppress(RuntimeError):  # the call is over, and its loop closed
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if not self.done:
            self.stop()

    def __repr__(self) -> str:
        done, total = self.progress
        state = "over" if self.done else "playing"
        return f"<Simulation {state}: {self.recording}, {done:,} of {total:,} messages>"

    def _run(self) -> None:
        async def main() -> pd.DataFrame:
            self._loop = asyncio.get_running_loop()
            self._task = cast("asyncio.Task[pd.DataFrame]", asyncio.current_task())
            self._ready.set()
            return await self._bot.play()

        try:
            with asyncio.Runner() as runner:
                self._truth.set_result(runner.run(main()))
        except asyncio.CancelledError:
            self._truth.set_exception(ReceiverFailed("the simulation was stopped"))
        except BaseException as error:
            self._truth.set_exception(error)


def start_simulation(source: Source, url: str | SecretStr, **options: Any) -> Simulation:
    """Start a stand-in bot in the background and return at once.

    Args and errors are those of :func:`simulate`.

    Example:
        >>> bot = start_simulation("data/standup.wav", rx.url, speed=4)  # doctest: +SKIP
        >>> rx.packets()  # doctest: +SKIP
        >>> truth = bot.wait()  # doctest: +SKIP
    """
    return Simulation(Bot(source, url, **options))


def simulate(
    source: Source,
    url: str | SecretStr,
    *,
    speed: float = 1.0,
    packet: float | Sequence[float] | None = None,
    faults: Faults | None = None,
    recording: str | None = None,
    participant: Participant | int | None = None,
    form: ArtifactForm = "raw",
    relative: float = 0.0,
    secret: str | SecretStr | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Play audio to a receiver as the bot would, and return the truth.

    Works in a notebook cell and in a program; an interrupt ends it. Packets are scheduled from
    the start of the call, so that delays do not add up.

    Args:
        source: path of a WAV, FLAC, OGG, MP3 or ``.bin`` file; int16 samples at 16 kHz; or a
            Capture, which is replayed packet by packet.
        url: of the receiver, ``rx.url``, or ``rx.bot_url`` where it demands a token. The bot
            tries 30 times, every 3 s, to connect.
        speed: 1 is real time, 10 ten times as fast (all waiting times shrink alike),
            ``math.inf`` as fast as the receiver takes it. Delay, jitter and the drift against our
            own clock mean something at 1 only.
        packet: length of the packets in seconds, or several lengths to draw from. None: 0.2, or
            a Capture's own.
        faults: what goes wrong; nothing by default.
        recording: id of the recording; drawn by default.
        participant: whose separate stream this is: an id, or a Participant. None: mixed.
        form: which of the two documented artifact keys the messages have.
        relative: relative time of the first packet, in seconds; a Capture keeps its own.
        secret: of a workspace, ``whsec_...``, to sign the connections with.
        progress: show a progress bar.

    Returns:
        The truth, one row for each message sent and each packet that was not, in the order of
        sending: the columns of :func:`recall_lab.simulator.plan.plan`, and ``connection``
        (int64: number of the bot's connection, from 1; 0 if not sent; a receiver counts only those
        that brought a packet) and ``sent``
        (datetime64[ns, UTC]: when it was handed to the socket; NaT if not).

    Raises:
        InvalidArgument: for an argument that can't be.
        InvalidAudio: when the source can't be read.
        ReceiverFailed: when nobody answers at `url`, or the receiver does not let the bot in.

    Example:
        >>> truth = simulate("data/standup.wav", rx.url, speed=10)  # doctest: +SKIP
        >>> truth["outcome"].value_counts()  # doctest: +SKIP
    """
    url, secret = hidden(url), None if secret is None else hidden(secret)
    bot = Bot(
        source,
        url,
        speed=speed,
        packet=packet,
        faults=faults,
        recording=recording,
        participant=participant,
        form=form,
        start=relative,
        secret=secret,
    )
    return play_out(bot, progress=progress)


def play_out(call: Playable, *, progress: bool) -> pd.DataFrame:
    """Play a call to its end and return the truth; an interrupt ends it."""
    with Simulation(call) as playing, tqdm(disable=not progress, unit=" packets", delay=0.2) as bar:
        while not playing.done:
            playing.pause(0.1)
            _show(bar, playing.progress)
        return playing.wait()


async def simulate_async(source: Source, url: str | SecretStr, **options: Any) -> pd.DataFrame:
    """:func:`simulate` for asyncio programs: plays in the running loop."""
    return await Bot(source, url, **options).play()


def _show(bar: Any, progress: tuple[int, int]) -> None:
    done, total = progress
    bar.total = total or None
    bar.set_description("" if total else "waiting for the receiver", refresh=not total)
    bar.update(done - bar.n)
