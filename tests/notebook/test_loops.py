"""Loops that nest: only when asked, only where it works; each in a process of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import recall_lab as rl
from recall_lab.errors import MissingExtra, NestingRefused


def run(code: str, *, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code],
        cwd=cwd, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


SENDING = """
import asyncio, threading
import numpy as np
import recall_lab as rl

speech = np.random.default_rng(1).integers(-3000, 3000, 32_000).astype("<i2")

async def main():
    async with rl.Server("captures", port=0) as server:
        truth = await rl.simulate_async(speech, server.url, speed=50)
        while server.status.packets < len(truth):
            await asyncio.sleep(0.01)
        return server.status.packets
"""


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="nest_asyncio breaks Python 3.14")
def test_a_program_in_a_loop_works_once_it_is_allowed(tmp_path: Path) -> None:
    said = run(
        SENDING + """
async def cell():
    coroutine = main()
    try:
        asyncio.run(coroutine)
    except RuntimeError as error:
        coroutine.close()
        print("refused:", error)
    beside = asyncio.create_task(asyncio.sleep(0.01, "beside"))
    print(rl.allow_nested_loops(), rl.allow_nested_loops())
    print(asyncio.run(main()), asyncio.get_event_loop().run_until_complete(main()))
    print(await beside, await main())
    # what runs loops of its own in threads goes on as ever
    with rl.receive(0, "threaded", mode="thread") as rx:
        truth = rl.simulate(speech, rx.url, speed=50)
        print(rx.wait(packets=len(truth), timeout=10) == len(truth))
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(main())
    print(asyncio.current_task() is not None)

asyncio.run(cell())
""",
        cwd=tmp_path,
    )  # fmt: skip
    assert said.splitlines() == [
        "refused: asyncio.run() cannot be called from a running event loop",
        "True True", "10 10", "beside 10", "True", "True",
    ]  # fmt: skip


def test_where_no_loop_runs_nothing_is_changed() -> None:
    before = (asyncio.run, asyncio.Task, asyncio.SelectorEventLoop.run_until_complete)
    assert rl.allow_nested_loops() is False
    after = (asyncio.run, asyncio.Task, asyncio.SelectorEventLoop.run_until_complete)
    assert before == after


def test_importing_never_applies_it(tmp_path: Path) -> None:
    said = run(
        "import asyncio; before = asyncio.run\n"
        "import sys, recall_lab as rl\n"
        "for name in dir(rl): getattr(rl, name)\n"
        "print(asyncio.run is before, 'nest_asyncio' in sys.modules)",
        cwd=tmp_path,
    )
    assert said.split() == ["True", "False"]


async def _ask() -> bool:
    return rl.allow_nested_loops()


def test_python_3_14_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recall_lab.notebook.loops.sys.version_info", (3, 14, 0, "final", 0))
    with pytest.raises(NestingRefused, match=r"breaks asyncio on Python 3\.14.*await in the cell"):
        asyncio.run(_ask())


def test_another_loop_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loop:
        """As uvloop's: no asyncio.BaseEventLoop."""

    monkeypatch.setattr("recall_lab.notebook.loops.asyncio.get_running_loop", Loop)
    with pytest.raises(NestingRefused, match=r"the running loop is a .*Loop, and only asyncio's"):
        rl.allow_nested_loops()


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nest_asyncio", None)
    with pytest.raises(MissingExtra, match=r"recall_lab\[lab\]"):
        asyncio.run(_ask())
