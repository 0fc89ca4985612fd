import math

from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from compressor.recipe.document import Document, dump


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(allow_nan=False),
            st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))),
        ),
    )
)
def test_what_is_dumped_is_read_back(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "dumped.yaml"
    path.write_text(dump(data), encoding="utf-8")
    assert Document(path).data == data


def test_a_dumped_value_stays_on_its_line():
    text = dump({"folder": "a folder of many words " * 20})
    assert text.count("\n") == 1


def test_the_yaml_of_dump_is_yaml(tmp_path):
    document = {"b": [1, 2], "a": {"x": None}, "date": "2024-05-01", "no": "no"}
    text = dump(document)
    assert list(YAML(typ="safe", pure=True).load(text)) == list(document)
    assert math.isinf(YAML(typ="safe", pure=True).load(dump({"a": math.inf}))["a"])
