"""YAML into frozen models: what a scalar means, and every mistake by file, line and key."""

from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from compressor.recipe.document import Document, Section
from runtime.errors import InputError


class Wheel(Section):
    size: Annotated[int, Field(ge=1)] = 20
    tyre: Literal["slick", "rain"] = "slick"
    range: tuple[float, float] = (0.0, 1.0)


class Bike(Section):
    name: str = Field("bike", pattern="^[a-z]+$")
    weight: float = 9.0
    gears: int = 1
    wheel: Wheel = Wheel()


class Shop(Section):
    owner: str
    bike: Bike = Bike()


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "bike.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def mistakes(write):
    """The lines of the error that a text gives, its path left out."""

    def mistakes(text, *overrides, model=Bike):
        path = write(text)
        with pytest.raises(InputError) as caught:
            Document(path, overrides).validate(model)
        return [line.strip().replace(f"{path}:", "") for line in str(caught.value).splitlines()]

    return mistakes


# --- what a scalar means ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E-3", 1e-3),
        ("1.0e-3", 1e-3),
        ("2e5", 2e5),
        ("0o17", 15),
        ("017", 17),
        ("0x1f", 31),
        ("null", None),
        ("~", None),
        ("true", True),
        ("no", "no"),
        ("off", "off"),
        ("yes", "yes"),
        ("y", "y"),
        ("1:30", "1:30"),
        ("2024-05-01", "2024-05-01"),
        ("2024-05-01 10:30:00", "2024-05-01 10:30:00"),
        ("'1e-3'", "1e-3"),
        ("[1, no]", [1, "no"]),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(write, text, value):
    from_file = Document(write(f"key: {text}\n")).data["key"]
    from_set = Document(write("other: 1\n"), [f"key={text}"]).data["key"]
    for got in (from_file, from_set):
        assert got == value
        assert type(got) is type(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_that_python_writes_is_read_back(tmp_path_factory, number):
    path = tmp_path_factory.getbasetemp() / "float.yaml"
    path.write_text(f"weight: {number!r}\n")
    assert Document(path).validate(Bike).weight == number


def test_values_are_plain_without_comments_or_lines(write):
    data = Document(write("wheel: # round\n  size: 3  # inches\n")).data
    assert data == {"wheel": {"size": 3}}
    assert type(data["wheel"]) is dict
    assert type(data["wheel"]["size"]) is int


def test_a_section_cannot_be_changed(write):
    bike = Document(write("gears: 3\n")).validate(Bike)
    with pytest.raises(ValidationError):
        bike.gears = 4


# --- mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\ngear: 3\n", "2: gear: unknown key; did you mean gears?"),
        ("wheel:\n  siez: 3\n", "2: wheel.siez: unknown key; did you mean size?"),
        ("bell: 3\n", "1: bell: unknown key; known here: name, weight, gears, wheel"),
        ("gears: many\n", "1: gears: should be a valid integer, unable to parse string as an"
         " integer (got 'many')"),
        ("gears: 1.5\n", "1: gears: should be a valid integer, got a number with a fractional part"
         " (got 1.5)"),
        ("\n\nweight: .nan\n", "3: weight: should be a finite number (got nan)"),
        ("weight: .inf\n", "1: weight: should be a finite number (got inf)"),
        ("wheel: 3\n", "1: wheel: a section with keys is wanted here, got 3"),
        ("wheel: {size: 0}\n", "1: wheel.size: should be greater than or equal to 1 (got 0)"),
        ("wheel:\n  tyre: rian\n", "2: wheel.tyre: 'rian' is not one of 'slick' or 'rain'; did you"
         " mean rain?"),
        ("wheel:\n  range: 3\n", "2: wheel.range: a list in brackets is wanted, got 3"),
        ("wheel:\n  range: [3]\n", "2: wheel.range.1: missing; it has no default"),
        ("wheel:\n  range:\n    - 1\n    - x\n", "4: wheel.range.1: should be a valid number,"
         " unable to parse string as a number (got 'x')"),
        ("name: A B\n", "1: name: should match pattern '^[a-z]+$' (got 'A B')"),
        ("name: 3\n", "1: name: should be a valid string (got 3)"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_line_key_and_value(mistakes, text, message):
    assert mistakes(text) == [message]


def test_all_mistakes_come_at_once_in_the_order_of_the_file(mistakes):
    text = "wheel:\n  size: x\n  color: red\ngears: 1.5\nweigth: 3\nname: A B\n"
    assert [line.split(": ")[:2] for line in mistakes(text)] == [
        ["2", "wheel.size"],
        ["3", "wheel.color"],
        ["4", "gears"],
        ["5", "weigth"],
        ["6", "name"],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bike: {gears: 3}\n", "1: owner: missing; it has no default"),
        ("# a comment\n\nbike:\n  gear: 3\n", "4: bike.gear: unknown key; did you mean gears?"),
    ],
)
def test_a_missing_key_is_named_where_its_section_is(mistakes, text, message):
    assert message in mistakes(text, model=Shop)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("gears: 1\nname: a\ngears: 2\n", "3: gears"),
        ("wheel:\n  size: 1\n  size: 1\n", "3: size"),
        ("wheel: {size: 1, size: 2}\n", "1: size"),
        ("gears: 1\n'gears': 2\n", "2: gears"),
    ],
)
def test_a_repeated_key_is_named_with_its_second_line(mistakes, text, where):
    assert mistakes(text) == [f"{where}: this key appears twice in the same section; keep one"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("gears: [1\n", 2),
        ("name: a\ngears: : 2\n", 2),
        ("name: a\n\tgears: 2\n", 2),
        ("gears: *unknown\n", 1),
        ("gears: 1\n---\ngears: 2\n", 2),
        ("name: 'a\n", 2),
    ],
)
def test_what_is_not_yaml_is_named_with_its_line(mistakes, text, line):
    [message] = mistakes(text)
    assert message.startswith(f"{line}: not valid YAML: ")


