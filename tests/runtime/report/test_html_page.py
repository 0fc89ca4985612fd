"""report.html in a real browser: it loads nothing, fits, shows what was found, fears no name."""

import json
import re
import shutil

import numpy as np
import pytest
from msgspec import UNSET, structs
from PIL import Image

from runtime.bundle import bundle, golden
from runtime.evaluation.check import check
from runtime.report import html_page, markdown
from runtime.results.scores import to_json


@pytest.fixture(scope="module")
def bundle_folder(make_bundle, onnx_bytes):
    """Three files, one of them less faithful, one broken; names that could harm a page."""
    models = {
        "onnx-fp32": onnx_bytes(),
        "onnx-int8": onnx_bytes(factor=-1.0),
        "onnx-fp16": onnx_bytes(factor=float("nan")),
    }
    require = {"agreement": 0.5, "accuracy_drop": 0.01, "undecided": "pass", "size_mb": 1}
    return make_bundle(images=30, corrupted=5, models=models, require=require)


@pytest.fixture(scope="module")
def found(bundle_folder):
    return check(bundle.load(bundle_folder), golden.load(bundle_folder / "golden"))


@pytest.fixture(scope="module")
def made(found, bundle_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    markdown.write(found, folder, images=bundle_folder / "golden")
    return folder / "report.html"


def seen(tab):
    """All words of the page, of folded parts too."""
    tab.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    return tab.run("document.body.innerText")


@pytest.mark.parametrize("width", [1280, 390])
def test_it_loads_nothing_complains_of_nothing_and_fits(tab, made, width):
    tab.open(made, width)
    asked = [each for each in tab.requests() if not each.startswith("data:")]
    assert asked == [made.as_uri()]
    assert tab.complaints() == []
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run("document.scripts.length") == 0


def test_it_shows_every_part_of_the_report(tab, made, found):
    tab.open(made, 1280)
    words = seen(tab)
    for heading in (
        "Requirements",
        "What was kept at each step",
        "Where the file differs most from the teacher",
        "Where the teacher itself is unsure",
        "Classes",
        "Corrupted images",
        "All scores",
    ):
        assert heading in words
    assert "undecided" in words  # a drop of .01, of 30 images
    assert "holds both outcomes" in words
    # A dot for each line of the ledger that has the figure.
    count = "f => f.querySelectorAll('circle').length"
    drawn = tab.run(f"[...document.querySelectorAll('.charts figure')].map({count})")
    assert len(drawn) >= 5
    assert drawn[0] == 4  # right answers of teacher, student and two files; the third is broken
    assert len(tab.run("[...document.querySelectorAll('.families svg')].map(s => 1)")) == 6


def test_every_disagreement_has_its_picture(tab, made, found):
    tab.open(made, 1280)
    sizes = tab.run("[...document.querySelectorAll('.images img')].map(i => i.naturalWidth)")
    listed = found.departures.most + found.departures.teacher_unsure.most
    assert len(sizes) == len(listed)
    assert all(size > 0 for size in sizes)


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_the_first_screen_says_how_good_the_student_is(tab, made, found, width, height):
    """Questions that five seconds must answer, and where: docs/five-seconds.md."""
    tab.open(made, width, height)
    where = "e => e.getBoundingClientRect().bottom"
    first, verdict, drawing = (
        tab.run(f"({where})(document.querySelector('{each}'))")
        for each in (".first", "h1", f"figure.first svg.{'wide' if width > 640 else 'narrow'}")
    )
    assert max(first, verdict, drawing) <= height
    words = tab.run("document.querySelector('.over').innerText")
    assert words.startswith(found.recipe.name)
    assert words.endswith(found.made[:4])  # the year
    sentence = tab.run("document.querySelector('.first').innerText")
    score = found.recommended_entry.scores["agreement_linear"]
    assert f"answers as the teacher does on {100 * score.value:.1f} %" in sentence  # how good
    assert f"of {found.golden.images} held-out images" in sentence  # by which proof
    assert f"{found.recommended_entry.latency.p95_ms:.3g} ms" in sentence  # how fast
    assert f"{found.recommended_entry.size_mb:.1f} MB" in sentence  # how large
    assert "1 undecided (accuracy_drop) because" in sentence  # what is not proved


def test_what_is_to_be_looked_at_is_drawn(tab, made, found):
    tab.open(made, 390)
    seen(tab)
    assert tab.run("document.documentElement.scrollWidth") <= 390
    matrices = tab.run("document.querySelectorAll('.confusion').length")
    assert matrices == 2  # of teacher and file
    counts = "[...document.querySelectorAll('.confusion td')].map(c => Number(c.innerText))"
    assert sum(tab.run(counts)) == 2 * 30
    dots = "[...document.querySelectorAll('svg.cloud')].map(s => s.children.length)"
    assert tab.run(dots) == [30, 30]
    pictures = "[...document.querySelectorAll('.near img')].map(i => i.naturalWidth)"
    assert len(tab.run(pictures)) == 6 * 9
    assert all(width > 0 for width in tab.run(pictures))
    bars = "[...document.querySelectorAll('svg.bars')].map(s => s.querySelectorAll('rect').length)"
    assert all(count >= 2 for count in tab.run(bars))
    fits = "t => t.offsetWidth <= t.parentNode.offsetWidth"  # nothing is cut off
    assert tab.run(f"[...document.querySelectorAll('.confusion')].every({fits})")


def test_a_link_opens_the_part_that_is_folded(tab, made):
    tab.open(made, 1280)
    links = tab.run("[...document.querySelectorAll('nav a')].map(a => a.getAttribute('href'))")
    assert "#scores" in links
    opened = "document.querySelector('#scores').closest('details').open"
    assert not tab.run(opened)
    tab.run("document.querySelector('nav a[href=\"#scores\"]').click()")
    assert tab.run(f"new Promise(done => setTimeout(() => done({opened}), 300))")
    for link in links:
        assert tab.run(f"document.querySelectorAll('{link}').length") == 1


@pytest.mark.parametrize("dark", [False, True])
def test_words_stand_out_from_the_paper(tab, made, tmp_path, dark):
    tab.open(made, 1280)
    tab.screenshot(tmp_path / "page.png", dark=dark)
    paper, ink = (
        [int(each) for each in re.findall(r"\d+", tab.run(f"getComputedStyle(document.body).{k}"))]
        for k in ("backgroundColor", "color")
    )
    assert (np.mean(paper) < 60) == dark
    assert abs(np.mean(paper) - np.mean(ink)) > 150


HOSTILE = [
    '"><script>document.title="gone"<',
    "' onerror='alert(1)",
    "{{style}} {% raw %} & <b>bold",
    "a | b",
]


def test_names_are_names(tab, found, tmp_path, read):
    """Of images, classes, recipe and file: shown as they are, and never markup."""
    hostile = json.loads(json.dumps(to_json(found)))
    for number, each in enumerate(hostile["departures"]["most"]):
        each["image"] = HOSTILE[number % 4] + ".png"
        each["label"] = each["teacher"]["answer"] = HOSTILE[(number + 1) % 4]
    for row in hostile["per_class"]:
        row["class"] = HOSTILE[0]
    hostile["recipe"]["name"] = HOSTILE[0]
    report, path = read(hostile), tmp_path / "report.html"
    path.write_text(html_page.render(report, None), encoding="utf-8")
    tab.open(path, 1280)
    assert tab.complaints() == []
    assert tab.run("document.title").startswith(HOSTILE[0])
    assert tab.run("document.scripts.length") == 0
    for name in HOSTILE:
        assert name in seen(tab)
    assert "a \\| b.png" in markdown.markdown(report)


def test_without_pictures_it_is_a_page_all_the_same(found, bundle_folder, tmp_path):
    """The golden images may be gone when a report is written."""
    moved = tmp_path / "moved"
    shutil.copytree(bundle_folder / "golden", moved)
    for path in (moved / "images").iterdir():
        path.write_bytes(b"")
    for images in (None, moved):
        text = html_page.render(found, images)
        assert "no picture" in text
        assert "<img" not in text


def test_thumbnails_are_small(made, bundle_folder, found, tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(rng.integers(0, 255, (600, 900, 3), np.uint8)).save(tmp_path / "large.png")
    for each in found.departures.most:
        shutil.copyfile(tmp_path / "large.png", tmp_path / each.image)
    text = html_page.render(structs.replace(found, looks=UNSET), tmp_path)
    assert text.count("data:image/jpeg;base64,") == len(found.departures.most)
    assert len(text) < 40_000 * len(found.departures.most)


def test_a_report_with_nothing_but_a_ledger_is_a_page_too(document, read):
    """Neither images of other tasks, nor disagreements, nor corruptions."""
    document["target"]["this_machine"] = False
    text = html_page.render(read(document), None)
    assert "Failed" in text
    assert "latencies were measured on this machine" in text
    for heading in ("differs most", "Corrupted images", "Classes</h2>"):
        assert heading not in text
