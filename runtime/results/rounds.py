"""Rounds of labels: what the student was after each of them."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from runtime.results.scores import Score


class DeviceStream(Struct, frozen=True):
    """What a student saw on one device."""

    device: str
    """A short digest of where its folder lay."""
    images: int
    outliers: int


class Round(Struct, frozen=True, kw_only=True):
    """A finished run with images and labels that the round before did not have."""

    round: int
    """1, 2, ..."""
    made: str
    """When, UTC."""
    data: str
    """Digest of images and labels."""
    student: str
    """Digest of the student's answers to the golden set."""
    held_out: str
    """Digest of the held-out images with their labels: scores compare where it is equal."""
    images: int
    """To train on."""
    returned: int
    """Of these, how many came back from devices."""
    labels: int
    """How many of the images to train on have one."""
    held_out_labels: int
    accuracy: Score | UnsetType = UNSET
    """Of the deployed answers, on held-out images; UNSET where none has a label."""
    ood_auroc: Score | UnsetType = UNSET
    devices: tuple[DeviceStream, ...] = ()
    """Where its student was at work, as far as folders came back."""
