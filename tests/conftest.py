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
from helpers.paths import ROOT
from hypothesis import settings

if TYPE_CHECKING:
    import pandas as pd
    from helpers.bucket import Bucket

    from recall_lab.capture.capture import Capture

# before anything of ours is imported; short, because a socket's path may not be long
# a shell's background jobs ignore Ctrl-C, and so would what they start
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["helpers.writing"]

_RUNTIME = tempfile.mkdtemp(prefix="rl-")
os.environ["RECALL_LAB_RUNTIME"] = _RUNTIME
os.environ["MPLBACKEND"] = "Agg"

# a slow machine is no failure: how long an example takes is measured in benchmarks/
settings.register_profile("here", deadline=None)
# what is drawn anew each time finds more; what passes here has to pass there
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if "CI" in os.environ else "here")


@pytest.fixture(scope="session", autouse=True)
def runtime() -> Iterator[Path]:
    """The folder in which receivers are noted; whatever still runs at the end is stopped."""
    yield Path(_RUNTIME)
    import recall_lab as rl

    for receiver in rl.receivers():
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
    from helpers.builders import make_capture

    return make_capture


@pytest.fixture(scope="session")
def events() -> Callable[..., pd.DataFrame]:
    """An events frame from a few fields."""
    from helpers.builders import make_events

    return make_events


@pytest.fixture(scope="session")
def arrive() -> Callable[..., Capture]:
    """The capture that a perfect receiver makes of a plan."""
    from helpers.builders import arrive

    return arrive


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """An S3 server, one for all tests of a process."""
    from helpers.bucket import s3_server

    with s3_server() as port:
        yield port


@pytest.fixture
def store(s3_port: int) -> Iterator[Bucket]:
    """An empty bucket in it, reached through a proxy that can be slow and busy."""
    from helpers.bucket import bucket

    with bucket(s3_port) as one:
        one.empty()
        yield one


@pytest.fixture(autouse=True)
def no_figures_left() -> Iterator[None]:
    """Close what a test has drawn: the next one may open many."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
