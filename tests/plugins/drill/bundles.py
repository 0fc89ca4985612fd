"""Bundles of unknown origin: documents, arrays, ONNX files, links."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from random import Random

import numpy as np

from drill import changes, forked
from drill.case import ANY, WRONG_INPUT, Case
from hand_made_bundle import HEAD, model, seal_bundle, write_bundle
from runtime.backends.limits import require_answer
from runtime.bundle import bundle as bundles
from runtime.bundle import golden_file
from runtime.files import sha256_of, write_json


def _made(folder: Path) -> list[Path]:
    """Make several sound bundles, each of which has answered once."""
    requirements = {"latency_p95_ms": 1e6, "agreement": 0.1}
    made = [
        write_bundle(folder / "plain" / "bundle"),
        write_bundle(folder / "corrupted" / "bundle", corrupted=2, require=requirements),
        write_bundle(folder / "unlabelled" / "bundle", labels=False, ood=0),
        write_bundle(
            folder / "two" / "bundle",
            models={"onnx-fp32": model(), "onnx-fp16": model(head=HEAD * 1.0001)},
        ),
    ]
    for each in made:
        bundle = bundles.load(each)
        for artifact in bundle.artifacts:
            require_answer(artifact.path, bundle.preprocess.size_px)
    return made


class Bundles:
    """A bundle with something changed, mostly before its manifest was written."""

    name = "bundles"
    cpu_limit_s = 30.0
    memory_limit_mb = 1_000.0

    def prepare(self, folder: Path) -> None:
        """Make sound bundles; timing is cut short, nothing else."""
        self.sound = _made(folder)
        forked.time_shortly()

    def make(self, rng: Random, folder: Path) -> Case:
        """Change a document, an array, a file, or which files there are."""
        sound = rng.choice(self.sound)
        bundle = shutil.copytree(sound, folder / "bundle")
        ways = (_json, _json, _json, _arrays, _arrays, _bytes, _bytes, _onnx, _files)
        change = rng.choice(ways)(rng, bundle)
        sealed = rng.random() < 0.75
        if sealed:
            _seal(bundle)
        image = str(sound / "golden" / "images" / "00.png")
        words = {
            "check": ("runtime", "check", "bundle", "--out", "out", "--json"),
            "predict": ("runtime", "predict", "bundle", image, "--json"),
            "pack": ("runtime", "pack", "bundle", "--tar", "out.tar"),
        }[rng.choice(("check", "check", "predict", "predict", "pack"))]
        codes = ANY if sealed or not _differ(sound, bundle) else frozenset({WRONG_INPUT})
        return Case(words, codes, f"{change}{', sealed' * sealed}", ("out", "out.tar"))


def _seal(bundle: Path) -> None:
    """Write a manifest that fits, and in bundle.json the digests of its files, where it can."""
    try:
        document = json.loads(_file(bundle / "bundle.json").read_text())
        for artifact in document["artifacts"]:
            artifact["sha256"] = sha256_of(_file(bundle / artifact["file"]))
        text = json.dumps(document)
        if text != json.dumps(json.loads((bundle / "bundle.json").read_text())):
            write_json(bundle / "bundle.json", document)
    except (ValueError, TypeError, LookupError, OSError, RecursionError, AttributeError):
        pass  # it is no such document any more
    shutil.rmtree(bundle / "manifest.json") if (bundle / "manifest.json").is_dir() else None
    seal_bundle(bundle)


def _file(path: Path) -> Path:
    """Return the path of a file.

    Raises:
        OSError: it is none, but a pipe or a device, which would be read for ever.
    """
    if not path.is_file():
        raise OSError(path)
    return path


def _differ(sound: Path, changed: Path) -> bool:
    return contents_of(sound) != contents_of(changed)


def contents_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
        if not path.is_dir() or path.is_symlink()
    }


def _json(rng: Random, bundle: Path) -> str:
    path = bundle / rng.choice(
        ("bundle.json", "bundle.json", "golden/golden.json", "manifest.json")
    )
    text, change = changes.document(rng, json.loads(path.read_text()), changes.JSON_VALUES)
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return f"{path.name}: {change}"


def _arrays(rng: Random, bundle: Path) -> str:
    """Arrays of other values, types and shapes, or a header that says so."""
    path = bundle / "golden" / golden_file.NAME
    if rng.random() < 0.4:
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        text, change = changes.document(rng, header, changes.JSON_VALUES)
        coded = text.encode("utf-8", "surrogatepass")
        path.write_bytes(struct.pack("<Q", len(coded)) + coded + content[8 + length :])
        return f"header of the arrays: {change}"
    arrays = golden_file.read(path)
    name = rng.choice(sorted(arrays))
    found = arrays[name]
    way = rng.choice(("nan", "inf", "huge", "type", "axis", "fewer", "none", "zeros", "negative"))
    if way in ("nan", "inf", "huge") and found.dtype.kind == "f" and found.size:
        found = found.copy()
        found.flat[rng.randrange(found.size)] = {"nan": np.nan, "inf": -np.inf, "huge": 3e38}[way]
    elif way == "type":
        found = found.astype(
            rng.choice((np.float16, np.float64, np.int8, np.int64, np.uint8, bool))
        )
    elif way == "axis":
        found = found[None] if rng.random() < 0.5 else found[..., None]
    elif way == "fewer":
        found = found[: len(found) // 2] if found.ndim else found
    elif way == "none":
        found = found[:0] if found.ndim else found
    elif way == "zeros":
        found = found * 0
    else:
        found = -found - 7 if found.dtype.kind in "fi" else found
    golden_file.write(path, {**arrays, name: found})
    return f"array {name}: {way}"


def _bytes(rng: Random, bundle: Path) -> str:
    files = sorted(path for path in bundle.rglob("*") if path.is_file())
    path = rng.choice(files)
    changed, change = changes.content(rng, path.read_bytes())
    path.write_bytes(changed)
    return f"{path.name}: {change}"


def _onnx(rng: Random, bundle: Path) -> str:
    path = rng.choice(sorted(bundle.glob("*.onnx")))
    content, change = changes.content(rng, path.read_bytes(), most=2)
    if rng.random() < 0.5:
        factor = rng.choice((float("nan"), float("inf"), 0.0, -1.0, 1e30, 1e-30))
        head = rng.choice((HEAD, HEAD * np.nan, HEAD[:, :1], np.ones((3, 3), np.float32)))
        content = model(factor=factor, head=head, logits=rng.random() < 0.8)
        change = f"factor {factor}"
    path.write_bytes(content)
    return f"{path.name}: {change}"


def _files(rng: Random, bundle: Path) -> str:
    """Files that are gone, new, links, folders or pipes."""
    path = rng.choice(sorted(bundle.rglob("*")))
    way = rng.choice(("remove", "link", "outside", "folder", "pipe", "more", "empty"))
    elsewhere = bundle.parent / "elsewhere"
    if way == "more":
        (bundle / rng.choice(("x.onnx", ".hidden", "golden/x.png", "\u202e.json"))).touch()
        return way
    if way == "empty" and path.is_file():
        path.write_bytes(b"")
        return f"{way} {path.name}"
    path.rename(elsewhere)
    if way == "link":
        path.symlink_to(elsewhere)
    elif way == "outside":
        path.symlink_to(rng.choice(("/dev/zero", "/etc/passwd", "/", path.name, "..")))
    elif way == "folder":
        path.mkdir()
    elif way == "pipe":
        os.mkfifo(path)
    return f"{way} {path.name}"
