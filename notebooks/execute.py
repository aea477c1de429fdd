"""Execute the notebooks in place, as they are committed: ``python execute.py [NAME ...]``.

Pictures are reduced to 256 colours, a third of their size, so that a notebook of spectrograms
stays small enough to be read on the web. Captures of an earlier run are removed first.
"""

from __future__ import annotations

import base64
import io
import shutil
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parent


def reduced(picture: str) -> str:
    """Return a PNG in base64 with 256 colours."""
    small = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(picture)))
    if image.mode == "RGBA" and image.getextrema()[3][0] < 255:
        return picture  # transparent, to read on any page; the live panel's, and small
    image.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE).save(
        small, format="png", optimize=True
    )
    return base64.b64encode(small.getvalue()).decode()


def main(names: list[str]) -> None:
    """Execute the notebooks whose names begin with one of `names`, or all."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and not path.name.startswith(tuple(names)):
            continue
        shutil.rmtree(FOLDER / "captures", ignore_errors=True)
        notebook = nbformat.read(path, as_version=4)
        # what a run leaves behind that is no result: times, and which Python it was
        NotebookClient(
            notebook,
            timeout=120,
            record_timing=False,
            store_widget_state=False,  # without a kernel the still picture says as much
            resources={"metadata": {"path": FOLDER}},
        ).execute()
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                data = output.get("data", {})
                if "image/png" in data:
                    data["image/png"] = reduced(data["image/png"])
        nbformat.write(notebook, path)
        sys.stdout.write(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB\n")


if __name__ == "__main__":
    main(sys.argv[1:])
