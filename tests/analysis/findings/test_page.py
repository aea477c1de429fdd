"""The page of findings and the catalogue say the same."""

from __future__ import annotations

import pytest
from helpers.paths import DOCS

from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.findings.page import BEGIN, END, catalogue_table, with_table

PAGE = DOCS / "findings.md"


def test_the_page_has_the_catalogue() -> None:
    page = PAGE.read_text("utf-8")
    made = "python -m recall_lab.analysis.findings.page docs/findings.md"
    assert with_table(page) == page, f"{made} makes it anew"


def test_each_kind_has_a_row_with_all_there_is_to_it() -> None:
    rows = [line for line in catalogue_table().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] and len(rows) == len(CATALOGUE)
    for row in rows:
        kind = CATALOGUE[row.split("`")[1]]
        for text in (kind.severity, kind.meaning, kind.source, kind.advice, f"{kind.threshold:g}"):
            assert text in row
        assert row.count(" | ") == 5


def test_a_table_that_is_out_of_date_is_made_anew() -> None:
    old = f"before\n{BEGIN}\n| old |\n{END}\nafter\n"
    assert with_table(old) == f"before\n{BEGIN}\n{catalogue_table()}\n{END}\nafter\n"
    for page in ("", BEGIN, END):
        with pytest.raises(ValueError, match="catalogue"):
            with_table(page)


def test_what_was_counted_names_findings_that_are() -> None:
    page = PAGE.read_text("utf-8").partition(END)[2]
    named = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    assert named <= set(CATALOGUE)
    assert len(named) > 25
