"""A wrong recipe is refused with file, line and key."""

import json
import subprocess
import sys


def test_typo_in_a_key(project, refused):
    project.change(distill__epohcs=3)
    line = project.line_of("epohcs")
    assert refused("run", "recipe.yaml") == (
        f"recipe.yaml:{line}: distill.epohcs: unknown key; did you mean epochs?\n"
    )
    assert not (project.folder / "runs").exists()


def test_typo_in_a_value(project, refused):
    project.change(distill__precision="fp31")
    message = refused("run", "recipe.yaml")
    assert message.startswith(
        f"recipe.yaml:{project.line_of('precision')}: distill.precision: 'fp31' is not one of "
    )
    assert "did you mean fp3" in message


def test_repeated_key(project, refused):
    with project.recipe.open("a") as file:
        file.write("name: again\n")
    line = len(project.recipe.read_text().splitlines())
    assert refused("run", "recipe.yaml") == (
        f"recipe.yaml:{line}: name: this key appears twice in the same section; keep one\n"
    )


def test_several_mistakes_at_once(project, refused):
    project.change(data__holdout=2, distill__epohcs=3, require__agreement=85)
    lines = refused("run", "recipe.yaml").splitlines()
    keys = [line.split(": ")[1] for line in lines]
    assert keys == ["data.holdout", "distill.epohcs", "require.agreement"]


def test_recipe_that_is_not_there(refused):
    assert refused("run", "recpe.yaml") == ("recpe.yaml: no such file; did you mean recipe.yaml?\n")


def test_recipe_that_is_not_yaml(project, refused):
    project.recipe.write_text("name: tiny\ndata: [\n")
    assert refused("run", "recipe.yaml").startswith("recipe.yaml:3: not valid YAML: ")


def test_recipe_that_is_an_image(refused):
    assert refused("run", "images/blue/00.png") == "images/blue/00.png: not UTF-8 text\n"


def test_agreement_without_labels(project, refused):
    project.change(data__labels="none", require__agreement=0.8)
    assert "require.agreement: needs labels, and data.labels is none" in refused(
        "run", "recipe.yaml"
    )


def test_unknown_target(project, refused):
    project.change(target="jetson-orin-nanoo")
    assert "target: 'jetson-orin-nanoo' is not a target; did you mean jetson-orin-nano?" in refused(
        "run", "recipe.yaml"
    )


def test_set_that_is_no_assignment(refused):
    assert refused("run", "recipe.yaml", "--set", "distill.epochs") == (
        "--set distill.epochs: write key.path=value, as in distill.epochs=2\n"
    )


def test_set_of_an_unknown_key(refused):
    assert refused("run", "recipe.yaml", "--set", "distill.epohcs=3") == (
        "--set distill.epohcs=3: distill.epohcs: unknown key; did you mean epochs?\n"
    )


def test_a_mistake_with_json(refused):
    """Stdout has one document also when the command fails."""
    command = [sys.executable, "-m", "compressor", "run", "nowhere.yaml", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    wanted = {"error": "nowhere.yaml: no such file", "exit_code": 2}
    assert json.loads(ended.stdout) == wanted
    assert refused(*command[3:]) == "nowhere.yaml: no such file\n"
