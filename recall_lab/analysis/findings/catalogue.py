"""The catalogue of findings: meaning, threshold, source of the threshold, advice.

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
        about: ``"format"``, ``"sound"``, ``"time"``, or ``"streams"`` of one recording together.
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
        "sample_format", "format", "bad",
        "The bytes are samples of another format (32-bit float, 24, 32 or 8 bits), or text.",
        1, "", f"{_MEASURED}; what bytes look like when they are read so",
        "Convert the bytes with numpy: np.frombuffer(capture.samples.tobytes(), '<f4') for floats. "
        f"Decode base64 before you keep it. Make the sender send {FORMATS}.",
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
        "wrap_around", "sound", "bad",
        "The wave leaps from one end of the scale to the other: sums that were too large.",
        3, "samples", "by more than 3/4 of the scale from one sample to the next, neither at its "
        "end: no sound that is sampled at 16 kHz does",
        "Add streams with headroom and clip the sum. Check for unsigned samples read as signed.",
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
    Kind(
        "inverted_polarity", "sound", "note",
        "The recording's wave is upside down against the capture. Only rl.compare can tell.",
        1.0, "% of windows", "a piece of three windows or more, which chance does not make",
        "Nobody hears it, and rl.repair turns its fills over. Multiply one of the two by -1 "
        "before you add or subtract them.",
    ),
)  # fmt: skip


TIME: Final = (
    Kind(
        "damaged_files", "time", "warning",
        "The files of the capture are damaged: what is left looks better than it was.",
        1, "records", "checksums of every record; one record without its audio is bad",
        "Look at capture.damage for what and where. Copy the files from where they were written, "
        "and verify the copy with rl.verify.", 1.0,
    ),
    Kind(
        "empty", "time", "warning",
        "There is no audio at all.",
        0, "s", "nothing was received that could be judged",
        "Check that the bot was let in and that somebody spoke, and that recording_config names "
        "the artifact of the events that you subscribe to.",
    ),
    Kind(
        "missing", "time", "warning",
        "Audio of the call was lost: no packet brought it, or it could not be kept.",
        0.1, "%",
        "a word in 1,000, less is a note; 1 % is heard as cut words (ITU-T G.113), and bad",
        "See rl.gaps for every gap with its cause and evidence. Repair it from the recording with "
        "rl.repair; for reconnects look at proxy timeouts and the receiver's log.", 1.0,
    ),
    Kind(
        "unexplained_gap", "time", "warning",
        "Audio is not there, and nothing tells whether it was lost or nobody was to be heard.",
        0.1, "%",
        "as for missing, less is a note; everybody may have been muted, so it is never bad",
        "Subscribe to participant_events.* and transcript.data on the same endpoint: they tell "
        "silence from loss. Give rl.analyse(beside=...) the separate streams.",
    ),
    Kind(
        "media_clock_stood", "time", "warning",
        "Time passed by both wall clocks and not by the media clock: a pause, or hidden loss.",
        0.1, "%", "as for missing, less is a note; the clocks part by 0.25 s at once or more",
        "If the recording was paused on purpose, nothing is wrong. Else audio vanished before it "
        "was stamped: look at the bot's load (a 4-core bot) and compare with the recording.", 1.0,
    ),
    Kind(
        "clock_rate", "time", "warning",
        "The media clock runs otherwise than wall clocks, by more than an oscillator can.",
        0.1, "%",
        "crystals stay within 0.01 %, virtual machines within 0.1 %; from 0.25 s in all, in 10 s "
        "or more; 1 % is bad, but where two clocks contradict each other",
        "Slower: audio is short all the time, look in the sender for buffers that are dropped. "
        "Faster: it makes audio up. Where clocks contradict each other, run NTP on both machines. "
        "Compare with the recording.", 1.0,
    ),
    Kind(
        "dropped", "time", "bad",
        "Packets came and the receiver could not keep them.",
        1, "packets", "the receiver's own journal, and records whose audio is gone",
        "Make room on the disk, raise the receiver's limits, or take fewer streams at once.",
    ),
    Kind(
        "conflicting_audio", "time", "warning",
        "Two packets bring different audio for the same time.",
        1, "packets", "same stamp and length, other checksum",
        "See whether two bots or endpoints send the same recording. The first that came is heard.",
    ),
    Kind(
        "overlap", "time", "warning",
        "New audio begins before the last has ended.",
        1.0, "%", "of the call; short overlaps come with reconnects; 10 % is bad",
        "Look in the sender for stamps that are counted by another rate than its audio, or for "
        "two sources under one id.", 10.0,
    ),
    Kind(
        "duplicates", "time", "note",
        "Packets came twice; one of each is heard.",
        0.1, "%", "a reconnect may bring the last packets again",
        "Nothing is wrong with the audio. If all come twice, two endpoints bring the same stream.",
    ),
    Kind(
        "epochs", "time", "warning",
        "The media clock begins again: a bot that came back, or two calls in one file.",
        2, "epochs", "relative falls back and stays back while the other clocks go on",
        "See rl.epochs for where. Cut the calls apart with capture.slice, and give each call a "
        "recording id of its own.",
    ),
    Kind(
        "clock_leap", "time", "warning",
        "The media clock leaps while the other clocks go on: no audio is missing there.",
        0.25, "s", "more than jitter; the stretch is laid where the other clocks have it",
        "Take absolute times for what has to match other sources. Tell the sender's maker.",
    ),
    Kind(
        "wall_clock_set", "time", "note",
        "A wall clock was set during the call.",
        0.25, "s", "less is how clocks are kept right",
        "See rl.clock_steps for which and where. Run NTP on the receiver's machine.",
    ),
    Kind(
        "no_absolute_time", "time", "note",
        "Packets came without an absolute time that can be read: that of arrival stands for it.",
        1, "%", "the receiver flags each such packet (UNSTAMPED)",
        "Do not lay this capture beside others by its absolute times: they are late by the delay. "
        "Have the sender put an ISO 8601 time into data.data.timestamp.absolute.",
    ),
    Kind(
        "sample_clock", "time", "note",
        "The samples run otherwise than the media clock: they are resampled to it.",
        200, "ppm", "crystals stay within 100 ppm",
        "Nothing to do: timelines and files follow the media clock. clock='samples' leaves every "
        "sample as it came.",
    ),
    Kind(
        "replayed", "time", "note",
        "Packets came at another speed than they were spoken: a replay.",
        1.05, "times", "nothing that waits for a live call can come faster than it",
        "Nothing is wrong: jitter, delay and drift against our clock are not told.",
    ),
    Kind(
        "late_packets", "time", "note",
        "Packets came late: the network or the bot held them up.",
        0.5, "s", "a conversation suffers from 0.15 s on (ITU-T G.114); 5 s is a warning",
        "See rl.plot_timing for when. Place the receiver nearer to the bot's region.",
    ),
    Kind(
        "receiver_stalls", "time", "note",
        "The receiver was held up itself: packets waited, and none was lost by it.",
        0.25, "s", "its own account of it, and packets that waited; 5 s is a warning",
        "Take fewer streams for each process, or a machine that is not shared.",
    ),
    Kind(
        "stamps_scatter", "time", "note",
        "Stamps are coarse or scatter, so small losses can't be told from it.",
        0.03125, "ms", "half a sample",
        "What is missing in all is told rightly; where exactly, only as nearly as stamps tell.",
    ),
    Kind(
        "open_capture", "time", "note",
        "The capture may still be growing, or its receiver was killed.",
        1, "", "the journal has no end of its last connection",
        "Load it again when the call has ended.",
    ),
    Kind(
        "no_timestamps", "time", "warning",
        "Nothing tells when the audio was: what is missing can't be known.",
        0, "s", "the index with the packets' stamps is not there",
        "Keep the .idx beside the .bin. Without it only the sound can be judged.",
    ),
)  # fmt: skip


STREAMS: Final = (
    Kind(
        "voice_leak", "streams", "warning",
        "A voice is heard in another participant's stream: echo, or one voice in two tracks.",
        -40, "dB of the speaker", "measured: benchmarks/leaks.py; from -6 dB on, transcripts have "
        "words twice, and it is bad",
        "See rl.leaks for who, how late and how often, rl.plot_leaks for a picture. Later by 30 ms "
        "or more: an open loudspeaker, ask for a headset. By less: two people in one room. Leave "
        "what leaks out of what you transcribe.", -6,
    ),
    Kind(
        "wrong_person", "streams", "warning",
        "What is told of one is heard in the stream of another.",
        1.0, "s", "measured: benchmarks/leaks.py; events are late by up to half a second",
        "See rl.attribution for when. Believe the streams: take who speaks from whose stream it "
        "is.",
    ),
    Kind(
        "unheard", "streams", "warning",
        "Somebody is told to speak, and no stream carries it.",
        1.0, "s", "measured: benchmarks/leaks.py; events are late by up to half a second",
        "See rl.attribution for when, and rl.gaps for what of that stream was lost. Else the "
        "meeting took a noise for a voice, or the bot did not hear that participant.",
    ),
    Kind(
        "untold", "streams", "note",
        "Speech is heard in a stream, and neither events nor words tell of it.",
        1.0, "s", "measured: benchmarks/leaks.py; events are late by up to half a second",
        "See rl.attribution for when. Coughs and doors are among it; detector='neural' leaves them "
        "out. Words that are missing there were not transcribed.",
    ),
    Kind(
        "only_in_mix", "streams", "note",
        "The mixed stream has sound that no separate stream has.",
        1.0, "s", "measured: benchmarks/leaks.py; three tenths of the power are not of the streams",
        "A screen that is shared with its sound, and music, have no stream of their own. Where "
        "somebody is told to speak then, their stream is lost: take the mixed one.",
    ),
)  # fmt: skip


def catalogue_of(kinds: Iterable[Kind]) -> MappingProxyType[str, Kind]:
    """Return kinds by their keys."""
    return MappingProxyType({kind.finding: kind for kind in kinds})


CATALOGUE: Final = catalogue_of((*FORMAT, *SOUND, *TIME, *STREAMS))
"""Every kind by its key."""
