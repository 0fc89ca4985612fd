"""Load weights from a local file: the one full set in it; a partial match is never silent."""

from __future__ import annotations

import logging
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from compressor.models.pretrained import checkpoint, package
from compressor.models.pretrained.checkpoint import Nest, State, some
from runtime.errors import InputError

logger = logging.getLogger(__name__)

# What timm and torch raise on arguments, sizes or tensors that a network was not made for.
REFUSALS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError,
            ValueError)  # fmt: skip

_COUNTER = "num_batches_tracked"
"""Of a batch norm; files of old versions of torch lack it, and no answer depends on it."""
_OF_TRAINING = re.compile(
    r"(center|criterion|decoder\w*|dino_head|heads?|ibot_head|loss(es)?|mask_token|predictor|"
    r"projection(_head)?|projector|prototypes|queue(_ptr)?)(\.|$)"
)
"""Parts beside a backbone that only its own training needs."""
_FOLLOWERS = ("encoder_k", "momentum_encoder")
"""Moving averages that nobody uses afterwards: MoCo's key encoders."""


@dataclass(frozen=True)
class _Place:
    """Where a set of weights lies: in which mapping of the file, under which prefix."""

    nest: Nest
    prefix: str

    def __str__(self) -> str:
        return " > ".join([*self.nest, *([self.prefix] if self.prefix else [])]) or "the file"

    def described(self, others: Sequence[_Place] = ()) -> str:
        """Return where the set lies, what it is, and what was not taken; empty for a plain file."""
        if self == _Place((), "") and not others:
            return ""
        kind = ", a moving average" if self.rank == 0 else ""
        left = f", not {', '.join(map(str, others))}" if others else ""
        return f"{self}{kind}{left}"

    @property
    def _names(self) -> list[str]:
        return [*self.nest, *self.prefix.split(".")]

    @property
    def rank(self) -> int:
        """0 for the moving average of a training, which timm and DINO use; 2 for a follower."""
        if any(name in _FOLLOWERS for name in self._names):
            return 2
        averaged = any(
            name == "teacher" or "ema" in re.split(r"[_\d]", name.lower()) for name in self._names
        )
        return 0 if averaged else 1


@dataclass(frozen=True)
class _File:
    """A checkpoint, and where in it a full set may lie."""

    path: Path
    nests: Mapping[Nest, State]
    places: Sequence[_Place]
    """Those with most of the model's names first."""
    whole: frozenset[_Place]
    """Those with all of them."""

    def group(self, place: _Place) -> State:
        """Return what lies in a place, without full sets that lie below it."""
        below = tuple(
            other.prefix
            for other in self.whole
            if other.nest == place.nest and len(other.prefix) > len(place.prefix)
        )
        start, inside = len(place.prefix), dict[str, Tensor]()
        for key, value in self.nests[place.nest].items():
            if key.startswith(place.prefix) and not key.startswith(below):
                inside[key[start:]] = value
        return inside


@dataclass(frozen=True)
class _Set:
    """A full set of weights."""

    place: _Place
    state: State
    left_out: Sequence[str]
    """Keys under its prefix that are not of the model."""


def load_into(model: nn.Module, path: Path, *, role: str) -> str:
    """Load a local checkpoint into a timm model without its classifier.

    The file may hold its weights in any mapping, under any prefix (`state_dict`, `teacher`,
    `module.backbone.`), as long as one of them is the full set. Of several, the moving average is
    used, with a line, as timm does. Where names or shapes differ, the names of EfficientNet-PyTorch
    are tried, then timm's own conversion for the model's family (it knows the original DINOv2, CLIP
    and other files, and resamples position embeddings). A classifier is left out with a line.

    Args:
        model: a timm model with `num_classes=0`.
        path: `.safetensors`, or a weights-only `.pth`, `.pt` or `.bin`.
        role: `teacher` or `student`, for messages.

    Returns:
        Which of the file's weights were taken, in words; empty where it holds no others.

    Raises:
        InputError: the file cannot be read safely; it holds no full set, and the keys are named; it
            holds several; or the values are no numbers to compute with.
    """
    expected = model.state_dict()
    file = _read(path, expected)
    found = [each for place in file.places if (each := _full_set(file, place, model))]
    if not found:
        raise _no_full_set(file, model, role)
    chosen, others = _one_of(found, path)
    state = {key: chosen.state.get(key, value).to(value.dtype) for key, value in expected.items()}
    _require_numbers(chosen.state, state, path)
    _say(chosen, file)
    model.load_state_dict(state)
    return chosen.place.described(others)


# --- where a full set may lie ----------------------------------------------------------------


def _read(path: Path, expected: Mapping[str, Tensor]) -> _File:
    """Read a checkpoint, and find the places that may hold a full set.

    A place counts if it has half as many keys as the model: timm may know other names for them.
    """
    nests, named, keys = checkpoint.nests_of(path), Counter[_Place](), Counter[_Place]()
    needed = {key for key in expected if not key.endswith(_COUNTER)}
    for nest, state in nests.items():
        for key in state:
            for prefix in _prefixes(key):
                place = _Place(nest, prefix)
                keys[place] += 1
                named[place] += key[len(prefix) :] in needed
    likely = [place for place, count in keys.items() if 2 * count >= len(needed)]
    return _File(
        path,
        nests,
        sorted(likely, key=lambda place: -named[place]),
        frozenset(place for place in likely if named[place] == len(needed)),
    )


