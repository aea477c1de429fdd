"""How fast many captures are surveyed: processes and dask beside a plain loop, in one run.

    python benchmarks/survey.py [--only local bucket linear disturbed] [--repetitions 3]

local: captures of 60 s, all measures, by a plain loop over them in this process, by
`rl.survey(folder)` with its own processes (warm: started before, as they are from a second survey
on; the first one's start is printed as well), and by `rl.survey(folder, client=client)` on a dask
scheduler with as many workers, each a process. The contenders take turns, the median counts.

bucket: the indexes of captures in moto's S3 server behind a proxy that adds 30 ms to each answer:
`rl.survey(url, measures=["quality"])` beside what one would write by hand, one capture after the
other and one request after the other: size of the audio, index, ids, journal, then rl.quality of
them. Of the loop a part is timed, and counted up; `rl.load(url)` in a loop is timed too.

linear: 2,500, 5,000 and 10,000 captures, index only: time for each, and the peak of memory of the
client, which is a process of its own.

disturbed: 500 captures, 50 of them damaged, while a worker of the cluster is killed, the client is
killed and its survey gone on with, and the bucket answers 503 now and then: is the frame the same
as that of an undisturbed survey, bit for bit?
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import pandas as pd
from helpers.bucket import bucket, s3_server
from helpers.cluster import client_of, cluster
from helpers.many import write_captures

import recall_lab as rl
from recall_lab.remote.listing import find_streams
from recall_lab.surveys.measures import MEASURES, measure_stream
from recall_lab.surveys.workers import processes


def timed(call: Callable[[], object]) -> float:
    """Return how long a call takes, s."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def plain_loop(folder: Path) -> None:
    """Measure one capture after the other, in this process."""
    for stream in find_streams(folder):
        measure_stream(stream, rl.load(stream.source), MEASURES)


def local(folder: Path, captures: int, repetitions: int) -> bool:
    """Time the engines on files."""
    write_captures(folder, captures)
    workers = processes()
    times: dict[str, list[float]] = {"loop": [], "processes": [], "dask": []}
    first = timed(lambda: rl.survey(folder, progress=False))
    with cluster(workers) as dask, client_of(dask, workers) as client:
        rl.survey(folder, client=client, progress=False)  # its workers import what they need
        plain_loop(folder)
        for _ in range(repetitions):
            times["loop"].append(timed(lambda: plain_loop(folder)))
            times["processes"].append(timed(lambda: rl.survey(folder, progress=False)))
            times["dask"].append(timed(lambda: rl.survey(folder, client=client, progress=False)))
    middle = {name: statistics.median(took) for name, took in times.items()}
    print(f"{captures} captures of 60 s, all measures, {workers} workers")
    for name, took in middle.items():
        print(f"  {name:<10} {took:7.2f} s  {1e3 * took / captures:7.1f} ms each")
    print(f"  processes, the first time: {first:.2f} s")
    gain, dask_by = middle["loop"] / middle["processes"], middle["dask"] / middle["processes"]
    print(f"  processes are {gain:.2f} times as fast as the loop (1.8 wanted)")
    print(f"  dask takes {dask_by:.2f} times as long as processes (1.3 at most)")
    return gain >= 1.8 and dask_by <= 1.3


def by_hand(url: str, names: list[str]) -> None:
    """Fetch and measure one after the other, one request at a time."""
    import fsspec

    from recall_lab.remote.reader import capture_of

    fs = fsspec.filesystem("s3")
    for name in names:
        base = f"{url.removeprefix('s3://')}{name}"
        size = fs.info(f"{base}.bin")["size"]
        index, info, journal = (
            fs.cat_file(f"{base}{suffix}") for suffix in (".idx", ".json", ".events.jsonl")
        )
        rl.quality(capture_of(fs, base, base, index, info, (".bin", size), (journal, b"")))


def one_by_one(url: str, names: list[str]) -> None:
    """Load and measure one after the other."""
    for name in names:
        rl.quality(rl.load(f"{url}{name}.bin"))


def in_bucket(folder: Path, captures: int, repetitions: int, part: int) -> bool:
    """Time the survey of indexes through latency."""
    paths = write_captures(folder, captures)
    names = [path.stem for path in paths]
    with s3_server() as server, bucket(server, latency=0.03) as store:
        store.upload(folder, "calls/")
        url = store.url("calls/")
        rl.survey(url, measures=["quality"], progress=False)
        times: dict[str, list[float]] = {"by hand": [], "rl.load": [], "survey": []}
        for _ in range(repetitions):
            scale = captures / part
            times["by hand"].append(scale * timed(lambda: by_hand(url, names[:part])))
            times["rl.load"].append(scale * timed(lambda: one_by_one(url, names[:part])))
            times["survey"].append(
                timed(lambda: rl.survey(url, measures=["quality"], progress=False))
            )
    middle = {name: statistics.median(took) for name, took in times.items()}
    print(f"{captures} captures in a bucket 30 ms away, index only")
    for name, took in middle.items():
        print(f"  {name:<10} {took:7.2f} s  {1e3 * took / captures:7.1f} ms each")
    gain = middle["by hand"] / middle["survey"]
    print(f"  the survey is {gain:.1f} times as fast as one after the other (20 wanted)")
    print(f"  and {middle['rl.load'] / middle['survey']:.1f} times as rl.load, one after the other")
    return gain >= 20


