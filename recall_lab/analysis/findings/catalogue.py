"""Every finding there is, in one place: what it means, from where on, why there, what to do.

A detector takes its severity, threshold and advice from here, so that the table in the
documentation, the policy of :func:`recall_lab.check` and what is found can't part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from recall_lab.analysis.findings.values import Finding, Severity

FORMATS: Final = "how Recall.ai sends audio: 16 kHz, mono, signed 16-bit little-endian"
_MEASURED: Final = "measured: benchmarks/findings.py"


@dataclass(frozen=True)
class Kind:
    """What can be found, and from where on.

    Attributes:
        finding: its key, snake_case; never changes.
        about: ``"format"``, ``"sound"`` or ``"time"``.
        severity: what it is at the threshold.
        meaning: what is wrong, in a sentence.
        threshold: from which value on it is found, in `unit`.
        unit: of the value; ``""`` for a bare number.
        source: why the threshold is where it is.
        advice: what to do.
        bad: from which value on it is ``"bad"``, where the severity grows with the value; NaN else.
    """

    finding: str
    about: str
    severity: Severity
    meaning: str
    threshold: float
    unit: str
    source: str
    advice: str
    bad: float = math.nan

    def found(
        self,
        value: float,
        evidence: str,
        start: float = math.nan,
        end: float = math.nan,
        *,
        severity: Severity | None = None,
        advice: str | None = None,
    ) -> Finding:
        """Return a finding of this kind.

        Args:
            value: how much, in `unit`.
            evidence: what was seen, with numbers.
            start, end: where, s on the relative clock; NaN for the whole call.
            severity, advice: where they are not the usual ones.
        """
        if severity is None:
            severity = "bad" if value >= self.bad else self.severity
        return Finding(
            severity, self.finding, start, end, float(value), self.unit, evidence,
            self.advice if advice is None else advice,
        )  # fmt: skip


FORMAT: Final = (
    Kind(
        "container", "format", "bad",
        "The bytes are an audio file (WAV, MP3, FLAC, Ogg, MP4, WebM, ...), not raw samples.",
        1, "", "the first bytes that each format's own specification prescribes",
        "Read the bytes with rl.from_audio, which decodes audio files. Make the sender send "
        f"raw samples: {FORMATS}.",
    ),
    Kind(
        "byte_order", "format", "bad",
        "The two bytes of each sample are swapped: big-endian samples are read as little-endian.",
        1.0, "bit", f"{_MEASURED}; sound takes fewer bits read rightly (SHORTEN, FLAC)",
        "Swap the bytes: capture.samples.byteswap(). Make the sender send little-endian samples.",
    ),
    Kind(
        "alignment", "format", "bad",
        "The samples are put together from halves of two neighbours: a byte was lost or added.",
        1.0, "bit", f"{_MEASURED}; sound takes fewer bits read rightly (SHORTEN, FLAC)",
        "Leave out one byte at the start of the span. Look in the sender for odd buffer sizes, or "
        "for a header that is not cut off.",
    ),
    Kind(
        "companded", "format", "bad",
        "The bytes are 8-bit mu-law or A-law of telephony (G.711), not 16-bit samples.",
        1.0, "bit", f"{_MEASURED}; ITU-T G.711; sound takes fewer bits read rightly",
        "Decode the bytes as G.711 at 8 kHz, for example with soundfile (subtype 'ULAW' or "
        "'ALAW'). Set the sender to linear 16-bit PCM.",
    ),
    Kind(
        "not_audio", "format", "bad",
        "The bytes are noise of full scale in every layout: compressed or encrypted data.",
        13.5, "bit", "random bytes take 13.8 bits a step: log2(65,536) less 1.5 nats",
        "Look at what the sender encodes: Opus, AAC, MP3 or float samples can't be read as they "
        f"are. Expected is {FORMATS}.",
    ),
    Kind(
        "two_channels", "format", "bad",
        "Samples of two channels follow one another as if they were one.",
        0.1, "bit", f"{_MEASURED}; neighbours of a mono signal are alike in either phase",
        "Take the channels apart: capture.samples.reshape(-1, 2). Set the sender to mono.",
    ),
    Kind(
        "wrong_rate", "format", "bad",
        "There are more or fewer samples than time: the sender's sample rate is not 16 kHz.",
        2, "%", "oscillators differ by 0.02 %, common rates by 8 % or more",
        "Resample to 16 kHz from the rate that fits, for example with soxr. Set the sender to "
        "16 kHz.",
    ),
)  # fmt: skip

SOUND: Final = (
    Kind(
        "digital_silence", "sound", "warning",
        "Nothing but zeros: over the whole call, or for a minute or more.",
        60, "s", "a pause of a minute in which no room is heard is no pause between words",
        "Check that somebody was unmuted then and that the bot was let in (participants' events "
        "tell). A call of zeros only: check the bot's audio permission and the source's device.",
    ),
    Kind(
        "last_bit_only", "sound", "warning",
        "Nothing but the last bit moves: noise of rounding, no sound.",
        60, "s", "samples of -1, 0 and 1 are what rounding or dither leaves of silence",
        "Check as for digital silence: something made noise of rounding of it on the way.",
    ),
    Kind(
        "level_low", "sound", "warning",
        "Even the loudest second is so low that rounding to 16 bits is heard and detectors fail.",
        -66, "dBFS",
        "below, rl.speech agrees with itself at -20 dBFS by an F1 under 0.98 (0.95 at -76)",
        "Raise the level where the audio comes from: what rounding took can't be had back by "
        "amplifying. Check that the sender does not scale floats by too little.",
    ),
    Kind(
        "clipping", "sound", "warning",
        "Peaks are cut off: runs of three or more samples stay at the top.",
        0.1, "%", f"{_MEASURED}; of the samples of speech; 1 % is bad",
        "Lower the gain before the audio is made 16 bits. Check for a float scaled by more than "
        "32,767, and for two streams added without headroom.", 1.0,
    ),
    Kind(
        "dc_offset", "sound", "warning",
        "The wave does not swing about zero: every hole and join becomes a click.",
        1.0, "% of full scale", "a step of -40 dBFS is heard as a click; releases stay below 1 %",
        "Take the mean off, or high-pass at 20 Hz. Check for unsigned samples read as signed, and "
        "the source's device.",
    ),
    Kind(
        "mains_hum", "sound", "warning",
        "A steady hum at 50 or 60 Hz and its harmonics, in pauses as well.",
        -36, "dB of the loudest second", _MEASURED,
        "A notch filter takes it out. Check the ground and the power supply of that participant's "
        "microphone.",
    ),
    Kind(
        "narrow_band", "sound", "note",
        "Nothing above 4.8 kHz: somebody was on a telephone, or the audio was at 8 kHz on its way.",
        4_800, "Hz", "telephony is sampled at 8 kHz; wide-band speech reaches 7 kHz (ITU-T G.722)",
        "Nothing is wrong where people dialled in. Else look for a resampling to 8 kHz.",
    ),
    Kind(
        "stuck_packet", "sound", "warning",
        "The same payload comes again under a later time: a sender that repeats what it has.",
        2, "packets", "no two packets of recorded sound are alike to the bit; 1 s of them is bad",
        "Look in the sender for a buffer that is sent again when it was not filled. What stood "
        "there is lost: repair it from the recording.",
    ),
    Kind(
        "zero_filled_losses", "sound", "warning",
        "Exact zeros cut into words, begin and end abruptly: losses that the sender filled.",
        3, "losses", f"{_MEASURED}; 1 % of the speech is bad",
        "Audio was lost before it was stamped, so no clock tells. Look at the sender's network and "
        "load (a 4-core bot); repair from the recording.",
    ),
    Kind(
        "clicks", "sound", "warning",
        "The wave leaps from one packet to the next: samples are missing or scaled between them.",
        1.0, "% of joins", _MEASURED,
        "Look in the sender for samples that are dropped at the end of a buffer, filters that "
        "begin anew with each packet, and encoders that are flushed.",
    ),
)  # fmt: skip


def catalogue_of(kinds: Iterable[Kind]) -> MappingProxyType[str, Kind]:
    """Return kinds by their keys."""
    return MappingProxyType({kind.finding: kind for kind in kinds})


CATALOGUE: Final = catalogue_of((*FORMAT, *SOUND))
"""Every kind by its key."""
