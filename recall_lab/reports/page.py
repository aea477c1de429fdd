"""Build HTML files that need nothing else: frame, style, pictures for light and dark.

Nothing in them is loaded from anywhere, and their own policy forbids it to.
"""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from recall_lab.analysis.recording.export import whole_or_nothing
from recall_lab.errors import InvalidArgument
from recall_lab.plots.style import DARK, LIGHT, png_of
from recall_lab.remote.filesystem import is_url
from recall_lab.text import as_unicode, safe_html
from recall_lab.version import __version__

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #009e73;
        --usable: #e69f00; --poor: #d55e00; --empty: #999; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem;
       background: #fff; color: #1b1b1b; }
@media (prefers-color-scheme: dark) { body { background: #16191d; color: #e6e6e6; } }
h1 { font-size: 1.5rem; margin: .2rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
img { width: 100%; height: auto; display: block; }
.verdict { border-left: .5rem solid var(--empty); background: var(--soft); padding: .6rem 1rem;
           font-size: 1.1rem; margin: 1rem 0; }
.good { border-color: var(--good); } .usable { border-color: var(--usable); }
.poor { border-color: var(--poor); }
.findings { list-style: none; padding: 0; margin: 0 0 1rem; }
.findings li { border-left: .3rem solid var(--empty); padding: .1rem 0 .1rem .7rem;
               margin: .5rem 0; overflow-wrap: anywhere; }
.findings .poor { border-color: var(--poor); } .findings .usable { border-color: var(--usable); }
.findings a { color: inherit; } .findings small { opacity: .75; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .5rem; }
.facts div { background: var(--soft); padding: .4rem .7rem; overflow-wrap: anywhere; }
.facts small { display: block; opacity: .75; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid var(--line);
         vertical-align: top; white-space: nowrap; }
.told, .name { white-space: normal; min-width: 16rem; overflow-wrap: anywhere; }
.name { min-width: 12rem; }
.number { text-align: right; }
audio { width: 100%; max-width: 30rem; display: block; margin: .4rem 0; }
.moments { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: 1rem; }
.scroll { overflow-x: auto; } .scroll img { min-width: 40rem; }
footer { margin: 2rem 0; font-size: .85rem; opacity: .75; }
"""


_POLICY: Final = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"


def page_path(path: str | os.PathLike[str]) -> Path:
    """Return where a page is to be written.

    Raises:
        InvalidArgument: for another suffix, a URL, or a folder that is not there.
    """
    if is_url(path):
        raise InvalidArgument("path", os.fspath(path), "a file on this machine; copy it afterwards")
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InvalidArgument("path", str(path), "a name that ends in .html")
    if not path.parent.is_dir() or path.is_dir():
        raise InvalidArgument("path", str(path), "a file in a folder that is there")
    return path


def write(path: Path, text: str) -> None:
    """Write a page, whole or not at all."""
    with whole_or_nothing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def page(name: str, parts: Sequence[str], note: str) -> str:
    """Return a page.

    Args:
        name: its title; foreign text.
        parts: HTML.
        note: at its end; HTML.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{safe_html(as_unicode(name))}</title>\n<style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + f"\n<footer>Made by recall_lab {__version__} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. "
        f"{note}</footer>\n</body></html>\n"
    )


def picture(
    draw: Callable[[Figure], object], size: tuple[float, float], told: str, *, scroll: bool = True
) -> str:
    """Return a picture for light and for dark pages; a wide one scrolls on a phone."""
    light, dark = (_png(draw, size, style) for style in (LIGHT, DARK))
    return (
        f'<div class="{"scroll" if scroll else ""}"><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img alt="{html.escape(told)}" src="{light}"></picture></div>'
    )


def _png(draw: Callable[[Figure], object], size: tuple[float, float], style: dict[Any, str]) -> str:
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        png = png_of(figure, 110)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def facts(told: Mapping[str, str]) -> str:
    """Return facts as small boxes."""
    cells = "".join(
        f"<div><small>{html.escape(name)}</small>{html.escape(fact)}</div>"
        for name, fact in told.items()
    )
    return f'<div class="facts">{cells}</div>'
