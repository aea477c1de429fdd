"""Rows kept as Parquet: the same bits back, and none lost by whoever is killed or joins in."""

from __future__ import annotations

import random
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from helpers.builders import NEW_YEAR
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.errors import InvalidArgument, MissingExtra, StorageFailed
from recall_lab.surveys import dataset
from recall_lab.surveys import rows as rows_module
from recall_lab.surveys.dataset import Dataset
from recall_lab.surveys.measures import ALL, MEASURES, PASSING, Row, columns_of, frame_of_rows

DAY = 86_400 * 10**9


def row(number: int, *, day: int | None = 0, **more: Any) -> Row:
    start = None if day is None else NEW_YEAR + day * DAY
    known = {"source": f"/calls/{number:05}.bin", "recording": f"{number:05}", "bytes": number}
    return known | {"start": start, PASSING: False, "error": ""} | more


def versions(rows: Sequence[Row], version: str = "1") -> dict[str, str]:
    return {one["source"]: version for one in rows}


def put(into: str | Path, rows: Sequence[Row], version: str = "1", **options: Any) -> Dataset:
    """Write rows, as a survey of its own does that is killed at the end."""
    one = Dataset(into, options.get("measures", MEASURES))
    one.read()
    one.add(rows, versions(rows, version))
    one.flush()
    return one


def got(into: str | Path, rows: Sequence[Row], version: str = "1", **options: Any) -> pd.DataFrame:
    one = Dataset(into, options.get("measures", MEASURES))
    found = one.good(one.read(), versions(rows, version))
    return found.sort_values("source", ignore_index=True)


