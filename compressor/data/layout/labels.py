"""The classes of the images: of labelled files, from folders or from a CSV, as indices."""

from __future__ import annotations

from collections.abc import Container, Mapping

from runtime.errors import InputError

UNLABELLED = -1


def index_classes(
    labels: str, names: Mapping[str, str], usable: Container[str], *, fewest: int = 2
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the classes in the order of their index, and the index of each labelled image.

    Args:
        labels: `folders`, `source`, `none`, or the path of a CSV, for the message.
        names: the class of each labelled file, by its id.
        usable: the ids of usable images; a folder with none of them is not a class.
        fewest: the number of classes that is needed.

    Raises:
        InputError: there are fewer classes.
    """
    if labels == "none":
        return (), {}
    kept = {id_: name for id_, name in names.items() if id_ in usable}
    classes = tuple(sorted(set(kept.values())))
    if len(classes) < fewest:
        by_folder = labels == "folders"
        where = "data.labels is `folders`, but the images folder" if by_folder else labels
        where = "data.labels is `source`, but the source" if labels == "source" else where
        hint = "Put each class into a folder of its own, or use a CSV, or `labels: none`."
        hint = hint if by_folder else "At least two classes are needed; or use `labels: none`."
        has = f"only one class ({classes[0]})" if classes else "no class"
        raise InputError(f"{where} has {has}.\n  {hint}")
    index = {name: position for position, name in enumerate(classes)}
    return classes, {id_: index[name] for id_, name in kept.items()}