def _prefixes(key: str) -> list[str]:
    """Return what may stand before a name: nothing, or all up to one of its dots."""
    return ["", *(key[: dot.end()] for dot in re.finditer(r"\.", key))]


def _full_set(file: _File, place: _Place, model: nn.Module) -> _Set | None:
    """Return the set in a place, in the model's names; None if it is not full."""
    group, expected = file.group(place), model.state_dict()
    checkpoint.require_plain(group, file.path)
    state, left_out = _without_training(group, model)
    if _misfits(state, expected):
        state = package.renamed(state, expected) or _converted(state, model)
    return None if _misfits(state, expected) else _Set(place, state, left_out)


def _one_of(found: Sequence[_Set], path: Path) -> tuple[_Set, list[_Place]]:
    """Return the one set to use, and where others lie that differ from it, which is said.

    Raises:
        InputError: several fit, and nothing says which is meant.
    """
    first = min(each.place.rank for each in found)
    best = [each for each in found if each.place.rank == first]
    chosen, *others = best
    if any(not _same(chosen.state, other.state) for other in others):
        listed = "\n  ".join(str(each.place) for each in best)
        raise InputError(
            f"{path}: holds several full sets of weights that differ, and nothing says which is "
            f"meant:\n  {listed}\n  Save the one you mean alone, in Python:\n"
            f"  whole = torch.load({path.name!r}, weights_only=True)\n"
            f"  torch.save({_as_python(chosen.place)}, 'weights.pth')"
        )
    left = [
        each.place for each in found if each not in best and not _same(chosen.state, each.state)
    ]
    if left:
        names = ", ".join(f"`{each}`" for each in left)
        kind = ", a moving average" if first == 0 else ""
        logger.info("%s: `%s` is used%s, not %s", path.name, chosen.place, kind, names)
    return chosen, left


def _as_python(place: _Place) -> str:
    whole = "whole" + "".join(f"[{name!r}]" for name in place.nest)
    if not place.prefix:
        return whole
    removed = f"k.removeprefix({place.prefix!r}): v"
    return f"{{{removed} for k, v in {whole}.items() if k.startswith({place.prefix!r})}}"


def _same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


# --- what belongs to it ----------------------------------------------------------------------


def _without_training(state: State, model: nn.Module) -> tuple[State, list[str]]:
    """Leave out the classifier and the parts that only a training needs; also return their keys."""
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    prefixes = tuple(f"{n}." for n in ([names] if isinstance(names, str) else names))
    expected = model.state_dict()
    dropped = [
        key
        for key in state
        if key not in expected and (key.startswith(prefixes) or _OF_TRAINING.match(key))
    ]
    return {key: value for key, value in state.items() if key not in set(dropped)}, dropped


def _converted(state: State, model: nn.Module) -> State:
    """Return the state dict after timm's checkpoint filter for this family, if it has one."""
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        return _without_training(dict(convert(dict(state), model)), model)[0]
    except REFUSALS as error:
        logger.debug("timm's filter could not convert the file: %r", error)
        return state


def _misfits(state: State, expected: Mapping[str, Tensor]) -> list[str]:
    shapes = [
        f"{key} {list(state[key].shape)} in the file, {list(expected[key].shape)} in the model"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    missing = [key for key in expected if key not in state and not key.endswith(_COUNTER)]
    unknown = [key for key in state if key not in expected]
    kinds = (("of another shape", shapes), ("missing", missing), ("not in the model", unknown))
    return [f"{len(keys)} {kind}: {some(keys)}" for kind, keys in kinds if keys]


def _require_numbers(given: State, state: State, path: Path) -> None:
    """Refuse whole numbers where the model computes with fractions, and what is not finite."""
    for key, value in state.items():
        if key in given and value.is_floating_point() and not given[key].is_floating_point():
            raise InputError(
                f"{path}: {key} holds {given[key].dtype}, where the model has {value.dtype}; is it "
                "quantised?\n  Save the weights as they were before quantisation."
            )
        if key in given and value.is_floating_point() and not bool(torch.isfinite(value).all()):
            count = int((~torch.isfinite(value)).sum())
            raise InputError(
                f"{path}: {count} of {value.numel()} values of {key} are not finite numbers.\n"
                "  Did that training diverge? Use a checkpoint from before."
            )


def _say(chosen: _Set, file: _File) -> None:
    """Tell what of the file is not used."""
    place, name = chosen.place, file.path.name
    if chosen.left_out:
        logger.info("%s: left out, no part of the model: %s", name, some(chosen.left_out))
    beside = [key for key in file.nests[place.nest] if not key.startswith(place.prefix)]
    if beside:
        depth = max(1, place.prefix.count("."))
        roots = sorted({".".join(key.split(".")[:depth]) for key in beside})
        logger.info("%s: `%s` is used, not %s", name, place.prefix, some(roots))


def _no_full_set(file: _File, model: nn.Module, role: str) -> InputError:
    largest = max(file.nests, key=lambda nest: len(file.nests[nest]))
    place = file.places[0] if file.places else _Place(largest, "")
    state, _ = _without_training(file.group(place), model)
    lines = "\n  ".join(_misfits(_converted(state, model), model.state_dict()))
    where = "" if place == _Place((), "") else f" (in `{place}`)"
    return InputError(
        f"{file.path}: these weights do not fit {role}.model {_name(model)}{where}\n  {lines}\n"
        f"  Is it the right model? A different width or depth goes into {role}.args."
    )


def _name(model: nn.Module) -> str:
    return str(getattr(model, "pretrained_cfg", {}).get("architecture") or type(model).__name__)
