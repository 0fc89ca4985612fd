"""Print the lowest version of each dependency that pyproject.toml allows, as pip constraints.

python tools/lowest_versions.py cpu test > constraints.txt   the base install and these extras
"""

import re
import sys
from pathlib import Path

import tomllib

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest(requirements: list[str]) -> list[str]:
    """`name>=version` becomes `name==version`; a marker stays."""
    return [re.sub(r"(?<=[\w\]])>=", "==", requirement, count=1) for requirement in requirements]


def main() -> None:
    """Print one constraint a line."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    requirements = list(project["dependencies"])
    for extra in sys.argv[1:]:
        requirements += extras[extra]
    print("\n".join(lowest(requirements)))


if __name__ == "__main__":
    main()