def client_memory(folder: str, count: int) -> None:
    """Survey, and print what it took; run in a process of its own."""
    took = timed(lambda: rl.survey([str(Path(folder) / str(count))], measures=["quality"]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"took": took, "peak": peak}))


def linear(folder: Path, sizes: list[int]) -> bool:
    """Time surveys of more and more captures."""
    templates = write_captures(folder / "some", 100)
    rows = []
    for size in sizes:
        into = folder / str(size)
        into.mkdir()
        for number in range(size):
            for path in templates[number % 100].parent.glob(f"{templates[number % 100].stem}.*"):
                name = path.name.replace(templates[number % 100].stem, f"call-{number:06}")
                os.link(path, into / name)
        program = [sys.executable, __file__, "--client", str(folder), str(size)]
        done = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True)
        rows.append((size, json.loads(done.stdout.splitlines()[-1])))
    print("index only, more and more captures")
    for size, told in rows:
        each = 1e3 * told["took"] / size
        print(f"  {size:>6,}  {told['took']:7.1f} s  {each:5.2f} ms each  {told['peak']:5.0f} MB")
    first, last = (told["took"] / size for size, told in (rows[0], rows[-1]))
    print(f"  each takes {last / first:.2f} times as long as in the smallest (1.25 at most)")
    return last / first <= 1.25 and rows[-1][1]["peak"] < 500


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Return whether two frames are the same, bit for bit."""
    floats = one.select_dtypes("float64").columns
    return one.equals(other) and all(
        one[name].to_numpy().tobytes() == other[name].to_numpy().tobytes() for name in floats
    )


def disturbed(folder: Path) -> bool:
    """Survey while things break."""
    calls, into = folder / "calls", folder / "into"
    write_captures(calls, 500, 5, damaged=50)
    plain = rl.survey(calls, progress=False)
    broken = int(((plain["error"] != "") | (plain["damage"] != "")).sum())
    print(f"{len(plain)} captures, {broken} of them damaged, all measures")
    good = len(plain) == 500 and broken >= 50

    def tell(what: str, found: pd.DataFrame, than: pd.DataFrame) -> bool:
        equal = same(found, than)
        print(f"  {what}: {'the same frame' if equal else 'ANOTHER FRAME'}")
        return equal

    with cluster(2) as dask, client_of(dask) as client:
        rl.survey(calls / "call-0000*", client=client, progress=False)
        threading.Timer(1.0, dask.workers[0].kill).start()
        found = rl.survey(calls, client=client, progress=False)
        died = len(client.nthreads()) == 1
    good &= tell(f"one of two workers of dask {'killed' if died else 'NOT KILLED'}", found, plain)

    program = "import sys, recall_lab as rl; rl.survey(sys.argv[1], dataset=sys.argv[2])"
    command = [sys.executable, "-c", program, str(calls), str(into)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(into.glob("day=*/*.parquet")):
            time.sleep(0.01)
        process.kill()
    kept = len(pd.read_parquet(into)) if into.exists() else 0
    good &= 0 < kept < 500 and process.returncode != 0
    found = rl.survey(calls, dataset=into, progress=False)
    good &= tell(f"client killed when {kept} rows were kept, and gone on with", found, plain)

    with s3_server() as server, bucket(server) as store:
        store.upload(calls, "calls/")
        plain = rl.survey(store.url("calls/"), progress=False)
        store.forget()
        store.busy = 0.03
        found = rl.survey(store.url("calls/"), dataset=store.url("into"), progress=False)
        asked = sum(store.requests.values())
        good &= store.refused > 10
    return good & tell(f"{store.refused} of {asked:,} requests answered 503", found, plain)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=["local", "bucket", "linear", "disturbed"])
    parser.add_argument("--captures", type=int, default=200)
    parser.add_argument("--remote", type=int, default=1000)
    parser.add_argument("--part", type=int, default=100, help="of the loops through the bucket")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2500, 5000, 10_000])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--client", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        client_memory(options.client[0], int(options.client[1]))
        return 0
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "local" in options.only:
            good &= local(folder / "local", options.captures, options.repetitions)
        if "bucket" in options.only:
            part = min(options.part, options.remote)
            good &= in_bucket(folder / "bucket", options.remote, options.repetitions, part)
        if "linear" in options.only:
            good &= linear(folder / "linear", options.sizes)
        if "disturbed" in options.only:
            good &= disturbed(folder / "disturbed")
    print("all bounds are kept" if good else "BROKEN: a bound is not kept")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
