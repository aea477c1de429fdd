"""The one natural way through the house, read from the imports; and what every module keeps."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "recall_lab"
MAP = PACKAGE.parent / "docs" / "architecture.md"
MODULES = sorted(PACKAGE.rglob("*.py"))

EVERYONES = {"errors", "text", "version", "configuration"}
ALLOWED: dict[str, set[str]] = {
    # layer: what it may import from, beside itself
    "version": set(),
    "text": set(),
    "errors": {"text"},
    "configuration": {"errors"},
    "wire": EVERYONES,
    "capture": {"wire"} | EVERYONES,
    # beside one another: none imports another
    "receiver": {"capture", "wire"} | EVERYONES,
    "bots": {"capture", "wire"} | EVERYONES,
    "analysis": {"capture", "wire"} | EVERYONES,
    "display": {"analysis", "capture", "wire"} | EVERYONES,
    # plays the other side of both receiver and bots: stands on the receiver's own bot
    "fake_recall": {"receiver", "analysis", "capture", "wire"} | EVERYONES,
    "cli": {"*"},
    "__init__": {"*"},
    "__main__": {"*"},
}
LONGEST = 450


def layer_of(path: Path) -> str:
    """Return the layer of a module: its folder in the package, or its own name at the top."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports_of(source: str, package: list[str]) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of every import of ours, at any depth, type checking included.

    Args:
        source: a module's text.
        package: the dotted name of the package that the module is in, for relative imports.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "recall_lab":
                yield node.lineno, name


def forbidden(path: Path, source: str) -> list[str]:
    """Return what a module imports that it may not, in words."""
    layer = layer_of(path)
    allowed = ALLOWED[layer]
    package = ["recall_lab", *path.relative_to(PACKAGE).parts[:-1]]
    found = []
    for line, name in imports_of(source, package):
        target = [*name.split("."), "__init__"][1]
        if target not in ALLOWED:
            target = "__init__"  # a name out of the flat namespace: from recall_lab import load
        if "*" not in allowed and target != layer and target not in allowed:
            found.append(f"{path.relative_to(PACKAGE)}:{line} imports {name}")
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def test_every_module_belongs_to_a_layer() -> None:
    assert {layer_of(path) for path in MODULES} <= ALLOWED.keys()
    assert {"wire", "capture", "receiver", "errors", "cli"} <= {layer_of(path) for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_imports_from_a_layer_above_or_beside_it(path: Path) -> None:
    assert forbidden(path, path.read_text()) == []


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("wire/x.py", "from recall_lab.capture.info import CaptureInfo"),
        ("wire/x.py", "import recall_lab.capture"),
        ("wire/x.py", "from recall_lab import load"),
        ("wire/x.py", "import recall_lab"),
        ("wire/x.py", "from ..capture import info"),
        ("wire/x.py", "from .. import capture"),
        ("capture/x.py", "def f():\n    from recall_lab.receiver.server import Server"),
        ("capture/x.py", "if TYPE_CHECKING:\n    from recall_lab.analysis import gaps"),
        ("receiver/x.py", "from recall_lab.analysis.gaps import gaps"),
        ("receiver/x.py", "from recall_lab.bots import client"),
        ("analysis/x.py", "from recall_lab.receiver.receiver import Receiver"),
        ("analysis/x.py", "from recall_lab.display import plots"),
        ("bots/x.py", "from recall_lab.receiver import receiver"),
        ("display/x.py", "from recall_lab.receiver import receiver"),
        ("errors.py", "from recall_lab.wire import pcm"),
    ],
)
def test_the_rule_is_not_blind(place: str, line: str) -> None:
    assert len(forbidden(PACKAGE / place, line)) == 1


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("wire/x.py", "from recall_lab.errors import MISSING"),
        ("wire/x.py", "from . import pcm"),
        ("wire/x.py", "import numpy, recall_laboratory"),
        ("capture/x.py", "from ..wire.pcm import RATE"),
        ("display/x.py", "from recall_lab.analysis import gaps"),
        ("cli.py", "from recall_lab.display import plots"),
        ("__init__.py", "from recall_lab.receiver.start import receive"),
    ],
)
def test_the_rule_lets_the_right_way_through(place: str, line: str) -> None:
    assert forbidden(PACKAGE / place, line) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_is_too_long_to_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST


def mapped(text: str) -> tuple[set[str], set[str]]:
    """Return the modules that the table of the map names, and the folders it names as a whole."""
    modules, folders = set(), set()
    for row in re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE):
        folder = ""
        for name in re.findall(r"`([\w./]+)`", row):
            if name.endswith("/"):
                folders.add(name)
                continue
            folder = name.rpartition("/")[0] or folder
            modules.add(f"{folder}/{name.rpartition('/')[2]}".lstrip("/"))
    return modules, folders


def test_the_map_names_every_module_and_no_other() -> None:
    modules, folders = mapped(MAP.read_text())
    there = {name_of(path) for path in MODULES if not path.stem.startswith("__")}
    within = {name for name in there if name.startswith(tuple(folders))}
    assert there - within - modules == set()
    assert {name for name in modules if name.endswith(".py")} - there == set()


def test_the_map_is_read_rightly() -> None:
    text = (
        "| `wire/pcm.py`, `times.py` | `no/module.py` |\n| `bots/` | `a`, `b` |\n| `text.py` | |\n"
    )
    assert mapped(text) == ({"wire/pcm.py", "wire/times.py", "text.py"}, {"bots/"})


def undocumented(tree: ast.AST, prefix: str = "") -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            yield f"{prefix}{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node, f"{prefix}{node.name}.")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize(
    "path", [path for path in MODULES if layer_of(path) in {"wire", "capture"}], ids=name_of
)
def test_every_public_class_and_function_has_a_docstring(path: Path) -> None:
    assert list(undocumented(ast.parse(path.read_text()))) == []


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after running `code`."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return {name.split(".")[0] for name in ran.stdout.split()}


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = {"matplotlib", "IPython", "scipy", "websockets", "pandas", "soundfile", "asyncio"}
    loaded = loaded_by("import recall_lab")
    assert "recall_lab" in loaded
    assert loaded & heavy == set()


def test_reading_and_writing_captures_needs_no_pictures_and_no_network() -> None:
    loaded = loaded_by("import recall_lab.capture.reader, recall_lab.capture.writer")
    assert "pandas" in loaded
    assert loaded & {"matplotlib", "IPython", "scipy", "websockets"} == set()
