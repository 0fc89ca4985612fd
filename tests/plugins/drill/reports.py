"""Reports of unknown origin, compared with a sound one."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from drill import changes, forked
from drill.case import ANY, DONE, NOT_PASSED, WRONG_INPUT, Case
from hand_made_bundle import write_bundle


class Reports:
    """A report.json with something changed, compared with a sound one."""

    name = "reports"
    cpu_limit_s = 10.0
    memory_limit_mb = 400.0

    def prepare(self, folder: Path) -> None:
        """Check a bundle, in a process of its own."""
        write_bundle(folder / "checked" / "bundle", corrupted=2, require={"agreement": 0.1})
        work = folder / "checked"
        words = ("runtime", "check", "bundle", "--out", "out")
        done = forked.run(Case(words, ANY, "", ("out",)), work)
        if done.code not in (DONE, NOT_PASSED):
            raise RuntimeError(done.err)
        self.path = work / "out" / "report.json"
        self.sound = json.loads(self.path.read_text())

    def make(self, rng: Random, folder: Path) -> Case:
        """Change a value, or bytes."""
        if rng.random() < 0.8:
            text, change = changes.document(rng, self.sound, changes.JSON_VALUES)
            content = text.encode("utf-8", "surrogatepass")
        else:
            content, change = changes.content(rng, self.path.read_bytes())
        (folder / "report.json").write_bytes(content)
        names = [str(self.path), "report.json"]
        rng.shuffle(names)
        words = ["compressor", "compare", *names, *(["--not-worse"] if rng.random() < 0.3 else [])]
        words += ["--json"] if rng.random() < 0.5 else []
        return Case(tuple(words), frozenset({DONE, NOT_PASSED, WRONG_INPUT}), change)
