"""Charts as SVG text, drawn by matplotlib: the same numbers give the same bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, SOFT, LINE, ACCENT = "#22262b", "#626a73", "#e3e0d8", "#1f6f6b"
_STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "edge-compressor",  # else every file has other ids
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a name may hold a dollar sign
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the style of our reports, whatever the user's matplotlibrc has."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)  # type: ignore[arg-type, unused-ignore]
        # The reader's browser has other fonts; here they only measure the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def svg(figure: Figure, title: str) -> str:
    """Return a figure drawn within `style` as SVG, without date or version."""
    file = io.StringIO()
    unset = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", metadata={"Title": title, **unset})
    return file.getvalue()
