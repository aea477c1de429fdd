"""The commands of a notebook, in a shell like a notebook's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

import recall_lab as rl


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "recall_lab")
    yield shell
    InteractiveShell.clear_instance()


def test_receive_look_and_ask_what_is_missing(
    shell: InteractiveShell, tmp_path: Path, speech: np.ndarray
) -> None:
    folder = tmp_path / "a folder"
    rx = shell.run_line_magic("receive", f'--port 0 --directory "{folder}" --mode thread')
    assert isinstance(rx, rl.Receiver)
    assert rx.directory == folder
    with rx:
        faults = rl.Faults(loss=0.1, seed=1)
        truth = rl.simulate(speech, rx.url, speed=100, packet=0.1, faults=faults, recording="r")
        rx.wait(packets=int((truth["outcome"] == "sent").sum()), timeout=10)
        status = shell.run_line_magic("capture_status", "")
        row = status[status["receiver"] == rx.url].iloc[0]
        assert (row["recording"], row["packets"]) == ("r", (truth["outcome"] == "sent").sum())
        shell.user_ns["rx"] = rx
        live = shell.run_line_magic("gaps", "rx")
        capture = rx.capture()
    shell.user_ns["mine"] = capture
    for name in ("mine", f"'{folder}/r.bin'"):
        pd.testing.assert_frame_equal(shell.run_line_magic("gaps", name), rl.gaps(capture))
    pd.testing.assert_frame_equal(live, rl.gaps(capture))


@pytest.mark.parametrize(
    ("magic", "line", "told"),
    [
        ("receive", "--port many", "invalid int value"),
        ("receive", "--help", "--directory"),
        ("receive", "--volume 11", "unrecognized arguments"),
        ("gaps", "a b", "unrecognized arguments"),
        ("capture_status", "now", "takes no argument"),
    ],
)
def test_a_mistake_is_one_line_and_the_usage(
    shell: InteractiveShell, magic: str, line: str, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        shell.run_line_magic(magic, line)


def test_with_nothing_running_it_says_what_to_do(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recall_lab.cli.magics.rl.receivers", list)
    for magic in ("gaps", "capture_status"):
        with pytest.raises(UsageError, match=r"no receiver is running.*%receive"):
            shell.run_line_magic(magic, "")


def test_a_capture_that_is_not_there_is_the_usual_error(shell: InteractiveShell) -> None:
    with pytest.raises(rl.errors.CaptureNotFound):
        shell.run_line_magic("gaps", "nowhere/x.bin")
