"""The first steps of a receiver's process: ``python -P recall_lab/receiver/background/launch.py``.

Only the standard library is loaded before the fork: a process with threads should not fork, and
numerical libraries start some. The middle process ends at once, so that whoever started it has
a child to wait for, and the receiver has no parent whose end could take it along.
"""

from __future__ import annotations

import importlib.util
import os
import sys


def _load_package() -> None:
    """Load the package that this file is part of, wherever it lies: another may be installed."""
    folder = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    spec = importlib.util.spec_from_file_location(
        "recall_lab", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["recall_lab"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def main() -> None:
    """Leave the terminal and the parent, then become the receiver."""
    os.setsid()
    if os.fork():
        os._exit(0)
    _load_package()
    # pandas loads it wherever it is installed: 35 MB and an allocator's threads, for no column here
    sys.modules["pyarrow"] = None  # type: ignore[assignment]
    from recall_lab.receiver.background.daemon import main as receive  # noqa: PLC0415  see above

    receive()


if __name__ == "__main__":
    main()
