"""Run a program that ends when its parent does.

``python -P recall_lab/parent_watchdog.py PROGRAM ...``

A receiver may be killed with no time for a farewell, and a tunnel must not outlive it: it would
publish whatever listens on the port next. So the program is held by this small process, which
waits on its standard input for the receiver to go: the system closes that pipe, however it went.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

_PATIENCE = 3.0  # seconds between asking the program to end and ending it


def main() -> int:
    """Run the program until it ends, we are told to, or standard input closes."""
    program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

    def end() -> None:
        program.terminate()
        try:
            program.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            program.kill()

    def watch() -> None:
        while os.read(0, 4096):
            continue
        end()

    threading.Thread(target=watch, daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=end, daemon=True).start())
    return program.wait()


if __name__ == "__main__":
    sys.exit(main())
