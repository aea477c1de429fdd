"""A survey as a page: whole, harmless, and true; with the reports of the worst beside it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import fsspec
import pytest
from helpers.pages import HOSTILE, Page
from helpers.surveys import failed, frame_of, row

import recall_lab as rl
from recall_lab.errors import InvalidArgument


@pytest.fixture(scope="module")
def written(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("survey")
    frame = rl.survey(root / "data/*.bin", progress=False)
    return rl.survey_report(frame, folder / "this week.html", reports=1)


def test_it_says_what_there_is_and_links_to_the_worst(written: Path, root: Path) -> None:
    page = Page(written)
    assert "poor" in page.text and "The worst first" in page.text
    assert " s are missing in " in page.text
    assert f"captures in {root / 'data'}" in page.text and " UTC. " in page.text
    links = [unquote(str(a["href"])) for a in page.all("a")]
    assert len(links) == 1
    assert links[0].startswith("this week-reports/standup-")
    assert "All measures" in Page(written.parent / links[0]).text
    assert len(list((written.parent / "this week-reports").iterdir())) == 1


def test_it_loads_nothing_and_shows_on_light_and_dark(written: Path) -> None:
    page = Page(written)
    assert not page.all("script") and not page.all("link")
    assert len(page.all("img")) == len(page.all("source")) == 1
    assert str(page.all("img")[0]["src"]).startswith("data:image/png")
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
    assert str(policy).startswith("default-src 'none'")


def test_what_can_not_be_reported_is_a_note(tmp_path: Path, root: Path) -> None:
    good = row(1, there=50) | {"source": str(root / "data/standup-lossy.bin")}
    gone = failed(2, source=str(tmp_path / "gone.bin"), recording="gone")
    page = Page(rl.survey_report(frame_of(gone, good), tmp_path / "x.html"))
    assert "no report: CaptureNotFound: " in page.text
    assert len(page.all("a")) == 1


def test_a_report_of_before_is_not_taken_for_one_of_now(tmp_path: Path, root: Path) -> None:
    capture = tmp_path / "c.bin"
    capture.write_bytes((root / "data/standup-lossy.bin").read_bytes()[:64_000])
    frame = rl.survey(capture, progress=False)
    rl.survey_report(frame, tmp_path / "x.html")
    assert len(list((tmp_path / "x-reports").iterdir())) == 1
    capture.unlink()
    assert "no report" in Page(rl.survey_report(frame, tmp_path / "x.html")).text
    assert not list((tmp_path / "x-reports").iterdir())


def test_captures_in_object_storage_are_reported_too(tmp_path: Path, root: Path) -> None:
    memory = fsspec.filesystem("memory")
    for path in root.glob("data/standup-lossy.*"):
        memory.pipe_file(f"/survey-report/{path.name}", path.read_bytes())
    try:
        frame = frame_of(row(1, there=50) | {"source": "memory://survey-report/standup-lossy.bin"})
        page = Page(rl.survey_report(frame, tmp_path / "x.html"))
        assert len(page.all("a")) == 1
    finally:
        memory.rm("/survey-report", recursive=True)


def test_names_from_the_network_are_only_text(tmp_path: Path) -> None:
    frame = frame_of(
        row(1, there=5, name=HOSTILE, participant=7, damage=HOSTILE)
        | {"recording": HOSTILE, "source": f"s3://b?token=geheim/{HOSTILE}.bin"},
        failed(2, HOSTILE, source=f"/{HOSTILE}"),
    )
    path = rl.survey_report(frame, tmp_path / "x.html", reports=0)
    page = Page(path)
    assert not page.all("script") and not page.all("a")
    assert all("onerror" not in attributes for _, attributes in page.tags)
    assert "\u202e" not in path.read_text()
    assert "geheim" not in path.read_text()
    assert not (tmp_path / "x-reports").exists()


def test_files_of_reports_stay_in_their_folder(tmp_path: Path) -> None:
    places = ("../../etc/passwd", "..", "/", "s3://x/..\\..\\y.bin", "a" * 5000, "<b>")
    frame = frame_of(*(failed(at, source=place) for at, place in enumerate(places)))
    Page(rl.survey_report(frame, tmp_path / "x.html"))
    assert {path.name for path in tmp_path.iterdir()} == {"x.html", "x-reports"}


def test_a_long_survey_is_cut_and_an_empty_one_says_so(tmp_path: Path) -> None:
    many = frame_of(*(row(at) for at in range(1100)))
    page = Page(rl.survey_report(many, tmp_path / "x.html", reports=0))
    assert len(page.all("tr")) == 1001
    assert "... and 100 streams more" in page.text
    page = Page(rl.survey_report(frame_of(), tmp_path / "none.html"))
    assert "No captures." in page.text


def test_a_mistake_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    for path, options in (("x.pdf", {}), ("x.html", {"reports": -1})):
        with pytest.raises(InvalidArgument):
            rl.survey_report(frame_of(row(0)), tmp_path / path, **options)
    assert list(tmp_path.iterdir()) == []
