"""Find what only a capture and its recording together can tell."""

from __future__ import annotations

from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.findings.values import Finding
from recall_lab.analysis.recording.comparison import Comparison


def findings_of_comparison(comparison: Comparison) -> list[Finding]:
    """Return what is wrong between a capture and its recording.

    Args:
        comparison: what :func:`recall_lab.compare` returned.

    Returns:
        ``inverted_polarity`` where the recording's wave is upside down, from the first piece
        that is to the last, of 1 % of the windows or more; else nothing.

    Example:
        >>> findings_of_comparison(rl.compare(cap, "audio_mixed.mp3"))  # doctest: +SKIP
        [Finding(severity='note', finding='inverted_polarity', start=0.0, end=57.7, ...
    """
    pieces = comparison.pieces
    turned = pieces[pieces["inverted"]]
    agreeing, windows = int(turned["windows"].sum()), comparison.evidence["windows"]
    if 100 * agreeing < CATALOGUE["inverted_polarity"].threshold * windows:
        return []
    evidence = (
        f"the recording's wave is upside down: {agreeing:,} of {windows:,.0f} windows with "
        f"something to hear fit when it is turned over (similarity "
        f"{turned['similarity'].max():.3f})"
    )
    return [
        CATALOGUE["inverted_polarity"].found(
            100 * agreeing / windows, evidence,
            float(turned["start"].min()), float(turned["end"].max()),
        )
    ]  # fmt: skip
