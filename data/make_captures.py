"""Make the two small captures with known faults: ``python data/make_captures.py``.

Each is a piece of ``standup.wav`` that the stand-in bot plays, in real time, to a receiver on
this machine; beside the capture stands the truth, a row for every packet there was. What is lost
follows from the seed and is the same each time; times of arrival are those of the day.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import msgspec

import recall_lab as rl
from recall_lab.store.info_file import read_info, write_info

HERE = Path(__file__).parent

CALLS = {
    # single and bunched losses, packets twice and out of order, a jittery network
    "standup-lossy": (
        (0.0, 12.0),
        {"packet": 0.1},
        rl.Faults(
            loss=0.08, burst=2, duplicates=0.05, reorder=0.05, jitter=0.02, malformed=0.03, seed=9
        ),
    ),
    # one participant's stream: muted for a while, then the connection breaks
    "standup-broken": (
        (24.0, 37.0),
        {
            "packet": (0.02, 0.1, 0.2),
            "participant": rl.wire.Participant(100, name="Alice", is_host=True, platform="desktop"),
            "start": 24.0,
        },
        rl.Faults(
            mutes=((3.0, 5.0),),
            disconnects=(8.0,),
            drift=120.0,
            steps=((6.5, 1.25),),
            empty=0.03,
            quantum=0.001,
            seed=5,
        ),
    ),
}


def main() -> None:
    """Make both, and put them here."""
    samples = rl.read_audio(HERE / "standup.wav")
    with (
        tempfile.TemporaryDirectory() as folder,
        rl.receive(0, folder, mode="thread") as rx,
    ):
        for recording, ((start, end), options, faults) in CALLS.items():
            piece = samples[int(start * 16_000) : int(end * 16_000)]
            truth = rl.simulate(piece, rx.url, recording=recording, faults=faults, **options)
            rx.wait(idle=0.5, timeout=10)
            truth.to_csv(HERE / f"{recording}.truth.csv", index=False)
        rx.stop()
        for path in Path(folder).glob("standup-*"):
            shutil.copyfile(path, HERE / path.name)
    for path in HERE.glob("standup-*.json"):
        info, _ = read_info(path)
        assert info is not None
        write_info(path, msgspec.structs.replace(info, writer=None))  # whose machine is no matter
        path.chmod(0o644)


if __name__ == "__main__":
    main()
