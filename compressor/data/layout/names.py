"""The class of each file: by folder, source or CSV, or among what came back from devices."""

from __future__ import annotations

from pathlib import Path

from compressor.data.layout import returned
from compressor.data.layout.label_csv import read_csv
from compressor.data.layout.layout import Layout
from compressor.data.sources.source import Root, Roots
from runtime.errors import InputError
from runtime.images.image_file import ImageFile


def roots_of(found: Layout, root: Root) -> Roots:
    """Return where the files of a layout are: `root`, the held-out images', the returned ones'."""
    own = (root, found.returned_folder)
    others = (each for each, _ in found.files if each not in own)
    return Roots(root, next(others, None), returned=found.returned_folder)


def class_names(found: Layout, root: Root, labels: str) -> dict[ImageFile, str]:
    """Return the class of each labelled file.

    Args:
        found: the files.
        root: the images folder, or another source.
        labels: `folders`, `source`, `none`, or the path of a CSV.

    Raises:
        InputError: a CSV cannot be read, its lines do not fit the files, a source has no labels, or
            an image that came back has one class in `data.labels` and another in the folder's own
            file.
    """
    where = roots_of(found, root)
    names = _of_task(found, where, labels)
    if found.returned_folder is None:
        return names
    back = {where.id_of(path, found.returned_folder): path for path in sorted(found.returned)}
    for path, name in returned.labels_in(found.returned_folder, back).items():
        if names.setdefault(path, name) != name:
            file = found.returned_folder / returned.LABELS
            raise InputError(f"{path}: is {names[path]!r} in {labels}, and {name!r} in {file}")
    return names


def _of_task(found: Layout, where: Roots, labels: str) -> dict[ImageFile, str]:
    if labels == "none":
        return {}
    if labels == "folders":
        return dict(found.class_of)
    if labels == "source":
        return _own_labels(found)
    paths = {where.id_of(path, root): path for root, path in found.files}
    return {paths[id_]: name for id_, name in read_csv(Path(labels), list(paths)).items()}


def _own_labels(found: Layout) -> dict[ImageFile, str]:
    """Return the classes that sources themselves give their images.

    Raises:
        InputError: one gives none.
    """
    names = dict[ImageFile, str]()
    for root in dict.fromkeys(root for root, _ in found.files):
        if root == found.returned_folder:
            continue
        if isinstance(root, Path) or not root.has_labels:
            raise InputError(
                f"{root}: data.labels is `source`, but no labels come with these images.\n"
                "  Use `folders`, a CSV, or `none`."
            )
        names |= {root / name: label for name, label in root.labels().items()}
    return names
