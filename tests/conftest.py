"""What all tests share: a runtime folder of their own, and no picture on any screen."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    import pandas as pd
    from bucket import Bucket

    from recall_lab.capture.capture import Capture

# before anything of ours is imported; short, because a socket's path may not be long
# a shell's background jobs ignore Ctrl-C, and so would what they start
signal.signal(signal.SIGINT, signal.default_int_handler)

_RUNTIME = tempfile.mkdtemp(prefix="rl-")
os.environ["RECALL_LAB_RUNTIME"] = _RUNTIME
os.environ["MPLBACKEND"] = "Agg"

ROOT = Path(__file__).parent.parent

# what is drawn anew each time finds more; what passes here has to pass there
settings.register_profile("ci", derandomize=True, print_blob=True)
if "CI" in os.environ:
    settings.load_profile("ci")


@pytest.fixture(scope="session", autouse=True)
def runtime() -> Iterator[Path]:
    """The folder in which receivers are noted; whatever still runs at the end is stopped."""
    yield Path(_RUNTIME)
    import recall_lab as rl

    for receiver in rl.running():
        receiver.stop()
    shutil.rmtree(_RUNTIME, ignore_errors=True)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """Twelve seconds of noise in bursts, int16: no two packets of it are alike."""
    rng = np.random.default_rng(1)
    return rng.integers(-3000, 3000, 12 * 16_000).astype("<i2")


@pytest.fixture(scope="session")
def make() -> Callable[..., Capture]:
    """A capture of packets given by their columns."""
    from builders import make_capture

    return make_capture


@pytest.fixture(scope="session")
def events() -> Callable[..., pd.DataFrame]:
    """An events frame from a few fields."""
    from builders import make_events

    return make_events


@pytest.fixture(scope="session")
def arrive() -> Callable[..., Capture]:
    """The capture that a perfect receiver makes of a plan."""
    from builders import arrive

    return arrive


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """An S3 server, one for all tests of a process."""
    from bucket import s3_server

    with s3_server() as port:
        yield port


@pytest.fixture
def store(s3_port: int) -> Iterator[Bucket]:
    """An empty bucket in it, reached through a proxy that can be slow and busy."""
    from bucket import bucket

    with bucket(s3_port) as one:
        one.empty()
        yield one


@pytest.fixture(autouse=True)
def no_figures_left() -> Iterator[None]:
    """Close what a test has drawn: the next one may open many."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
