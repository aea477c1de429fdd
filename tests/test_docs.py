"""What stands in docs/ is run: its examples say what they are said to say."""

from __future__ import annotations

import doctest

import pytest
from helpers.paths import DOCS


@pytest.mark.parametrize("page", ["time.md"])
def test_examples_of_a_page_say_what_it_says(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DOCS.parent)  # they load what is in data/
    text = (DOCS / page).read_text().replace("```", "")  # fences are no part of what is expected
    test = doctest.DocTestParser().get_doctest(text, {}, page, str(DOCS / page), 0)
    assert len(test.examples) > 10
    told: list[str] = []
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failed, _ = doctest.DocTestRunner(optionflags=options).run(test, out=told.append)
    assert not failed, "".join(told)