def test_control_characters_are_refused_with_their_place(write):
    with pytest.raises(InputError, match=r"not valid YAML: .*\(character number 7\)"):
        Document(write("name: \x00\n"))


@pytest.mark.parametrize("text", ["", "# nothing\n", "a word\n", "- 1\n- 2\n", "null\n"])
def test_a_file_without_sections_is_refused(write, text):
    with pytest.raises(InputError, match="expected a YAML file with sections"):
        Document(write(text))


@pytest.mark.parametrize("value", ["-_", "._", "[-_]", "[._]", "+_"])
def test_what_only_looks_like_a_number(write, value):
    """ruamel takes these for numbers, and fails."""
    with pytest.raises(InputError, match=r"bike\.yaml.*"):
        Document(write(f"gears: {value}\n")).validate(Bike)
    with pytest.raises(InputError):
        Document(write("gears: 1\n"), [f"gears={value}"]).validate(Bike)


@given(st.text())
def test_no_text_gives_anything_but_a_document_or_our_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "anything.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        Document(path).validate(Bike)
    except InputError as error:
        assert str(path) in str(error)


def test_a_tag_makes_no_object(write):
    text = "name: !!python/object/apply:os.system [true]\n"
    with pytest.raises(InputError, match=r":1: the tag .*os\.system is not for recipes"):
        Document(write(text)).validate(Bike)


def test_what_cannot_be_opened_is_named(tmp_path, write):
    path = write("gears: 1\n")
    with pytest.raises(InputError, match=r"bikes\.yaml: no such file; did you mean .*bike\.yaml\?"):
        Document(tmp_path / "bikes.yaml")
    with pytest.raises(InputError, match=r"bike\.yml: no such file; did you mean .*bike\.yaml\?"):
        Document(tmp_path / "bike.yml")
    with pytest.raises(InputError, match=r"other\.yaml: no such file$"):
        Document(tmp_path / "other.yaml")
    with pytest.raises(InputError, match="no such file"):
        Document(path / "below.yaml")
    with pytest.raises(InputError, match="a folder, not a YAML file"):
        Document(tmp_path)
    path.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(InputError, match="not UTF-8 text"):
        Document(path)


# --- --set -----------------------------------------------------------------------------------


def test_set_changes_adds_and_is_applied_in_order(write):
    path = write("gears: 1\n")
    before = path.read_bytes()
    overrides = ["gears=3", "wheel.size=5", "wheel.tyre=rain", " wheel.size = 6", "weight=1e1"]
    bike = Document(path, overrides).validate(Bike)
    assert (bike.gears, bike.weight, bike.wheel.size, bike.wheel.tyre) == (3, 10.0, 6, "rain")
    assert path.read_bytes() == before


def test_set_replaces_a_whole_section(write):
    bike = Document(write("wheel: {size: 5, tyre: rain}\n"), ["wheel={size: 6}"]).validate(Bike)
    assert (bike.wheel.size, bike.wheel.tyre) == (6, "slick")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("gears", "--set gears: write key.path=value, as in distill.epochs=2"),
        ("=3", "--set =3: write key.path=value, as in distill.epochs=2"),
        ("wheel..size=3", "--set wheel..size=3: write key.path=value, as in distill.epochs=2"),
        ("gears=[1", "--set gears=[1: not valid YAML: while parsing a flow sequence"
         " expected ',' or ']', but got '<stream end>'"),
        ("gears=\x07", "--set gears=\x07: not valid YAML: special characters are not allowed"
         " (character number 1)"),
        ("name.size=3", "--set name.size=3: name is not a section"),
        ("wheel.size.inches=3", "--set wheel.size.inches=3: wheel.size is not a section"),
        ("gears=many", "--set gears=many: gears: should be a valid integer, unable to parse string"
         " as an integer (got 'many')"),
        ("gears=", "--set gears=: gears: should be a valid integer (got None)"),
        ("wheel.siez=3", "--set wheel.siez=3: wheel.siez: unknown key; did you mean size?"),
        ("wheel=3", "--set wheel=3: wheel: a section with keys is wanted here, got 3"),
    ],
)  # fmt: skip
def test_a_mistake_in_set_names_the_option_and_not_the_file(mistakes, override, message):
    assert mistakes("name: a\nwheel:\n  size: 3\n", override) == [message]


def test_of_two_sets_of_a_key_the_last_is_named(mistakes):
    assert mistakes("name: a\n", "gears=1", "gears=x")[0].startswith("--set gears=x: gears: ")
    both = mistakes("name: a\n", "wheel={size: 1}", "wheel.size=x")
    assert both[0].startswith("--set wheel.size=x: wheel.size: ")


def test_a_mistake_in_the_file_is_still_named_by_line_beside_a_set(mistakes):
    [message] = mistakes("name: a\nweight: x\n", "gears=3")
    assert message.startswith("2: weight: ")


def test_a_section_whose_keys_are_all_commented_out_is_its_default(write):
    path = write("wheel:\n  # size: 3\n")
    assert Document(path).validate(Bike) == Bike()
