"""Check a capture against a policy: thresholds from a file, or an earlier capture."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.findings.values import SEVERITIES, Finding
from recall_lab.analysis.time.analysis import Call, analyse
from recall_lab.analysis.verdict.quality import quality_of
from recall_lab.analysis.verdict.verdict import findings_of
from recall_lab.errors import InvalidArgument, InvalidPolicy

POLICY: Final[Mapping[str, Mapping[str, Any]]] = {
    "findings": {"worst": "warning", "forbid": ("conflicting_audio", "receiver_stalls")},
    "longest_gap_s": {"max": 30.0},
}
"""What is asked of a capture when nobody says otherwise."""

_FINDINGS: Final = "findings"
_Limit = tuple[str, str, float, float, bool]
_LIMITS: Final = ("min", "max", "worse")
# of these more is better; of all else, less
_MORE_IS_BETTER: Final = (
    "available_percent",
    "available_without_silence_percent",
    "audio_s",
    "packets",
)


def check(
    source: Any,
    policy: str | os.PathLike[str] | Mapping[str, Mapping[str, Any]] | None = None,
    *,
    baseline: Any = None,
    call: Call | None = None,
) -> pd.DataFrame:
    """Hold a capture against thresholds.

    A policy says which findings (:func:`recall_lab.findings`) there may be, and names entries of
    :func:`recall_lab.quality` and what they may be::

        [findings]
        worst = "warning"    # no worse ones: "bad" allows all, "note" nothing but notes
        allow = ["clipping"]        # these, however bad
        forbid = ["narrow_band"]    # not these, even as a note

        ["available_without_silence_percent"]
        min = 99.5
        worse = 0.2          # than the baseline, at most

        ["delay_p99_ms"]
        max = 250

    Args:
        source: as for :func:`recall_lab.analyse`.
        policy: path of a TOML file, or the same as a mapping; by default :data:`POLICY`.
        baseline: an earlier capture, for the ``worse`` limits. Drift may be worse either way.
        call: as for :func:`recall_lab.analyse`.

    Returns:
        One row a limit: ``measure``, ``limit`` (str), ``bound`` (float64, what it may be at
        least or at most), ``value`` (float64) and ``kept`` (bool). What could not be measured
        (NaN) keeps no limit. Of findings there is a row for each that may not be
        (``finding: KEY``; its value, with its threshold as bound), or one that is kept. What is
        forbidden and allowed is forbidden; ``worst`` is ``"warning"`` where it is not given.

    Raises:
        InvalidPolicy: for a file that can't be read, an entry that nothing measures, or a limit
            that is none.
        MissingTimestamps: for audio without packets.

    Example:
        >>> check(cap, {"longest_gap_s": {"max": 2}})["kept"].all()  # doctest: +SKIP
        True
    """
    if isinstance(policy, str | os.PathLike):
        limits, name = _read(Path(policy)), str(policy)
    else:
        limits, name = POLICY if policy is None else policy, "policy"
    if not isinstance(limits, Mapping):
        raise InvalidArgument("policy", policy, "a mapping of limits, or the path of a TOML file")
    known = analyse(source, call=call)
    numbers = {key: entry for key, entry in limits.items() if key != _FINDINGS}
    found = quality_of(known)
    before = None if baseline is None else quality_of(analyse(baseline))
    rows: list[_Limit] = []
    if _FINDINGS in limits:
        rows += _of_findings(findings_of(known), limits[_FINDINGS], name)
    for measure, entry in _checked(numbers, found, name):
        for limit, given in entry.items():
            if limit == "worse" and before is None:
                raise InvalidPolicy(
                    f"{name}: {measure!r} has a limit 'worse': give a baseline to compare with"
                )
            value = float(found[measure])
            if limit == "worse":
                assert before is not None
                bound, kept = _no_worse(measure, float(before[measure]), value, given)
            else:
                bound = float(given)
                kept = value >= bound if limit == "min" else value <= bound
            rows.append((measure, limit, bound, value, kept))
    table = pd.DataFrame(rows, columns=["measure", "limit", "bound", "value", "kept"])
    kinds = {"measure": "str", "limit": "str", "bound": "float64", "value": "float64"}
    return table.astype(kinds | {"kept": "bool"})


def _of_findings(told: Sequence[Finding], entry: Any, name: str) -> list[_Limit]:
    """Hold findings against what a policy says of them."""
    valid = (
        '[findings] with worst = "bad", "warning" or "note", and lists allow and forbid of keys '
        f"such as {', '.join(list(CATALOGUE)[:3])}"
    )
    if (
        not isinstance(entry, Mapping)
        or not entry
        or not set(entry) <= {"worst", "allow", "forbid"}
    ):
        raise InvalidPolicy(f"{name}: findings is {entry!r}: expected {valid}")
    worst = entry.get("worst", POLICY[_FINDINGS]["worst"])
    if worst not in SEVERITIES:
        raise InvalidPolicy(f"{name}: worst is {worst!r}: expected {valid}")
    lists = []
    for key in ("allow", "forbid"):
        keys = entry.get(key, ())
        if isinstance(keys, str) or not isinstance(keys, Sequence):
            raise InvalidPolicy(f"{name}: {key} is {keys!r}: expected {valid}")
        for one in keys:
            if not isinstance(one, str) or one not in CATALOGUE:
                there = ", ".join(CATALOGUE)
                raise InvalidPolicy(f"{name}: nothing finds {one!r}; there are: {there}")
        lists.append(set(keys))
    allowed, forbidden = lists
    limit = SEVERITIES.index(worst)
    rows: list[_Limit] = []
    for one in told:
        if one.finding in forbidden:
            why = "forbidden"
        elif SEVERITIES.index(one.severity) < limit and one.finding not in allowed:
            why = f"worst: {worst}"
        else:
            continue
        threshold = CATALOGUE[one.finding].threshold
        rows.append((f"finding: {one.finding}", why, threshold, one.value, False))
    return rows or [(_FINDINGS, f"worst: {worst}", 0.0, 0.0, True)]


def _no_worse(measure: str, before: float, value: float, by: float) -> tuple[float, bool]:
    """Return the bound that a baseline sets, and whether it is kept."""
    if measure in _MORE_IS_BETTER:
        return before - by, value >= before - by
    if measure.startswith("drift_"):
        return before + by, abs(value - before) <= by
    return before + by, value <= before + by


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidPolicy(f"{path} can't be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidPolicy(f"{path} is no TOML: {error}") from None


def _checked(
    limits: Mapping[str, Any], found: pd.Series[Any], name: str
) -> list[tuple[str, Mapping[str, float]]]:
    """Return the entries of a policy, or raise for the first that can't be."""
    numbers = [key for key, value in found.items() if isinstance(value, int | float | np.number)]
    for measure, entry in limits.items():
        if measure not in numbers:
            raise InvalidPolicy(
                f"{name}: nothing measures {measure!r}; there are: {', '.join(map(str, numbers))}"
            )
        valid = f"a table of numbers with {' or '.join(_LIMITS)}, such as {{max = 2.5}}"
        if not isinstance(entry, Mapping) or not entry:
            raise InvalidPolicy(f"{name}: {measure!r} is {entry!r}: expected {valid}")
        for limit, given in entry.items():
            number = isinstance(given, int | float) and not isinstance(given, bool)
            if limit not in _LIMITS or not number or not np.isfinite(given):
                raise InvalidPolicy(
                    f"{name}: {measure!r} has {limit} = {given!r}: expected {valid}"
                )
    return list(limits.items())
