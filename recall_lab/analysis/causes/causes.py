"""Find the cause of each gap, and say in plain words by what evidence.

The rules stand in their order: the first that fits is taken. *Separate* is a stream of one
participant, *mixed* the one of all.

=============================  ================  ==============================================
rule                           cause             fits where
=============================  ================  ==============================================
packets without audio          silence           packets without audio stand in it and fill at
                                                 least half of it, and nobody certainly spoke
not kept                       dropped           the packet after it says that others came and
                                                 could not be kept, or the journal says so of
                                                 at least half of it
receiver restarted             receiver restart  different runs of the receiver kept the packets
                                                 on either side
closed in good order           mute              separate: the bot closed the connection before
                                                 it in good order (code 1000, 1001 or 1005) and
                                                 opened another, and nobody certainly spoke
connection changed             reconnect         the connection changed otherwise: it broke, or
                                                 was closed, and the bot came back
words                          loss              final transcripts have words in it: of the
                                                 participant (separate), of anybody (mixed)
heard beside                   loss              mixed: a separate stream of the recording has
                                                 audio in it
no packet beside it            unknown           there is no packet before it, or none after
connection not told            unknown           the packets do not say which connection
                                                 brought them
media clock stood              pause             the sender's wall clock and our own ran on
                                                 while its media clock stood
ceased to speak                mute              separate: by their own events the participant
                                                 ceased to speak or left, in it or in the 2 s
                                                 before
still speaking                 loss              separate: by their own events the participant
                                                 spoke when it began, or began to in it more
                                                 than 2 s before its end
somebody speaking              loss              mixed: by their events somebody spoke for the
                                                 first 2 s of it, or began to in it
too short                      loss              it is shorter than `mute`: the bot or its
                                                 network dropped packets (a websocket itself
                                                 loses nothing while it is open)
everybody silent               mute              mixed: everybody is known by events, and each
                                                 was silent or not there
long                           mute              separate: it lasts `mute` or longer, and the
                                                 sender's clocks ran on
nothing tells                  unknown           mixed: it lasts `mute` or longer, and nothing
                                                 tells a loss from the silence of all
=============================  ================  ==============================================

In a separate stream an open connection that brings nothing is how a muted participant looks. In
the mixed stream it is not: one generation of Recall.ai's documentation sends packets without
audio while all are silent or muted, the next sends nothing for the muted. So what nothing tells
there is *unknown*: unexplained, and counted apart from what is known to be lost.

Somebody *certainly spoke* where a transcript has words in the gap or another stream has audio:
whatever else is told, it was no silence, mute or pause. What the data can't tell: loss and
silence of equal length where nothing speaks of it (the wire numbers no packets), and what else
was lost right beside a reconnect or a mute (it is one gap with them). Time that passes on both
wall clocks while neither media clock nor samples move is no gap on the media clock, and has no
cause here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from recall_lab.analysis.causes.evidence import Evidence, Spans
from recall_lab.analysis.causes.rules import (
    Rule,
    ceased_to_speak,
    closed_in_good_order,
    connection_changed,
    connection_not_told,
    everybody_silent,
    heard_beside,
    long,
    media_clock_stood,
    no_packet_beside_it,
    not_kept,
    nothing_tells,
    packets_without_audio,
    receiver_restarted,
    somebody_speaking,
    still_speaking,
    too_short,
    words,
)
from recall_lab.capture.capture import Capture

__all__ = ["CAUSES", "RULES", "Rule", "Spans", "causes_of"]

CAUSES: Final = (
    "reconnect", "loss", "dropped", "mute", "silence", "receiver restart", "pause", "unknown",
)  # fmt: skip
"""What a gap's cause can be."""

RULES: Final = (
    packets_without_audio,
    not_kept,
    receiver_restarted,
    closed_in_good_order,
    connection_changed,
    words,
    heard_beside,
    no_packet_beside_it,
    connection_not_told,
    media_clock_stood,
    ceased_to_speak,
    still_speaking,
    somebody_speaking,
    too_short,
    everybody_silent,
    long,
    nothing_tells,
)
"""All rules, in the order in which they are asked."""


def missing_label(cause: str) -> str:
    """Return the label under which the seconds of a cause are counted.

    Example:
        >>> missing_label("receiver restart")
        'missing_receiver_restart_s'
    """
    return f"missing_{cause.replace(' ', '_')}_s"


def causes_of(
    capture: Capture,
    packets: pd.DataFrame,
    holes: Spans,
    mute: float,
    beside: Sequence[Capture] = (),
) -> tuple[list[str], list[str]]:
    """Return the cause of each hole and the evidence for it.

    Args:
        capture: whose events are heard.
        packets: its timed packets, in the order of arrival.
        holes: where audio is missing.
        mute: seconds from which a hole within a connection is too long for a lost packet: silence
            by design in a participant's stream, unexplained in the mixed one.
        beside: the separate streams of the same recording, where they are known: what they have
            in a hole of the mixed stream was lost there.

    Returns:
        Two lists of str with an item each hole: values of :data:`CAUSES`, and sentences.

    Example:
        >>> cause, evidence = causes_of(cap, cap.packets, holes, 1.0)  # doctest: +SKIP
        >>> cause[0], evidence[0]  # doctest: +SKIP
        ('loss', 'connection 1 stayed open; too short for a mute (under 1 s)')
    """
    count = len(holes.start)
    cause, evidence = np.full(count, "unknown", object), np.full(count, "", object)
    rest = np.ones(count, bool)
    seen = Evidence(capture, packets, holes, mute, beside)
    for rule in RULES:
        if not rest.any():
            break
        fits, says = rule.told(seen)
        at = np.flatnonzero(fits & rest)
        if len(at):
            cause[at], evidence[at] = rule.cause, says(at)
            rest[at] = False
    return cause.tolist(), evidence.tolist()
