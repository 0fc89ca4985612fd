"""Fill a folder with the hub's weights of several models, for a machine without network.

FOLDER/*.safetensors, weights.json   appear together, when all are complete
FOLDER/.fetching                     what is downloaded already, so that a second attempt continues
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import timm
from safetensors.torch import save_file
from timm.models import PretrainedCfg

from compressor.models.pretrained import hub
from compressor.models.pretrained.checkpoint import state_of
from compressor.models.pretrained.hub import DownloadError
from compressor.recipe.places import weights_folder
from compressor.recipe.places.weights_folder import MANIFEST, FetchedFile, Manifest
from runtime.documents import plain
from runtime.errors import MissingDependencyError
from runtime.files import sha256_of, write_json

_WORK = ".fetching"


@dataclass(frozen=True)
class WantedWeights:
    """The weights of one model of the hub."""

    model: str
    """As the recipe names it."""
    config: PretrainedCfg

    @property
    def file(self) -> str:
        """The name that its file has in the folder."""
        return f"{hub.full_name(self.config)}.safetensors"

    def names(self) -> tuple[str, ...]:
        """Names of the model in recipes: with the tag, and without it if that means the same."""
        full, bare = hub.full_name(self.config), str(self.config.architecture)
        default = timm.models.get_pretrained_cfg(bare)
        means_it = default is not None and default.tag == self.config.tag
        return (full, bare) if means_it and bare != full else (full,)


def fetch(wanted: Sequence[WantedWeights], folder: Path, note: Callable[[str], None]) -> Manifest:
    """Fetch weights as safetensors with a manifest: all of them, or none.

    Those of an earlier call stay in the folder and its manifest.

    Args:
        wanted: which.
        folder: where to; made if it is not there.
        note: receives a line for each file.

    Returns:
        The whole manifest of the folder.

    Raises:
        MissingDependencyError: a file is not to be had from here; nothing was added.
        InputError: the folder has a manifest that cannot be read.
        OSError: the disk is full, or the folder cannot be written to.
    """
    there = weights_folder.read(folder).files if (folder / MANIFEST).exists() else ()
    work = folder / _WORK
    work.mkdir(parents=True, exist_ok=True)
    made = [_fetched(each, folder, work, there, note) for each in wanted]
    for entry in made:
        if (work / entry.file).exists():
            (work / entry.file).replace(folder / entry.file)
    new = {entry.file for entry in made}
    kept = [entry for entry in there if entry.file not in new]
    manifest = Manifest(files=(*kept, *made))
    write_json(folder / MANIFEST, plain(manifest))
    shutil.rmtree(work)
    return manifest


def _fetched(
    wanted: WantedWeights,
    folder: Path,
    work: Path,
    there: Sequence[FetchedFile],
    note: Callable[[str], None],
) -> FetchedFile:
    """Return the entry of one file, which then lies in `folder` already, or complete in `work`."""
    known = next((entry for entry in there if entry.file == wanted.file), None)
    path = folder / wanted.file
    if known is not None and path.is_file() and sha256_of(path) == known.sha256:
        note(f"{wanted.file}: in the folder already")
        return known
    try:
        source = hub.cached(wanted.config)
        if source is None and not hub.reachable():  # the hub's client would try for 20 s
            raise DownloadError(f"the model hub {hub.endpoint()} cannot be reached from here")
        source = source or hub.download(wanted.config, work / "cache")
        _require_unchanged(source)
    except DownloadError as error:
        raise _refusal(wanted, folder, error) from error
    path = work / wanted.file
    if source.suffix == ".safetensors":
        shutil.copyfile(source, path)
    else:
        state = state_of(source)
        save_file({key: value.contiguous().clone() for key, value in state.items()}, path)
    note(f"{wanted.file}: {path.stat().st_size / 1e6:.1f} MB, {wanted.config.license}")
    return FetchedFile(
        names=wanted.names(),
        file=wanted.file,
        sha256=sha256_of(path),
        size=path.stat().st_size,
        hub_id=str(wanted.config.hf_hub_id),
        license=wanted.config.license,
        url=hub.url_of(wanted.config),
    )


def _require_unchanged(path: Path) -> None:
    """Compare a file with what the hub said of it: the cache names large files by their sha256.

    Raises:
        DownloadError: other bytes; they are removed.
    """
    blob = path.resolve()
    if len(blob.name) == 64 and sha256_of(blob) != blob.name:
        blob.unlink()
        path.unlink()
        raise DownloadError("what arrived has another sha256 than the hub announced")


def _refusal(wanted: WantedWeights, folder: Path, error: DownloadError) -> MissingDependencyError:
    return MissingDependencyError(
        f"{wanted.model}: its weights could not be fetched: {error}\n"
        f"  Nothing was added to {folder}; what was downloaded is kept there, and the same command "
        "continues.\n"
        f"  By hand: {hub.url_of(wanted.config)}, saved beside the recipe and named in its "
        "`weights`."
    )
