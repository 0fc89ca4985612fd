"""One call that shares a finished run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from compressor.sharing import shared_run
from runtime.errors import InputError, from_file_system

_MLFLOW = "mlflow:"


def _silent(line: str) -> None:
    """Print nothing."""


@from_file_system()
def push(
    run: str | Path,
    repository: str | None = None,
    *,
    to: str | None = None,
    public: bool = False,
    licence: str | None = None,
    note: Callable[[str], None] = _silent,
) -> str:
    """Share a finished run: bundle, report and a model card, with licence and figures.

    Args:
        run: the folder of the run.
        repository: `owner/name` on the Hugging Face hub, or on what HF_ENDPOINT names. The token
            is that of `hf auth login` or HF_TOKEN.
        to: `mlflow:NAME` in place of a repository: the bundle becomes the next version of a model
            of MLflow (MLFLOW_TRACKING_URI), whose predict takes image files.
        public: whether everybody may see the repository.
        licence: of the student, such as `apache-2.0`; None: the one that its weights pass on.
        note: called with lines for the user.

    Returns:
        The address: of the repository, or `models:/NAME/VERSION`.

    Raises:
        InputError: this is no finished run, it was altered, or the other side refuses.
        MissingDependencyError: no token, no MLflow, or nobody answers.
    """
    if (repository is None) == (to is None):
        raise InputError("name a repository (owner/name), or to mlflow:NAME; one of them")
    if to is not None and (not to.startswith(_MLFLOW) or to == _MLFLOW):
        raise InputError(f"to {to}: mlflow:NAME is wanted")
    found = shared_run.read(Path(run), licence=licence)
    if repository is not None:
        from compressor.sharing import hub

        return hub.push(found, repository, public=public, note=note)
    from compressor.sharing import registry

    return registry.push(found, str(to).removeprefix(_MLFLOW), note=note)
