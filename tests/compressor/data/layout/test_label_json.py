"""Labels as JSON lines, as the `metadata.jsonl` of Hugging Face's `imagefolder` has them."""

import pytest

from compressor.data.layout.label_csv import read_csv
from runtime.errors import InputError

NAMES = ("cat/1.jpg", "dog/2.jpg", "3.jpg")


@pytest.fixture
def write_lines(tmp_path):
    def write(*lines):
        path = tmp_path / "metadata.jsonl"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


def test_a_line_is_an_image_with_its_class(write_lines):
    path = write_lines(
        '{"file_name": "cat/1.jpg", "caption": "a cat", "label": "cat"}',
        "",
        '{"label": 7, "file_name": "dog/2.jpg"}',
        '{"file_name": "3.jpg", "label": null}',
    )
    assert read_csv(path, NAMES) == {"cat/1.jpg": "cat", "dog/2.jpg": "7"}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['{"file_name": "3.jpg"'], "1: not JSON"),
        (['{"file_name": "3.jpg", "label": "a"}', "[1]"], "2: an object with keys is wanted"),
        (['{"file_name": "3.jpg", "text": "a"}'], "1: the keys file_name and label are needed"),
        (['{"file_name": "4.jpg", "label": "a"}'], "1: no such image below data.images: '4.jpg'"),
    ],
)
def test_a_mistake_is_named_with_its_line(write_lines, lines, said):
    path = write_lines(*lines)
    with pytest.raises(InputError) as caught:
        read_csv(path, NAMES)
    assert f"{path}:{said}" in str(caught.value)
