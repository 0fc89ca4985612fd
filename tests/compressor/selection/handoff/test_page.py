"""to_label.html in a real browser: it loads nothing, fits, takes labels down, fears no name."""

import csv
import io
import json
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from compressor.data.dataset import ImageRecord, ImageSet
from compressor.data.layout.label_csv import read_csv
from compressor.selection.handoff import page, write
from compressor.selection.handoff.label_sheet import label_sheet
from compressor.selection.handoff.page import Origin
from compressor.selection.label_plan import LabelPlan
from compressor.selection.state import LabellingState
from runtime.text import guarded, unguarded

HOSTILE = [
    '"><script>document.title="gone"</script>.jpg',  # a folder and a file below it
    "</script><script>alert(1)<!--.jpg",
    "' onerror='alert(1).jpg",
    "{{script}}.jpg",
    "ümläut & <b>bold<!-- $1 \\g<0>.jpg",
    "=1+1, two\nlines.jpg",
]
NAMES = [*HOSTILE, *(f"plain/{number:02d}.jpg" for number in range(30))]


@pytest.fixture(scope="module")
def write_page(tmp_path_factory):
    """Write the files for 8 images to label, with odd names; 2 more have a label, one held out."""
    place = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(0)
    root = place / "my photos"
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(root / name, format="JPEG")
    labels = {name: -1 for name in NAMES} | {"plain/20.jpg": 0, "plain/29.jpg": 1}
    photos = [
        ImageRecord(
            name, name, 60, 40, labels[name], "holdout" if name.endswith("29.jpg") else "train"
        )
        for name in NAMES
    ]
    everything = ImageSet(root, ("a rose", "<i>tulip</i>"), tuple(photos))
    pool = everything.part("train")
    embeddings = rng.standard_normal((len(pool), 5)).astype(np.float32)
    now = LabellingState(pool, np.arange(8))
    centre = np.resize(np.arange(8), len(pool))
    on_map = rng.standard_normal((len(pool), 2)).astype(np.float32)
    distance = np.full(len(pool), 0.5, np.float32)
    plan = LabelPlan("cold-paws", 0, now.open, now.labelled, centre, distance, on_map)
    sheet = label_sheet(now, plan, everything, embeddings, {})

    def write_page(folder="runs"):
        path = place / folder / "to_label.html"
        write.write_label_files(sheet, plan, embeddings, Origin("odd <names>", root, path))
        return path

    return write_page


@pytest.fixture(scope="module")
def made(write_page):
    return write_page()


@pytest.fixture
def fresh(tab, made):
    """The page at 1,280 px, as if never opened before."""
    tab.open(made, 1280)
    tab.run("localStorage.clear()")
    tab.open(made, 1280)
    return tab


