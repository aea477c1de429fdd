"""A network that cuts, stalls, resets and crawls: is exactly what came through it kept?

Six live sources, 50 packets a second each, connect to a receiver through a proxy that does to
each connection whatever is drawn: bytes go on as they come, in pieces at a crawl, one by one,
80 ms late, not for a while; after any byte, in the middle of a handshake too, it is cut, reset,
or one side vanishes without a word while the bot sends on into nothing. A bot connects again and
goes on with what is due by then; it sends nothing twice. Now and then it leaves packets out.

The truth is made of the bots' notes of what they wrote and the proxy's books of what it passed
on: a packet that passed whole must be kept, byte for byte and once, and no other. The gaps found
afterwards must be what is missing from the truth, each to the sample and with its cause.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import recall_lab as rl
from benchmarks.torture.company import numbers_of, place, wrong_audio
from benchmarks.torture.figures import Figure, Scale
from benchmarks.torture.live import SAMPLES, STEP, Bot, recording
from benchmarks.torture.proxy import ENDS, Proxy

BOTS = 6


@dataclass
class Truth:
    """What passed whole of one bot: which packet, and by which of its connections."""

    passed: dict[int, int]
    total: int

    def spans(self) -> dict[tuple[int, int], str]:
        """Return what is missing between its packets, in samples, and why."""
        found = {}
        numbers = sorted(self.passed)
        for before, after in itertools.pairwise(numbers):
            if after > before + 1:
                same = self.passed[before] == self.passed[after]
                span = ((before + 1) * SAMPLES, after * SAMPLES)
                found[span] = "loss" if same else "reconnect"
        return found


async def rage(port: int, draw: random.Random, seconds: float) -> tuple[list[Bot], Proxy]:
    """Play all bots through the proxy; return them and it, with their books."""
    async with Proxy(port, draw, longest=0.8) as proxy:
        bots = [
            Bot(number, proxy.port, random.Random(draw.random()), rest=0.03 + 0.05 * number)
            for number in range(BOTS)
        ]
        await asyncio.gather(*(bot.play(seconds) for bot in bots))
    return bots, proxy


def truths(bots: list[Bot], proxy: Proxy, seconds: float) -> list[Truth]:
    """Put the bots' notes and the proxy's books together."""
    found = [Truth({}, round(seconds / STEP)) for _ in bots]
    sessions = [(session, bot.number) for bot in bots for session in bot.sessions]
    sessions.sort(key=lambda pair: pair[0].order)
    for session, bot in sessions:
        way = proxy.ways[session.port].pop(0)  # a port may come again: they are in order
        for number, end in session.packets:
            if end <= way.passed:
                found[bot].passed[number] = session.order
    return found


def compare(folder: Path, truth: Truth, bot: int) -> dict[str, int]:
    """Return what is wrong with the capture of a bot, counted."""
    capture = rl.load(folder / f"{recording(bot)}.bin")
    kept = numbers_of(capture).tolist()
    found = rl.gaps(capture, call=(0.0, truth.total * STEP))
    holes = found[found["kind"] == "gap"]
    inner = holes[holes["before"].notna() & holes["after"].notna()]
    causes = {
        (round(row.start / STEP) * SAMPLES, round(row.end / STEP) * SAMPLES): row.cause
        for row in inner.itertuples()
    }
    spans = truth.spans()
    missing = (truth.total - len(truth.passed)) * SAMPLES
    return {
        "lost": len(truth.passed.keys() - set(kept)),
        "invented": len(set(kept) - truth.passed.keys()),
        "twice": len(kept) - len(set(kept)),
        "other bytes": wrong_audio(capture, bot),
        "samples astray": abs(int(holes["samples"].sum()) - missing),
        "other gaps": len(causes.keys() ^ spans.keys()) + len(found) - len(holes),
        "other causes": sum(causes.get(span, why) != why for span, why in spans.items()),
        "gaps": len(spans),
        "kept": len(kept),
        "damage": bool(capture.damage),
    }


def run(scale: Scale) -> Iterator[Figure]:
    """Play, compare, tell."""
    seconds = float(scale.pick(5, 240))
    draw = random.Random(scale.seed)
    with place() as scratch:
        folder = scratch / "captures"
        with rl.receive(0, folder) as rx:
            bots, proxy = asyncio.run(rage(rx.port, draw, seconds))
            hung_up = sum(way.hung_up for ways in proxy.ways.values() for way in ways)
            found = truths(bots, proxy, seconds)
            passed = sum(len(truth.passed) for truth in found)
            _settle(rx, passed)
            rejected = sum(rx.status.rejected.values())
        sums = [compare(folder, truth, bot) for bot, truth in enumerate(found)]
    total = {name: int(np.sum([each[name] for each in sums])) for name in sums[0]}
    ends = {deed: proxy.deeds[deed] for deed in ENDS}
    note = ", ".join(f"{count} {deed}" for deed, count in ends.items())
    yield Figure("connections broken", sum(ends.values()), ">=", scale.pick(8, 600), note=note)
    yield Figure("packets that passed whole", total["kept"], ">=", scale.pick(400, 25_000))
    yield Figure("of these, not kept", total["lost"], "=", 0)
    yield Figure("kept, but did not pass whole", total["invented"], "=", 0)
    yield Figure("kept twice", total["twice"], "=", 0)
    yield Figure("kept with other bytes than sent", total["other bytes"], "=", 0)
    yield Figure("messages rejected, captures damaged", rejected + total["damage"], "=", 0)
    yield Figure("connections that the receiver broke", hung_up, "=", 0)
    yield Figure("gaps to be found", total["gaps"], ">=", scale.pick(8, 600))
    yield Figure("gaps too many, too few or elsewhere", total["other gaps"], "=", 0)
    yield Figure("samples by which gaps miss what did not pass", total["samples astray"], "=", 0)
    yield Figure("gaps with another cause than was done", total["other causes"], "=", 0)


def _settle(rx: rl.Receiver, packets: int) -> None:
    """Wait until all have been kept, and a little for such as should not be."""
    end = time.monotonic() + 10
    while rx.status.packets < packets and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.3)
