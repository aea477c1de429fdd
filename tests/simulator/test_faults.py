"""Faults as values: each is checked, and what differs from none is told."""

from __future__ import annotations

from dataclasses import fields

import pytest

from recall_lab.errors import InvalidArgument
from recall_lab.simulator.faults import Faults


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("loss", -0.1), ("loss", 1.1), ("burst", 0.5), ("jitter", -1), ("reorder", float("nan")),
        ("mutes", ((3, 2),)), ("drift", 1e6), ("quantum", -0.001), ("disconnects", (-1,)),
        ("short", 1.1), ("uneven", -0.1), ("uneven_by", ()), ("uneven_by", (0,)),
        ("uneven_by", (0.5,)), ("uneven_by", 3), ("uneven_by", "ab"), ("sample_clock", -1e6),
        ("leaps", (3,)), ("leaps", ((-1, 3),)), ("leaps", ((1, float("inf")),)),
        ("hidden", ((3, 0),)), ("hidden", ((3, -1),)), ("restarts", ((1, 2, 3),)),
        ("restarts", (-1,)), ("restarts", 5), ("restarts", ("soon",)), ("rejoin", "other"),
        ("stamped", "middle"), ("scatter", -0.1), ("scatter_from", -1), ("shared", 0),
        ("shared", 1.5), ("late_stamps", 0.6), ("late_by", -1), ("rounding", "up"),
        ("rounding", ["down"]), ("float32", 1), ("seed", -1),
    ],
)  # fmt: skip
def test_a_fault_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidArgument, match=rf"^{name}="):
        Faults(**{name: value})  # type: ignore[arg-type]


def test_the_repr_says_what_differs_from_no_faults() -> None:
    assert repr(Faults()) == "Faults()"
    assert repr(Faults(loss=0.02, seed=7)) == "Faults(loss=0.02, seed=7)"
    faults = Faults(restarts=(25, (30, 7)), rejoin="same", quantum=0.02, rounding="down")
    assert repr(faults) == (
        "Faults(restarts=(25, (30, 7)), rejoin='same', quantum=0.02, rounding='down')"
    )


def test_the_repr_of_a_notebook_has_the_units() -> None:
    assert "all arrives as it was sent" in Faults()._repr_html_()
    told = Faults(scatter=0.01, sample_clock=-50, shared=10)._repr_html_()
    for part in ("0.01 s", "-50 ppm", "10 packets in a row"):
        assert part in told


def test_the_docstring_has_every_field() -> None:
    assert Faults.__doc__ is not None
    for field in fields(Faults):
        assert f"\n        {field.name}: " in Faults.__doc__, field.name