class Seen(HTMLParser):
    """Elements with their attributes, in order."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))


def test_the_page_is_one_file_that_names_nothing_outside(made):
    elements = Seen(made.read_text(encoding="utf-8")).elements
    sources = [each.get("src") for _, each in elements if "src" in each]
    assert len(sources) == 8
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not [tag for tag, _ in elements if tag in ("link", "iframe", "object", "embed")]
    assert [tag for tag, _ in elements].count("script") == 2
    policy = next(each["content"] for _, each in elements if "http-equiv" in each)
    assert "default-src 'none'" in policy


def test_every_name_is_shown_as_it_is_and_leads_to_its_file(made):
    elements = Seen(made.read_text(encoding="utf-8")).elements
    alts = [each["alt"] for tag, each in elements if tag == "img"]
    assert alts == [f"Image {rank}: {name}" for rank, name in enumerate(NAMES[:8], 1)]
    links = [each["href"] for tag, each in elements if tag == "a" and each.get("target")]
    found = [(made.parent / unquote(link)).resolve() for link in links]
    assert found == [made.parent.parent / "my photos" / name for name in NAMES[:8]]


@pytest.mark.parametrize("width", [1280, 390])
def test_it_asks_for_nothing_complains_of_nothing_and_fits(tab, made, width):
    tab.open(made, width)
    assert [url for url in tab.requests() if not url.startswith("data:")] == [made.as_uri()]
    assert tab.complaints() == []
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run("document.title") == "8 images to label: odd <names>"
    assert tab.run("[...document.images].every(image => image.naturalWidth > 0)")
    assert tab.run("document.querySelectorAll('.map .mark').length") == 8
    small = """[...document.querySelectorAll('button, .about input')]
        .filter(each => each.getBoundingClientRect().height < 36).length"""
    assert tab.run(small) == 0


def test_labels_are_given_with_keys_and_fields_and_come_down_as_a_csv(fresh):
    fresh.press("2")  # of the classes known, the second: "a rose"
    fresh.press("1")
    assert fresh.run("document.querySelector('.card.now').dataset.rank") == "3"
    fresh.run("document.querySelector('#image-5 input').focus()")
    fresh.type('a "new" class, with comma')
    fresh.press("Enter")
    assert fresh.run("document.getElementById('count').textContent") == "3 of 8 labelled"
    assert fresh.run("document.activeElement.closest('.card').dataset.rank") == "6"
    rows = list(csv.reader(io.StringIO(fresh.run("csv()").removeprefix("\ufeff"), newline="")))
    assert rows[0] == ["image", "label"]
    assert dict(rows[1:]) == {
        "plain/20.jpg": "a rose",
        "plain/29.jpg": "<i>tulip</i>",  # held out; in the file so that nothing is lost
        NAMES[0]: "a rose",
        NAMES[1]: "<i>tulip</i>",
        NAMES[4]: 'a "new" class, with comma',
    }


@pytest.mark.parametrize("cell", ["=1+1", "@x", "-a", "+", "'=1", "-1", "1e3", "a=b", "\t", "＝1"])
def test_the_page_guards_cells_as_the_csv_does(fresh, cell):
    assert fresh.run(f"guarded({json.dumps(cell)})") == guarded(cell)


def test_labels_outlive_the_page_and_can_be_taken_back(fresh, made):
    fresh.press("1")
    fresh.open(made, 390)
    assert fresh.run("document.querySelector('#image-1 input').value") == "<i>tulip</i>"
    assert fresh.run("document.querySelector('.card.now').dataset.rank") == "2"
    fresh.press("ArrowLeft")
    fresh.press("Backspace")
    assert fresh.run("document.getElementById('count').textContent") == "0 of 8 labelled"
    assert fresh.run("document.getElementById('save').disabled") is True
    keys = "document.getElementById('keys').textContent"
    assert "download before you close" not in fresh.run(keys)
    fresh.run("Storage.prototype.setItem = () => { throw new Error('full'); }")
    fresh.press("1")  # a browser that stores no more says so
    assert "download before you close" in fresh.run(keys)


def test_a_class_can_be_added_and_clicked(fresh):
    fresh.run("document.getElementById('new').focus()")
    fresh.type("<img src=x onerror=alert(1)>")
    fresh.press("Enter")
    fresh.run("[...document.querySelectorAll('#chips button')].at(-1).click()")
    assert fresh.run("document.querySelector('#image-1 input').value") == (
        "<img src=x onerror=alert(1)>"
    )
    assert fresh.complaints() == []


@pytest.mark.parametrize("width", [1280, 390])
def test_many_classes_with_long_names_still_fit(fresh, made, width):
    fresh.open(made, width)
    for name in ("a name that is rather longer than any chip can be " * 2, *"bcdefghijklm"):
        fresh.run("document.getElementById('new').focus()")
        fresh.type(name)
        fresh.press("Enter")
    assert fresh.run("document.querySelectorAll('#chips button').length") == 2 + 13
    assert fresh.run("document.documentElement.scrollWidth") <= width
    assert fresh.run("document.getElementById('save').getBoundingClientRect().bottom") < 844


BOX = "JSON.stringify(document.querySelector('{}').getBoundingClientRect())"


@pytest.mark.parametrize(
    ("width", "height", "share"), [(1280, 900, 0.4), (1280, 720, 0.35), (390, 844, 0.35)]
)
def test_the_photo_is_first_and_large_and_all_that_labels_it_is_beside_it(
    tab, made, tmp_path, width, height, share
):
    tab.open(made, width, height)
    tab.screenshot(tmp_path / "first.png", whole=False)
    photo = json.loads(tab.run(BOX.format("#shown img")))
    assert photo["top"] < 100
    assert photo["width"] * photo["height"] > share * width * height
    for name in ("#count", "#chips button", "#new", "#undo", "#skip", "#save"):
        box = json.loads(tab.run(BOX.format(name)))
        assert box["top"] >= 0, name
        assert box["bottom"] <= height, name
        assert box["right"] <= width, name


def test_each_change_can_be_taken_back_by_key_or_button(fresh):
    fresh.press("1")
    fresh.press("2")
    fresh.press("ArrowLeft")
    fresh.press("1")  # another class for the second image
    assert fresh.run("labels.get(images[1])") == "<i>tulip</i>"
    fresh.press("u")
    assert fresh.run("labels.get(images[1])") == "a rose"
    assert fresh.run("document.querySelector('.card.now').dataset.rank") == "2"
    fresh.run("document.getElementById('undo').click()")
    fresh.run("document.getElementById('undo').click()")
    assert fresh.run("labels.size") == 0
    assert fresh.run("document.getElementById('undo').disabled") is True
    assert fresh.complaints() == []


def test_a_page_opened_again_says_that_it_goes_on(fresh, made):
    assert fresh.run("document.getElementById('said').textContent") == ""
    fresh.press("1")
    fresh.open(made, 390)
    said = fresh.run("document.getElementById('said').textContent")
    assert said == "Resumed: 1 label kept in this browser"
    assert fresh.run("document.querySelector('#shown img').alt").startswith("Image 2: ")


def test_a_finger_moves_to_the_next_photo_and_back(fresh, made):
    fresh.open(made, 390)
    fresh("Emulation.setTouchEmulationEnabled", enabled=True)

    def swipe(*places):
        kinds = ("touchStart", "touchMove", "touchEnd")
        for kind, x in zip(kinds, places, strict=True):
            points = [] if kind == "touchEnd" else [{"x": x, "y": 250}]
            fresh("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    swipe(300, 100, 0)
    assert fresh.run("document.querySelector('#shown b').textContent") == "2"
    swipe(100, 300, 0)
    assert fresh.run("document.querySelector('#shown b').textContent") == "1"
    swipe(200, 210, 0)
    assert fresh.run("document.querySelector('#shown b').textContent") == "1"
    fresh("Emulation.setTouchEmulationEnabled", enabled=False)


def test_a_new_class_labels_by_its_key_as_soon_as_it_is_there(fresh):
    fresh.press("n")
    fresh.type("third")
    fresh.press("Enter")
    fresh.press("3")
    assert fresh.run("labels.get(images[0])") == "third"


def test_of_very_many_images_the_page_shows_a_part_and_says_so(write_page, monkeypatch):
    monkeypatch.setattr(page, "MOST_IMAGES", 3)
    text = write_page("many").read_text(encoding="utf-8")
    assert text.count('<li class="card"') == 3
    assert "5 more are in to_label.csv" in text
    assert "8 images to label next" in text


def test_the_files_for_other_programs_name_the_same_images(made):
    with (made.parent / "to_label.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["rank", "image", "label", "cluster", "stands_for", "nearest_chosen"]
    images = [unguarded(row["image"]) for row in rows]
    assert images == [*NAMES[:8], "plain/20.jpg", "plain/29.jpg"]
    assert "'=1+1, two\nlines.jpg" in [row["image"] for row in rows]  # a spreadsheet computes none
    assert [unguarded(row["nearest_chosen"]) in (*NAMES[:rank], "plain/20.jpg") for rank, row in
            enumerate(rows[:8])] == [True] * 8  # fmt: skip
    assert [row["label"] for row in rows] == [""] * 8 + ["a rose", "<i>tulip</i>"]
    tasks = json.loads((made.parent / "to_label.json").read_text(encoding="utf-8"))
    addresses = [task["data"]["image"] for task in tasks]
    assert all(each.startswith("/data/local-files/?d=my%20photos/") for each in addresses)
    assert read_csv(made.parent / "to_label.csv", NAMES) == {
        "plain/20.jpg": "a rose",
        "plain/29.jpg": "<i>tulip</i>",
    }


def test_what_label_studio_exports_is_read_back(made, tmp_path):
    tasks = json.loads((made.parent / "to_label.json").read_text(encoding="utf-8"))
    exported = tmp_path / "export.csv"
    with exported.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["annotation_id", "image", "label", "rank"])
        for task in tasks:
            writer.writerow([1, task["data"]["image"], "rose", task["data"]["rank"]])
    assert read_csv(exported, NAMES) == dict.fromkeys(NAMES[:8], "rose")
