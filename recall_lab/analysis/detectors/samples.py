"""Find everything that the samples of a capture tell, in one pass over them."""

from __future__ import annotations

import numpy.typing as npt

from recall_lab.analysis.detectors.containers import containers
from recall_lab.analysis.detectors.format import (
    layout_findings,
    not_audio,
    two_channels,
    wrong_rate,
)
from recall_lab.analysis.detectors.packets import clicks, stuck_packets
from recall_lab.analysis.detectors.sample_formats import sample_format
from recall_lab.analysis.detectors.scan import scan
from recall_lab.analysis.detectors.sound import DETECTORS, silences
from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.findings.values import SEVERITIES, Finding
from recall_lab.capture.capture import Capture


def findings_of_samples(
    capture: Capture | npt.ArrayLike, *, ratio: float | None = None, participant: bool | None = None
) -> list[Finding]:
    """Find what is wrong with the samples: their format first, then their sound.

    Where the format of a part is wrong, sound is not judged: clipping and level of
    bytes that are no samples mean nothing.

    Args:
        capture: live or loaded, with packets or without; or samples at 16 kHz.
        ratio: samples there are, by samples that 16 kHz has in the time, where time tells;
            None where it does not.
        participant: whether it is one participant's stream, in which silence is usual; by
            default what the capture's info says.

    Returns:
        Findings, the worst first.

    Raises:
        InvalidArgument: for what holds no samples.

    Example:
        >>> findings_of_samples(np.zeros(160_000, np.int16))[0].finding
        'digital_silence'
    """
    told: list[Finding] = []
    if isinstance(capture, Capture):
        told += containers(capture)
        told += stuck_packets(capture)
        if participant is None:
            participant = capture.info.participant is not None
    if any(one.finding == "container" for one in told):
        return told
    found = scan(capture)
    if not found.tonal:  # whose samples go on as well read otherwise
        told += layout_findings(found)
        told += [] if told else not_audio(found)
    if not any(CATALOGUE[one.finding].about == "format" for one in told):
        told += two_channels(found) if ratio is None else wrong_rate(found, ratio)
    if any(CATALOGUE[one.finding].about == "format" for one in told):
        other = sample_format(capture)  # which looks like another fault
        if other:
            told = other + [one for one in told if CATALOGUE[one.finding].about != "format"]
    else:
        told += silences(found, participant=bool(participant))
        if not any(one.whole and one.severity != "note" for one in told):
            told += [one for detector in DETECTORS for one in detector(found)]
            told += clicks(found)
    return sorted(told, key=lambda one: SEVERITIES.index(one.severity))
