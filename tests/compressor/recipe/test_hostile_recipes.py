"""Hostile recipes end with exit code 2, quickly and in little memory, whatever they are."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from compressor.recipe import plan as plans
from compressor.recipe import yaml_text
from compressor.recipe.document import Document
from runtime.errors import InputError
from runtime.text import printable

SMALLEST = """\
name: x
data: {images: photos}
teacher: {model: vit_tiny_patch16_224, weights: w.safetensors, image_size: 64}
student: {model: mobilenetv3_small_050, weights: none}
"""

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(code + 1)}: &{chr(code + 1)} [{', '.join([f'*{chr(code)}'] * 10)}]\n"
    for code in range(ord("a"), ord("i"))
)
TEXTS = {
    "nothing": "",
    "a word": "recipe",
    "a list": "- 1\n- 2\n",
    "a bomb of aliases": BOMB,
    "a bomb of merges": "a: &a {k: 1}\n" + "".join(
        f"k{n}: &k{n} {{<<: [{', '.join(['*a' if n == 0 else f'*k{n - 1}'] * 9)}]}}\n"
        for n in range(9)
    ),
    "an alias of itself": "a: &a [*a]\n",
    "deep brackets": "a: " + "[" * 30_000,
    "deep braces": "a: " + "{b: " * 10_000,
    "deep dashes": "a:\n" + "- " * 30_000 + "1\n",
    "deep keys": "\n".join(" " * n + f"k{n}:" for n in range(300)),
    "deep questions": "? " * 30_000,
    "many keys": "".join(f"k{n}: 1\n" for n in range(5_000)),
    "a large file": "# " + "x" * 100_000 + "\n",
    "a long word": SMALLEST.replace("x\n", "x" * 50_000 + "\n", 1),
    "a long key": "x" * 50_000 + ": 1\n",
    "a number of many digits": SMALLEST + "distill: {epochs: " + "9" * 50_000 + "}\n",
    "a hexadecimal one": SMALLEST + "distill: {epochs: 0x" + "f" * 50_000 + "}\n",
    "a power": SMALLEST + "distill: {lr: 1e999999999}\n",
    "not a number": SMALLEST + "distill: {lr: .nan}\n",
    "a tag": "name: !!python/object/apply:os.system [true]\n",
    "another tag": "name: !!binary x\n",
    "a tag of its own": "name: !x y\n",
    "NUL": "name: a\0b\n",
    "escape": 'name: "\\e[2J"\n',
    "surrogate": 'name: "\\ud800"\n',
    "two documents": f"{SMALLEST}---\n{SMALLEST}",
    "directives": "%YAML 9.9\n---\nname: x\n",
    "a key that is a list": "? [a, b]\n: c\n",
    "a key that is a section": "? {a: b}\n: c\n",
    "null keys": "~: 1\nnull: 2\n",
    "an image of NUL": SMALLEST.replace("photos", '"a\\0b"'),
    "weights of NUL": SMALLEST.replace("w.safetensors", '"a\\0b"'),
    "labels of NUL": SMALLEST.replace("photos}", 'photos, labels: "a\\0b"}'),
    "a target of NUL": SMALLEST + 'target: "a\\0b.yaml"\n',
    "a folder of surrogates": SMALLEST.replace("photos", '"\\udcff"'),
    "a long path": SMALLEST.replace("photos", "p/" * 3_000),
    "a long name of a file": SMALLEST.replace("photos", "p" * 300),
    "long weights": SMALLEST.replace("w.safetensors", "w" * 300),
    "a long target": SMALLEST + "target: " + "t" * 300 + ".yaml\n",
    "a long name": SMALLEST.replace("name: x", "name: " + "x" * 300),
    "a name that leaves the folder": SMALLEST.replace("name: x", "name: ../x"),
    "images that are a circle of links": SMALLEST.replace("photos", "circle"),
    "weights that are a circle of links": SMALLEST.replace("w.safetensors", "circle"),
    "a target that is a circle of links": SMALLEST + "target: circle.yaml\n",
    "a target that never ends": SMALLEST + "target: zero.yaml\n",
    "a target that is a pipe": SMALLEST + "target: pipe.yaml\n",
    "weights that never end": SMALLEST.replace("w.safetensors", "/dev/zero"),
    "weights that are a pipe": SMALLEST.replace("w.safetensors", "pipe.yaml"),
    "images that never end": SMALLEST.replace("photos", "/dev/zero"),
    "labels that never end": SMALLEST.replace("photos}", "photos, labels: /dev/zero}"),
    "labels that are a pipe": SMALLEST.replace("photos}", "photos, labels: pipe.yaml}"),
}  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with images, weights, links in a circle, a pipe and a file that never ends."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Path("photos/1.png").touch()
    Path("w.safetensors").touch()
    for name in ("circle", "circle.yaml"):
        Path(name).symlink_to(name)
    Path("zero.yaml").symlink_to("/dev/zero")
    os.mkfifo("pipe.yaml")
    return tmp_path


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", list(TEXTS.values()), ids=list(TEXTS))
def test_a_hostile_text_is_refused(place, text):
    Path("recipe.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError) as caught:
        plans.load(Path("recipe.yaml"))
    assert len(str(caught.value)) < 6_000
    assert printable(str(caught.value)).encode()


NO_FILES = [
    "circle.yaml", "zero.yaml", "pipe.yaml", "photos", "none.yaml", "/dev/zero", "a\0b.yaml",
    "n" * 300, "p/" * 3_000, "w.safetensors/x.yaml", "\udcff.yaml",
]  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("path", NO_FILES)
def test_what_is_no_file_is_refused(place, path):
    with pytest.raises(InputError):
        plans.load(Path(path))


@pytest.mark.parametrize(
    "override",
    ["distill.epochs=" + "9" * 50_000, ".".join("a" * 5_000) + "=1", "name=" + "[" * 5_000,
     "name=&a [*a]", "data.images=" + "p" * 300, "x" * 60_000, "name=" + "x" * 60_000],
)  # fmt: skip
def test_hostile_changes_are_refused(place, override):
    Path("recipe.yaml").write_text(SMALLEST)
    with pytest.raises(InputError) as caught:
        plans.load(Path("recipe.yaml"), [override])
    assert len(str(caught.value)) < 2_000


MARKS = st.sampled_from(
    [*"[]{}:,-?*&!|>'\"%@`#~<=\n\t \\0a1._\x85\u2028\ufeff", "<<", "? ", "- ", ": "]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(MARKS, max_size=60).map("".join))
@example("a: !!int x")
@example("a: 1__\n")
@example("- ? - *a")
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        Document(path)
    except InputError as error:
        assert str(path) in str(error)


def test_anchors_that_people_write_are_read(place):
    text = "base: &base {image_size: 64, weights: w.safetensors}\n"
    found = yaml_text.parse(text + "one: {<<: *base, model: a}\ntwo: *base\n", "safe")
    assert found["one"] == {"image_size": 64, "weights": "w.safetensors", "model": "a"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a bomb of aliases", "deep brackets", "a target that never ends"])
def test_the_command_ends_with_2_in_little_memory(place, name):
    """200 MB are enough: no network package is loaded to refuse a recipe."""
    Path("recipe.yaml").write_text(TEXTS[name])
    command = [sys.executable, "-m", "compressor", "run", "recipe.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], capture_output=True); "
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    used = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert int(used.stdout) < 200 * 1024  # KiB
    assert resource.RLIMIT_AS  # the figure is that of Linux
