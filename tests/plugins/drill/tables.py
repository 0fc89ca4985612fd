"""CSV files of labels, as people write them and as nobody should."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from drill import changes
from drill.case import DONE, WRONG_INPUT, Case, Outcome

CELLS = (
    "", ",", ";", "\t", '"', '""', "'", "\0", "\r", "\ufeff", "\u202e", "a\u0308", "\u00e4", "\\",
    "\ud800", "=cmd|' /C calc'!A0", "+1", "-1", "@x", "/etc/passwd", "C:\\a.png",
    "red/00.png", "red/00.png,red", "blue/01.png;blue", "image,label", "filename;class", "NaN", "0",
    "None", "1e999", "x" * 140_000, ",".join("abc" * 3_000), "\x1b[2J", "<script>", '"a\nb"', '"a',
    "  ", "\x85", "\u2028", "\x1c", "\U0001f600", "red", "RED", " red ",
)  # fmt: skip
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "utf-7")


class Tables:
    """A changed CSV beside twelve images of three classes."""

    name = "CSVs"
    cpu_limit_s = 10.0
    memory_limit_mb = 400.0

    def prepare(self, folder: Path) -> None:
        """Make the images, and the same labels in several ways."""
        self.folder, rows = folder / "images", []
        rng = np.random.default_rng(0)
        for label in ("red", "green", "blau \u00e4"):
            (self.folder / label).mkdir(parents=True)
            for number in range(4):
                path = self.folder / label / f"{number:02}.png"
                Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(path)
                rows.append((path.relative_to(self.folder).as_posix(), label))
        self.sound = []
        for comma, header in ((",", "image,label"), (";", "filename;class"), ("\t", "path\tlabel")):
            self.sound.append("\n".join([header, *(f"{a}{comma}{b}" for a, b in rows), ""]))
        self.sound.append(
            "\r\n".join(["id,image,label,by", *(f'1,"{a}","{b}",x' for a, b in rows)])
        )

    def make(self, rng: Random, folder: Path) -> Case:
        """Change lines, the encoding, or bytes."""
        shutil.copytree(self.folder, folder / "images")
        text, change = changes.lines(rng, rng.choice(self.sound), CELLS)
        encoding = rng.choice(ENCODINGS) if rng.random() < 0.3 else "utf-8"
        content = text.encode(
            encoding,
            "surrogatepass" if encoding[:3] == "utf" and encoding != "utf-7" else "replace",
        )
        if rng.random() < 0.4:
            content, more = changes.content(rng, content, most=2)
            change = f"{change}, {more}"
        (folder / "labels.csv").write_bytes(content)
        words = ("compressor", "audit", "images", "--labels", "labels.csv", "--json")
        return Case(words, frozenset({DONE, WRONG_INPUT}), f"{encoding}: {change}", judge=_judge)


def _judge(outcome: Outcome) -> list[str]:
    """Whatever the labels are, there are twelve images."""
    if outcome.code == WRONG_INPUT:
        return []
    counts = json.loads(outcome.out)["counts"]
    return [] if counts["images"] == 12 else [f"counts {counts}"]
