"""The first steps of a receiver's process: ``python -m recall_lab.receiver.background.launch``.

Only the standard library is loaded before the fork: a process with threads should not fork, and
numerical libraries start some. The middle process ends at once, so that whoever started it has
a child to wait for, and the receiver has no parent whose end could take it along.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Leave the terminal and the parent, then become the receiver."""
    os.setsid()
    if os.fork():
        os._exit(0)
    # pandas loads it wherever it is installed: 35 MB and an allocator's threads, for no column here
    sys.modules["pyarrow"] = None  # type: ignore[assignment]
    from recall_lab.receiver.background.daemon import main as receive  # noqa: PLC0415  see above

    receive()


if __name__ == "__main__":
    main()
