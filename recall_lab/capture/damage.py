"""The damage of a capture's files, found by loading them; nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass, fields

from recall_lab.text import counted


@dataclass(frozen=True)
class Damage:
    """What loading a capture found wrong; false when nothing is.

    Attributes:
        torn_bytes: bytes of half a record at the end of the index: a packet never committed.
        damaged_records: records whose checksum is wrong; they are left out.
        missing_payloads: records whose audio lies beyond the end of the ``.bin``; left out.
        missing_spans: when that audio was, as half-open ``(start, end)`` on the relative clock, s.
        orphan_spans: samples that no record claims, as half-open ``(start, end)`` positions in
            ``Capture.samples``: audio whose time is not known.
        odd_byte: the ``.bin`` ends within a sample.
        notes: anything else, in words.
    """

    torn_bytes: int = 0
    damaged_records: int = 0
    missing_payloads: int = 0
    missing_spans: tuple[tuple[float, float], ...] = ()
    orphan_spans: tuple[tuple[int, int], ...] = ()
    odd_byte: bool = False
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))

    @property
    def orphan_samples(self) -> int:
        """How many samples no record claims."""
        return sum(end - start for start, end in self.orphan_spans)

    def __str__(self) -> str:
        gone = self.missing_payloads
        found = [
            f"{counted(self.torn_bytes, 'byte')} of a torn record" if self.torn_bytes else "",
            counted(self.damaged_records, "damaged record") if self.damaged_records else "",
            f"{counted(gone, 'record')} without {'its' if gone == 1 else 'their'} audio"
            if gone
            else "",
            f"{counted(self.orphan_samples, 'sample')} that no record claims"
            if self.orphan_spans
            else "",
            "half a sample at the end" if self.odd_byte else "",
            *self.notes,
        ]
        return "; ".join(filter(None, found)) or "none"
