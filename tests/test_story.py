"""The whole story on one machine: a bot is sent, streams, leaves, and what it sent is held against
the final recording. And that no secret is left behind anywhere on the way."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import recall_lab as rl
from recall_lab.receiver.background.registry import runtime_folder

CANARY_KEY = "canarykeycanarykeycanarykey"
CANARY_SECRET = "whsec_Y2FuYXJ5c2VjcmV0Y2FuYXJ5c2VjcmV0"
CANARY_TOKEN = "canarytokencanarytokencanarytoken"


@pytest.mark.slow
def test_from_a_link_to_a_verified_complete_capture(tmp_path: Path, root: Path) -> None:
    began = time.monotonic()
    faults = {
        None: rl.Faults(loss=0.05, burst=2, disconnects=(25,), seed=7),
        101: rl.Faults(loss=0.03, seed=3),
    }
    captures = tmp_path / "captures"
    with (
        rl.FakeRecall(
            root / "data" / "standup.wav", speed=12, pace=0.05, faults=faults, lead=1.25, gain=9
        ) as fake,
        rl.receive(0, captures, secret=fake.secret, token=True) as rx,
        rl.bots.Client(fake.key, base_url=fake.base_url) as client,
    ):
        # create and join
        bot = client.create(
            "https://meet.example.org/standup", rx, name="Lab", streams=("mixed", "separate"),
            events=("participant_events.join", "participant_events.speech_on",
                    "participant_events.speech_off", "transcript.data"),
            metadata={"team": "red"},
        )  # fmt: skip
        bot = client.wait_until(bot, "in_call_recording", poll=0.02, progress=False)
        # stream and leave
        bot = client.wait_until(bot, "done", timeout=60, poll=0.1, progress=False)
        rx.wait(idle=0.3, timeout=10)
        assert rx.status.refused == {}
        assert [one.status for one in client.endpoint_status(bot)] == ["done"]
        # download
        final = client.download(bot, tmp_path, poll=0.1)
        assert fake.key.get_secret_value().encode() not in b"".join(
            body for _, _, _, body in fake.requests
        )
    mixed, alice, bob = rl.load_recording(captures / bot.recordings[-1].id)
    assert mixed.info.metadata == {"team": "red"}
    assert [who.info.participant.name for who in (alice, bob) if who.info.participant] == [
        "Alice", "Bob",
    ]  # fmt: skip
    # what happened beside the audio is what the meeting says
    meeting = rl.simulator.read_meeting(root / "data" / "standup.wav")
    turns = sorted(turn.start for voice in meeting.voices for turn in voice.turns)
    assert rl.speakers(mixed)["start"].tolist() == pytest.approx(turns)
    said = " ".join(rl.transcript(mixed)["text"])
    assert "Yesterday I fixed the echo canceller." in said
    # what is missing is told by cause
    causes = set(rl.gaps(mixed).query("kind == 'gap'")["cause"])
    assert causes == {"loss", "reconnect"}
    assert not len(rl.gaps(alice))
    # compare: the truth is known
    found = rl.compare(mixed, final)
    assert found.offset == pytest.approx(1.25, abs=1e-3)
    assert found.level == pytest.approx(-9, abs=0.5)
    assert found.gaps["recorded"].all()
    # repair: nothing is missing any more, and it is what was said
    whole = rl.repair(mixed, final, comparison=found)
    assert not (rl.gaps(whole)["kind"] == "gap").any()
    line = rl.timeline(whole)
    fit = np.corrcoef(line.samples, meeting.mixed[: len(line)])[0, 1]
    assert fit > 0.99
    # and the voices, mixed, are what Recall.ai mixed
    assert rl.mix([alice, bob]).against(mixed)["similarity"] > 0.95
    assert time.monotonic() - began < 30


SOURCE = """
%xmode Verbose
import logging
logging.basicConfig(level=logging.DEBUG, filename="debug.log")
import recall_lab as rl
rx = rl.receive(0, "captures", public_url="https://bench.example.org/")
---
rx
---
rx.bot_url, str(rx.bot_url), rx.settings, rx.status, rl.receivers(), rx.recordings()
---
from recall_lab.configuration import Configuration
Configuration()
---
rl.simulate("standup.wav", rx.url, speed=float("inf"))
---
from pydantic import SecretStr
local = SecretStr(rx.bot_url.get_secret_value().replace("wss://bench.example.org/", rx.url))
rl.simulate("standup.wav", local, speed=float("inf"))
---
secret = Configuration().recall_workspace_verification_secret
truth = rl.simulate("standup.wav", local, speed=float("inf"), secret=secret)
rx.wait(packets=len(truth), timeout=10), rx.capture(), rx.capture().info
---
client = rl.bots.Client(base_url="http://127.0.0.1:9/api/v1/", retry_timeout=0.1)
client
---
client.create("https://meet.example.org/x", rx)
---
rl.receive(rx.port, "captures", public_url="https://other.example.org/", tunnel="ngrok")
---
rl.watch(rx)
---
rx.stop()
"""


@pytest.mark.slow
def test_a_secret_is_nowhere_in_an_executed_notebook_nor_in_the_captures(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "standup.wav").write_bytes((root / "data" / "standup.wav").read_bytes())
    (tmp_path / ".env").write_text(
        f"RECALL_API_KEY={CANARY_KEY}\nRECALL_REGION=us-west-2\n"
        f"RECALL_WORKSPACE_VERIFICATION_SECRET={CANARY_SECRET}\nRECALL_LAB_TOKEN={CANARY_TOKEN}\n"
        f"NGROK_AUTHTOKEN={CANARY_KEY}\n"
    )
    for name in list(os.environ):
        if name.startswith("RECALL_") and name != "RECALL_LAB_RUNTIME":
            monkeypatch.delenv(name)
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in SOURCE.split("---")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(
        notebook,
        timeout=60,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    asyncio.run(client.async_execute())
    errors = [
        out["evalue"] for cell in notebook.cells for out in cell.outputs
        if out.output_type == "error"
    ]  # fmt: skip
    # the failures are the ones that were meant: their tracebacks are what is looked at
    assert len(errors) == 4, errors
    assert "401" in errors[0]
    assert "401" in errors[1]
    (tmp_path / "notebook.ipynb").write_text(nbformat.writes(notebook))
    looked_at = [
        path
        for folder in (tmp_path, runtime_folder())
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".env"
    ]
    assert any(path.suffix == ".bin" for path in looked_at)
    assert (tmp_path / "debug.log").stat().st_size > 1_000
    for path in looked_at:
        data = path.read_bytes()
        for canary in (CANARY_KEY, CANARY_SECRET.removeprefix("whsec_"), CANARY_TOKEN):
            assert canary.encode() not in data, path
    assert "receiving at" in nbformat.writes(notebook)
