"""What is wrong between a capture and its recording, which only both together can tell."""

from __future__ import annotations

from recall_lab.analysis.compare import Comparison
from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.findings.values import Finding


def findings_of_comparison(comparison: Comparison) -> list[Finding]:
    """Return what is wrong between a capture and its recording.

    Args:
        comparison: what :func:`recall_lab.compare` returned.

    Returns:
        ``inverted_polarity`` where the recording's wave is upside down, over the span of the
        capture's windows that lie in the recording; else nothing.

    Example:
        >>> findings_of_comparison(rl.compare(cap, "audio_mixed.mp3"))  # doctest: +SKIP
        [Finding(severity='note', finding='inverted_polarity', start=0.0, end=57.7, ...
    """
    if not comparison.inverted:
        return []
    agreeing, windows = (comparison.evidence[name] for name in ("agreeing", "windows"))
    similar = comparison.similarity
    there = similar[similar["similarity"].notna()]
    evidence = (
        f"the recording's wave is upside down: {agreeing:,.0f} of {windows:,.0f} windows with "
        f"something to hear fit when it is turned over (similarity "
        f"{similar['similarity'].median():.3f})"
    )
    return [
        CATALOGUE["inverted_polarity"].found(
            100 * agreeing / windows, evidence,
            float(there["start"].min()), float(there["end"].max()),
        )
    ]  # fmt: skip