@pytest.fixture(params=["folder", "memory"])
def into(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder, and a bucket."""
    if request.param == "folder":
        yield str(tmp_path / "deep" / "into")
        return
    import fsspec

    name = uuid.uuid4().hex
    yield f"memory://{name}"
    memory = fsspec.filesystem("memory")
    if memory.exists(f"/{name}"):
        memory.rm(f"/{name}", recursive=True)


def numbers(kind: str) -> st.SearchStrategy[Any]:
    if kind == "str":
        return st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
    if kind == "float64":
        return st.none() | st.floats()
    if kind == "int64":
        return st.integers(0, 2**63 - 1)
    return st.none() | st.integers(-(2**63) + 1, 2**63 - 1)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_the_same_bits_come_back(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    into = tmp_path_factory.mktemp("into")
    rows = []
    for number in range(data.draw(st.integers(1, 3))):
        one = {name: data.draw(numbers(kind)) for name, kind in columns_of(MEASURES).items()}
        rows.append(one | {"source": str(number), PASSING: False})
    put(into, rows)
    found, given_rows = got(into, rows), frame_of_rows(rows, MEASURES)
    pd.testing.assert_frame_equal(found, given_rows, check_exact=True)
    for name in found.select_dtypes("float64"):
        zeros = [np.signbit(frame[name].to_numpy()) for frame in (found, given_rows)]
        finite = ~given_rows[name].isna()
        np.testing.assert_array_equal(zeros[0][finite], zeros[1][finite])


def test_files_are_parted_by_day_and_joined(into: str) -> None:
    rows = [row(number, day=number % 3) for number in range(9)] + [row(9, day=None)]
    for one in rows:
        put(into, [one])
    kept = pd.read_parquet(into)
    assert sorted(kept["source"]) == sorted(versions(rows))
    days = {"2026-01-01", "2026-01-02", "2026-01-03", "unknown"}
    assert set(kept["day"].astype(str)) == days
    store = Dataset(into, MEASURES)
    store.join()
    names = store._names()
    assert len(names) == 4
    assert {name.partition("/")[0] for name in names} == {f"day={day}" for day in days}
    store.join()
    assert store._names() == names
    assert got(into, rows)["recording"].tolist() == [one["recording"] for one in rows]


def test_what_changed_is_not_good(into: str) -> None:
    rows = [row(number) for number in range(4)]
    put(into, rows[:2])
    put(into, rows[2:], "")  # a store that tells neither tag nor time
    put(into, [row(9)])
    assert len(got(into, rows)) == 2
    assert got(into, rows, "2").empty
    assert got(into, rows, "").empty
    assert got(into, []).empty
    fewer, more = Dataset(into, ["levels"]), Dataset(into, ALL)
    assert len(fewer.good(fewer.read(), versions(rows))) == 2
    assert more.good(more.read(), versions(rows)).empty


@settings(max_examples=9, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from(["same", "new", ""]),
            st.sets(st.sampled_from(ALL), min_size=1), st.booleans(),
        ),
        min_size=1, max_size=9,
    )
)  # fmt: skip
def test_what_the_newest_lacks_is_taken_from_older_ones_of_the_same_files(
    tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[int, str, set[str], bool]]
) -> None:
    into = tmp_path_factory.mktemp("into")
    columns = {"quality": "packets", "levels": "clips", "speech": "speech_share"}
    columns |= {"checksums": "damaged_packets", "mos": "mos", "sound": "sound"}
    expected: dict[int, dict[str, Any]] = {}
    for at, (number, change, measures, joins) in enumerate(runs, 1):
        values: dict[str, Any] = {columns[measure]: at for measure in measures}
        values |= {"sound": f"good: {at}"} if "sound" in measures else {}
        before = expected.get(number, {"version": ""})
        fresh = change == "new" or not before["version"]
        version = "" if not change else str(at) if fresh else before["version"]
        store = put(
            into, [row(number, day=int(version or 0), **values)], version,
            measures=sorted(measures, key=ALL.index),
        )  # fmt: skip
        same = before if before["version"] == version and version else {}
        expected[number] = {**same, **values, "version": version}
        if joins:
            store.join()
    for _ in range(2):
        store = Dataset(into, ALL)
        found = store.read().set_index("recording")
        assert len(found) == len(expected)
        for number, wanted in expected.items():
            got = found.loc[f"{number:05}"]
            for measure, column in columns.items():
                assert (measure in got["measured"]) == (column in wanted)
                absent = got[column] == "" if column == "sound" else pd.isna(got[column])
                assert got[column] == wanted[column] if column in wanted else absent
        store.join()
    kept = pd.read_parquet(into)
    assert len(kept) == len(expected)


def test_errors_of_several_runs_are_told_once(into: str) -> None:
    put(into, [row(1, error="A: x; B: y", damage="torn", clips=1)], measures=["levels"])
    put(into, [row(1, error="B: y; C: z", damage="torn", packets=2)], measures=["quality"])
    (found,) = got(into, [row(1)], measures=["quality", "levels"]).to_dict("records")
    assert (found["clips"], found["packets"]) == (1, 2)
    assert (found["error"], found["damage"]) == ("B: y; C: z; A: x", "torn")


def test_rows_of_another_format(into: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older ones are measured anew and go; newer ones are left to who knows them."""
    put(into, [row(1, packets=1), row(2, packets=7)])
    with monkeypatch.context() as patched:
        patched.setattr(rows_module, "FORMAT", rows_module.FORMAT + 1)
        assert got(into, [row(1)]).empty
        put(into, [row(1, packets=2)], measures=["quality"]).join()
        assert len(got(into, [row(1)], measures=["quality"])) == 1
        assert sorted(pd.read_parquet(into)["packets"]) == [2, 7]
    with pytest.warns(RuntimeWarning, match="a newer recall_lab wrote it"):
        put(into, [row(1, packets=3)]).join()
    assert {2, 3} <= set(pd.read_parquet(into)["packets"])


def test_files_are_looked_for_again_when_somebody_joins_them(tmp_path: Path) -> None:
    rows = [row(number) for number in range(5)]
    for one in rows:
        put(tmp_path, [one])
    other = Dataset(tmp_path, MEASURES)
    store = Dataset(tmp_path, MEASURES)
    names, joined = store._names, [False]

    def listed() -> list[str]:
        found = names()
        if not joined[0]:
            joined[0] = True
            other.join()
        return found

    store._names = listed  # type: ignore[method-assign]
    assert len(store.read()) == 5


def test_a_file_that_a_user_wrote_back_is_one_of_ours(tmp_path: Path) -> None:
    put(tmp_path, [row(1, packets=1), row(2, packets=2)])
    there = pd.read_parquet(tmp_path)
    day = tmp_path / "day=2026-01-01"
    there[there["packets"] == 1].to_parquet(day / "mine.parquet")
    there.assign(note=1).to_parquet(day / "noted.parquet")
    there.assign(note="good").set_index(["day", "note"]).to_parquet(day / "indexed.parquet")
    put(tmp_path, [row(3, packets=3)]).join()
    kept = pd.read_parquet(tmp_path)
    assert sorted(kept["packets"]) == [1, 2, 3]
    assert len(list(day.iterdir())) == 1


@pytest.mark.parametrize("column", ["source", "version", "measured", "error", "damage", "verdict"])
def test_texts_that_are_none_harm_nobody(tmp_path: Path, column: str) -> None:
    rows = [row(1), row(2)]
    put(tmp_path, rows, measures=["quality"])
    put(tmp_path, rows)
    path = next(tmp_path.rglob("part-*"))
    there = pd.read_parquet(path, partitioning=None).astype({column: object})
    there.loc[0, column] = None
    there.to_parquet(path.with_name("null.parquet"))
    assert len(got(tmp_path, rows)) == 2
    table = pyarrow.parquet.read_table(path, partitioning=None)
    broken = pyarrow.array([b"\xff\xfe"] * 2, pyarrow.binary()).view(pyarrow.string())
    table = table.set_column(table.column_names.index(column), column, broken)
    pyarrow.parquet.write_table(table, path.with_name("broken.parquet"))
    with pytest.warns(RuntimeWarning, match="passed over"):
        put(tmp_path, rows).join()
    with pytest.warns(RuntimeWarning, match="passed over"):
        assert len(got(tmp_path, rows)) == 2


def test_a_clock_far_ahead_is_not_the_newest_for_ever(
    into: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(dataset.time, "time_ns", lambda: 2**63 - 1)
        put(into, [row(1, packets=1)], "1")
    put(into, [row(1, packets=2)], "2").join()
    assert got(into, [row(1)], "2")["packets"].tolist() == [2]
    assert pd.read_parquet(into)["packets"].tolist() == [2]


def test_the_newest_counts_though_the_clock_goes_back(
    into: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(into, [row(1, packets=1)], "1")
    monkeypatch.setattr(dataset.time, "time_ns", lambda: 1)  # another machine's, far behind
    put(into, [row(1, packets=2, day=5)], "2").join()
    assert got(into, [row(1)], "2")["packets"].tolist() == [2]
    assert pd.read_parquet(into)["packets"].tolist() == [2]


def test_all_measures_have_their_columns(into: str) -> None:
    """A reader of Parquet believes the first file about what columns there are."""
    put(into, [row(1, packets=5)], measures=["quality"])
    put(into, [row(2, packets=6, rms_dbfs=-20.0, clips=3)])
    kept = pd.read_parquet(into).set_index("recording")
    assert kept.loc["00002", "rms_dbfs"] == -20
    assert kept["clips"].astype("Int64").isna().tolist() == [True, False]
    Dataset(into, ["quality"]).join()
    assert pd.read_parquet(into).set_index("recording").loc["00002", "rms_dbfs"] == -20


def test_what_may_pass_is_not_kept(into: str) -> None:
    rows = [row(1), row(2, error="no answer") | {PASSING: True}, row(3, error="damaged")]
    put(into, rows)
    assert got(into, rows)["error"].tolist() == ["", "damaged"]
    with pytest.raises(FileNotFoundError):
        pd.read_parquet(f"{into}/none")


def test_rows_are_written_every_few_seconds(into: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(dataset.time, "monotonic", lambda: now[0])
    store = Dataset(into, MEASURES)
    for number, at in enumerate([100.0, 104.9, 105.1, 106.0]):
        now[0] = at
        store.add([row(number)], versions([row(number)]))
        assert len(store._names()) == (at > 105)
    assert len(got(into, [row(number) for number in range(4)])) == 3


def test_a_join_that_is_killed_leaves_rows_twice(
    into: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(number) for number in range(6)]
    for one in rows:
        put(into, [one])
    store = Dataset(into, MEASURES)
    with monkeypatch.context() as patched:
        patched.setattr(store._store, "delete", lambda _: None)
        store.join()
    assert len(pd.read_parquet(into)) == 12
    assert len(got(into, rows)) == 6
    Dataset(into, MEASURES).join()
    assert len(pd.read_parquet(into)) == 6


def test_an_interrupt_while_rows_are_written_loses_none(
    into: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(number, day=number) for number in range(6)]
    store = Dataset(into, MEASURES)
    store.add(rows, versions(rows))
    write, left = store._write, [3]

    def interrupted(name: str, data: bytes) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        write(name, data)

    monkeypatch.setattr(store, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.flush()
    store.flush()
    assert len(got(into, rows)) == 6


def test_many_at_once_lose_nothing(into: str) -> None:
    """Writers and joiners of the same days; files vanish while they are read."""
    rows = [row(number, day=number % 2) for number in range(12)]
    done: list[Row] = []

    def write(seed: int) -> None:
        for one in rows[seed::3]:
            put(into, [one])
            done.append(one)

    def join(seed: int) -> None:
        chance = random.Random(seed)
        while len(done) < len(rows):
            store = Dataset(into, MEASURES)
            before = list(done)
            found = store.good(store.read(), versions(before))
            assert set(found["source"]) <= set(versions(before))
            time.sleep(chance.random() * 0.02)
            store.join()

    with ThreadPoolExecutor(5) as threads:
        work = [threads.submit(write, seed) for seed in range(3)]
        work += [threads.submit(join, seed) for seed in range(2)]
        for one in work:
            one.result()
    assert len(got(into, rows)) == 12
    Dataset(into, MEASURES).join()
    assert len(pd.read_parquet(into)) == 12


def test_files_that_are_none_of_ours_are_passed_over(tmp_path: Path) -> None:
    rows = [row(1), row(2)]
    put(tmp_path, rows)
    day = tmp_path / "day=2026-01-01"
    foreign = [day / "broken.parquet", day / "other.parquet", day / "typed.parquet"]
    foreign[0].write_bytes(next(day.glob("part-*")).read_bytes()[:-20])
    pd.DataFrame({"a": [1]}).to_parquet(foreign[1])
    kept = pd.read_parquet(next(day.glob("part-*")))
    kept.assign(packets="many").to_parquet(foreign[2])
    (day / ".part-1.parquet.123.tmp").write_bytes(b"half")  # of somebody who was killed
    (day / "notes.txt").write_text("mine")
    (tmp_path / "else.parquet").write_bytes(b"")
    with pytest.warns(RuntimeWarning, match="is no part of a survey and is passed over"):
        assert len(got(tmp_path, rows)) == 2
    with pytest.warns(RuntimeWarning, match="move it away"):
        put(tmp_path, [row(3)]).join()
    assert all(path.exists() for path in (*foreign, day / "notes.txt", tmp_path / "else.parquet"))


def test_a_place_that_can_not_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgument, match=r"dataset=.*a folder"):
        Dataset(tmp_path / "file", MEASURES)
    with pytest.raises(StorageFailed, match="/proc/none"):
        put("/proc/none", [row(1)])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"recall_lab\[scale\]"):
        Dataset(tmp_path, MEASURES)
