"""The one natural way through the house, read from the imports; and what every module keeps."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.paths import ROOT

PACKAGE = ROOT / "recall_lab"
MAP = PACKAGE.parent / "docs" / "architecture.md"
MODULES = sorted(PACKAGE.rglob("*.py"))

EVERYONES = {
    "arguments",
    "errors",
    "text",
    "version",
    "configuration",
    "arrays",
    "threads",
    "children",
    "parent_watchdog",
}
CAPTURES = {"wire", "capture", "capture.continuity", "store"}
ANALYSIS = {
    f"analysis.{room}"
    for room in (
        "clocks", "meeting", "axis", "causes", "time", "sound", "alignment", "recording",
        "findings", "detectors", "verdict",
    )
}  # fmt: skip
ALLOWED: dict[str, set[str]] = {
    # room: the rooms below it that it may import from, beside everyone's
    "version": set(),
    "text": set(),
    "threads": set(),
    "children": set(),
    "arguments": {"errors"},
    "parent_watchdog": set(),
    "errors": {"text"},
    "arrays": {"errors"},
    "configuration": {"errors"},
    "wire": set(),
    "control": {"wire"},
    "capture": {"wire"},
    "capture.continuity": {"wire", "capture"},
    "store": {"wire", "capture"},
    "remote": {"wire", "capture", "store"},
    "loading": {"capture", "store", "remote"},
    # beside one another: none imports another
    "archives": {"wire", "capture", "store", "remote"},
    "receiver": CAPTURES | {"control"},
    "receiver.background": CAPTURES | {"control", "receiver"},
    "simulator": {"wire", "capture", "store"},
    "bots": {"wire"},
    "analysis.clocks": {"wire", "capture", "capture.continuity"},
    "analysis.meeting": {"wire", "capture", "analysis.clocks"},
    "analysis.axis": CAPTURES,
    "analysis.causes": {"wire", "capture", "analysis.clocks", "analysis.meeting"},
    "analysis.time": CAPTURES
    | {"loading"}
    | {f"analysis.{room}" for room in ("clocks", "axis", "causes")},
    "analysis.sound": CAPTURES | {"analysis.axis", "analysis.time"},
    "analysis.alignment": CAPTURES | {f"analysis.{room}" for room in ("axis", "time", "sound")},
    "analysis.recording": CAPTURES
    | (ANALYSIS - {f"analysis.{room}" for room in ("findings", "detectors", "verdict")}),
    "analysis.findings": set(),
    "analysis.detectors": CAPTURES | (ANALYSIS - {"analysis.verdict"}),
    "analysis.verdict": CAPTURES | ANALYSIS,
    # plays the other side of both receiver and bots
    "fake_recall": {"wire", "simulator", "analysis.recording"},
    "plots": CAPTURES | ANALYSIS,
    "reports": CAPTURES | ANALYSIS | {"plots", "remote"},
    "notebook": CAPTURES | ANALYSIS | {"control", "plots"},
    "surveys": CAPTURES | ANALYSIS | {"plots", "reports", "loading", "remote", "archives"},
    "cli": {"*"},
    "__init__": {"*"},
}
LONGEST = 450
CROWDED = 14  # modules of a room: more are two rooms


def room_of(name: str) -> str:
    """Return the room of a dotted name in the package: its folder, or its own name at the top.

    Example:
        >>> room_of("capture.continuity.rule"), room_of("loading.load"), room_of("load")
        ('capture.continuity', 'loading', '__init__')
    """
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        if ".".join(parts[:count]) in ALLOWED:
            return ".".join(parts[:count])
    return "__init__"


def place_of(path: Path) -> str:
    """Return the room of a module by its path in the package."""
    return room_of(".".join(path.relative_to(PACKAGE).with_suffix("").parts))


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
    room = place_of(path)
    allowed = ALLOWED[room] | EVERYONES if room not in EVERYONES else ALLOWED[room]
    package = ["recall_lab", *path.relative_to(PACKAGE).parts[:-1]]
    found = []
    for line, name in imports_of(source, package):
        target = room_of(name.removeprefix("recall_lab").lstrip("."))
        if "*" not in allowed and target != room and target not in allowed:
            found.append(f"{path.relative_to(PACKAGE)}:{line} imports {name}")
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def circles(allowed: dict[str, set[str]]) -> list[str]:
    """Return the rooms that may import themselves, by way of others."""

    def below(room: str, seen: set[str]) -> set[str]:
        for one in allowed.get(room, set()) - {room} - seen:
            seen.add(one)
            below(one, seen)
        return seen

    return [room for room in allowed if room in below(room, set())]


def test_every_module_belongs_to_a_room() -> None:
    named = {path.parent for path in MODULES} - {PACKAGE, PACKAGE / "analysis"}
    rooms = {".".join(folder.relative_to(PACKAGE).parts) for folder in named}
    tops = {path.stem for path in MODULES if path.parent == PACKAGE}
    assert rooms | tops == ALLOWED.keys()


def test_rooms_stand_on_one_another_without_circles() -> None:
    assert circles(ALLOWED) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["b", "c"]


def test_no_room_is_crowded() -> None:
    for folder in {path.parent for path in MODULES}:
        modules = [path for path in MODULES if path.parent == folder and path.stem != "__init__"]
        assert len(modules) <= CROWDED, folder


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_imports_from_a_room_above_or_beside_it(path: Path) -> None:
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
        ("receiver/x.py", "from recall_lab.analysis.time.gaps import gaps"),
        ("receiver/x.py", "from recall_lab.bots import client"),
        ("bots/x.py", "from recall_lab.receiver import receiver"),
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
        ("__init__.py", "from recall_lab.receiver.background.start import receive"),
    ],
)
def test_the_rule_lets_the_right_way_through(place: str, line: str) -> None:
    assert forbidden(PACKAGE / place, line) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_is_too_long_to_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST


def test_the_map_has_a_paragraph_for_every_room_and_no_other() -> None:
    told = re.findall(r"^\*\*`([a-z_/]+?)/?`\*\*", MAP.read_text(), re.MULTILINE)
    rooms = {name.replace(".", "/") for name in ALLOWED if not name.startswith("__")}
    tops = EVERYONES | {"loading"}
    assert sorted(told) == sorted(rooms - tops)


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
    "path",
    [path for path in MODULES if place_of(path) in {"wire", "capture", "control", "store"}],
    ids=name_of,
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
    loaded = loaded_by("import recall_lab.store.reader, recall_lab.store.writer")
    assert "pandas" in loaded
    assert loaded & {"matplotlib", "IPython", "scipy", "websockets"} == set()
