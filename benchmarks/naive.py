"""The obvious Python receiver, to compare with: websockets, json, base64, append.

Measures nothing by itself: ``ingest.py`` runs it as ``python naive.py DIRECTORY``. It says its
port on stderr.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys

from websockets.asyncio.server import ServerConnection, serve


async def main(directory: str) -> None:
    """Receive until killed."""

    async def receive(socket: ServerConnection) -> None:
        async for message in socket:
            event = json.loads(message)
            if event["event"] == "audio_mixed_raw.data":
                audio = base64.b64decode(event["data"]["data"]["buffer"])
                with open(f"{directory}/{event['data']['recording']['id']}.bin", "ab") as file:
                    file.write(audio)

    async with serve(receive, "127.0.0.1", 0, compression=None) as server:
        print(server.sockets[0].getsockname()[1], file=sys.stderr, flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
