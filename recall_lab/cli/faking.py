"""``recall-lab fake-recall``: a stand-in of Recall.ai's REST API, to try things out."""

from __future__ import annotations

import argparse
import signal
import threading
from typing import TYPE_CHECKING

import recall_lab as rl
from recall_lab.cli.bundled import bundled

if TYPE_CHECKING:
    from recall_lab.cli import Commands


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    fake = commands.add_parser(
        "fake-recall",
        help="a stand-in of Recall.ai's REST API, on this machine",
        description="Run a stand-in of Recall.ai's REST API until Ctrl-C: bots created there join "
        "a meeting, stream it with signed connections, leave, and have a recording.",
    )
    fake.add_argument("--port", type=int, default=8787, help="port to listen on (8787; 0: any)")
    fake.add_argument(
        "--meeting", metavar="WAV",
        help="what is said: an audio file with a .csv of speaker, start, end, text beside it "
        "(the bundled stand-up)",
    )  # fmt: skip
    fake.add_argument("--speed", type=float, default=1.0, help="1 is real time (1)")
    fake.add_argument("--loss", type=float, default=0.0, help="share of packets lost (0)")
    fake.add_argument("--seed", type=int, default=0, help="of the losses (0)")
    fake.set_defaults(run=_fake)


def _fake(options: argparse.Namespace) -> int:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with rl.FakeRecall(
        options.meeting or bundled("data/standup.wav"),
        port=options.port,
        speed=options.speed,
        faults=rl.Faults(loss=options.loss, seed=options.seed),
    ) as fake:
        # its key and secret are made anew each time and open nothing else
        print(f"a stand-in of Recall.ai at {fake.base_url} (Ctrl-C to stop). In a notebook:\n")
        print("    import recall_lab as rl")
        print(f'    rx = rl.receive(0, secret="{fake.secret.get_secret_value()}", token=True)')
        print(
            f'    client = rl.bots.Client("{fake.key.get_secret_value()}",\n'
            f'                            base_url="{fake.base_url}")'
        )
        print('    bot = client.create("https://meet.example.org/standup", rx)', flush=True)
        ended.wait()
    print("\nstopped")
    return 0
