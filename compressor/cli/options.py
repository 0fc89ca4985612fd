"""Options and checks that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compressor.recipe.places.addresses import is_remote
from runtime.errors import MissingDependencyError

FILE = click.Path(path_type=Path)

if TYPE_CHECKING:
    _ParamType = click.ParamType[str | Path]
else:
    _ParamType = click.ParamType  # generic since click 8.3


class _Source(_ParamType):
    name = "path"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | Path:
        return value if isinstance(value, Path) or is_remote(value) else Path(value)


SOURCE = _Source()
"""A folder of images or another source of them: a path, or an address such as s3://bucket/a."""

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else."
)
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of the recipe, as in distill.epochs=2. Repeatable.",
)


def require_training_packages() -> None:
    """Refuse a base install with one message, before an import fails somewhere below.

    Raises:
        MissingDependencyError: names the packages, and how to install them.
    """
    from importlib.util import find_spec

    needed = ("pydantic", "ruamel.yaml", "rich", "torch", "timm", "sklearn", "onnx", "filelock")
    missing = [name for name in needed if not _is_there(find_spec, name)]
    if missing:
        raise MissingDependencyError(
            f"this command needs packages that are not installed: {', '.join(missing)}\n"
            "  pip install 'edge-compressor[train,cpu]'   (with an NVIDIA GPU: [train,gpu])\n"
            "  `python -m runtime check`, which checks a bundle on a device, needs none of them."
        )


def _is_there(find_spec: Any, name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package around a submodule is missing
        return False
