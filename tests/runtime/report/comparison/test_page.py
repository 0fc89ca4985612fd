"""The page that compares reports, in a real browser: what is better or worse, and where."""

import json
import shutil

import numpy as np
import pytest
from msgspec import structs

import runtime
from runtime.errors import InputError
from runtime.report.comparison import answers, page
from runtime.results.report import load


@pytest.fixture(scope="module")
def runs(make_bundle, onnx_bytes, tmp_path_factory):
    """Two runs on the same images: the second one's student answers the other way round."""
    place = tmp_path_factory.mktemp("runs")
    require = {"agreement": 0.5, "undecided": "pass"}
    for name, factor in (("old <b>", 1.0), ("new", -1.0)):
        made = make_bundle(
            images=30, models={"onnx-fp32": onnx_bytes(factor=factor)}, require=require
        )
        runtime.check(made, out=place / name)
        shutil.copytree(made, place / name / "bundle")
        if factor < 0:
            turn_answers(place / name / "bundle/golden/golden.safetensors")
    return [place / "old <b>", place / "new"]


def turn_answers(path):
    from safetensors.numpy import load_file, save_file

    arrays = load_file(path)
    arrays["student_logits"] = np.ascontiguousarray(-arrays["student_logits"])
    save_file(arrays, path)


@pytest.fixture(scope="module")
def made(runs):
    path = runs[0].parent / "compare.html"
    path.write_text(page.render(runs, [load(each) for each in runs]))
    return path


@pytest.mark.parametrize("width", [1280, 390])
def test_it_loads_nothing_complains_of_nothing_and_fits(tab, made, width, tmp_path):
    tab.open(made, width)
    asked = [each for each in tab.requests() if not each.startswith("data:")]
    assert asked == [made.as_uri()]
    assert tab.complaints() == []
    assert tab.run("document.documentElement.scrollWidth") <= width
    tab.screenshot(tmp_path / "compare.png")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_the_first_screen_says_whether_the_new_one_may_replace_the_old(tab, made, width, height):
    tab.open(made, width, height)
    for name in ("h1", ".sides li:last-child"):
        assert tab.run(f"document.querySelector('{name}').getBoundingClientRect().bottom") < height


def test_it_says_what_is_worse_and_shows_images_answered_differently(tab, made):
    tab.open(made, 1280)
    words = tab.run("document.body.innerText")
    assert tab.run("document.querySelector('h1').innerText").startswith("Worse in ")
    assert "worse in " in words
    assert "linear accuracy" in words
    assert "30 of the 30 images in the bundles" in words
    assert "old <b>" in words
    lost = tab.run("document.querySelectorAll('.images .lost').length")
    assert lost == 24  # every one was right, and is wrong now
    sizes = tab.run("[...document.querySelectorAll('.images img')].map(i => i.naturalWidth)")
    assert len(sizes) == 24
    assert all(size > 0 for size in sizes)
    assert "missed" in words  # the gate of agreement
    assert "met" in words


def test_without_bundles_the_answers_kept_beside_the_report_do(runs, tmp_path):
    for number, run in enumerate(runs):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copy(run / "report.json", folder)
        if not number:
            answers.save(run / "bundle/golden", folder)
    paths = [tmp_path / "0", runs[1]]
    found = page.render(paths, [load(path) for path in paths])
    assert "30 of the 30 images in the bundles" in found
    none = page.render([paths[0], tmp_path / "1"], [load(paths[0]), load(tmp_path / "1")])
    assert "lies no bundle with answers of classes" in none


def test_answers_to_other_images_are_not_compared(runs):
    first = answers.read(runs[0])
    with pytest.raises(InputError, match="different held-out images"):
        answers.differing(first, structs.replace(first, digest="other"))


def test_what_was_right_and_is_wrong_now_comes_first():
    first = answers.Answers(
        digest="d",
        images=("a", "b", "c", "d"),
        labels=("x", "y", None, "x"),
        answers=("x", "x", "x", "x"),
        confidences=(0.9, 0.9, 0.9, 0.9),
    )
    other = structs.replace(first, answers=("y", "y", "y", "x"))
    found = answers.differing(first, other)
    assert [(each.image, each.rank) for each in found] == [("a", 0), ("b", 1), ("c", 2)]


def test_one_report_is_no_comparison(runs):
    with pytest.raises(InputError, match="two reports or more"):
        page.render(runs[:1], [load(runs[0])])


def test_a_page_is_written_by_the_command(runs, tmp_path):
    from click.testing import CliRunner

    from compressor.cli.app import commands

    page_path = tmp_path / "both.html"
    words = ["compare", *map(str, runs), "--html", str(page_path), "--json"]
    done = CliRunner().invoke(commands, words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["comparison"][0]["against"] == str(runs[0])
    assert "Images answered differently" in page_path.read_text()
    refused = CliRunner().invoke(commands, [*words[:-2], str(tmp_path / "both.txt")])
    assert isinstance(refused.exception, InputError)
